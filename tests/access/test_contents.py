"""The contents API and ``/files/`` of a real server: every verb on what is denied, read-only, elsewhere, allowed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_notebook

from jupyter_hpcsec.access.values import Right
from tests.server.realserver import RealServer, rules

CONFIG = """
from jupyter_server.services.contents.filemanager import FileContentsManager
from jupyter_server.base.handlers import AuthenticatedFileHandler
from jupyter_server.services.contents.filecheckpoints import FileCheckpoints
c.ServerApp.contents_manager_class = FileContentsManager
c.ContentsManager.files_handler_class = AuthenticatedFileHandler
c.ContentsManager.checkpoints_class = FileCheckpoints
c.FileContentsManager.delete_to_trash = False
c.FileContentsManager.allow_hidden = True
"""
"""What a user could write to undo what we do; and settings that stay the user's."""

Answer = tuple[int, Any]


class Place:
    """A server, and what lies around its home."""

    def __init__(self, server: RealServer, directory: Path) -> None:
        self.server, self.home, self.directory = server, server.home, directory
        for name in ("home/secret", "home/kept", "home/work", "data/sub", "other"):
            (directory / name).mkdir(parents=True)
        for name in ("secret/a.ipynb", "kept/a.ipynb", "work/a.ipynb", "../other/a.ipynb", "../data/a.ipynb"):
            (self.home / name).write_text(json.dumps(new_notebook()))
        for name in (
            "secret/f.txt",
            "kept/f.txt",
            "work/f.txt",
            "../other/f.txt",
            "../data/f.txt",
            "../data/sub/f.txt",
        ):
            (self.home / name).write_text(name)
        (self.home / "out").symlink_to(directory / "other")
        (self.home / "data").symlink_to(directory / "data")
        (self.home / "work/in").symlink_to(self.home / "secret/f.txt")
        (self.home / "work/nowhere").symlink_to(directory / "other/new.txt")

    async def start(self, *, hide: bool = False, root: str = "", config: str = CONFIG) -> None:
        given = [
            (self.home / "secret", Right.NONE), (self.directory / "data", Right.READ), (self.home / "kept", Right.READ),
        ]  # fmt: skip
        config += f"c.ServerApp.root_dir = {root!r}\n" if root else ""
        await self.server.start(rules(self.home, *given, hide=hide), config=config)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return await self.server.client.request(method, f"/api/contents/{path}", body)

    async def refused(self, method: str, path: str, *words: str, body: Any = None) -> None:
        status, answer = await self.ask(method, path, body)
        assert (status, answer) == (403, answer), (method, path)
        for word in words:
            assert word in (answer["message"] if isinstance(answer, dict) else answer)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    server = RealServer(tmp_path)
    yield Place(server, tmp_path)
    server.stop()


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


TEXT = {"type": "file", "format": "text", "content": "changed"}
NOTEBOOK = {"type": "notebook", "content": new_notebook()}
DENIED, NOTHING = ("closed to you by rule 2", "line 20", "data@example.org"), ("No rule of the access policy",)
READ_ONLY = ("may be read but not changed", "Ask data@example.org")


async def test_without_us_links_lead_out_and_a_refusal_of_the_system_is_an_error(place: Place) -> None:
    await place.server.start(None, session=False, config="c.ServerApp.allow_root = True")
    assert (await place.ask("GET", "out/f.txt"))[1]["content"] == "../other/f.txt"
    assert (await place.ask("GET", "secret/f.txt"))[0] == 200
    assert (await place.ask("PUT", "out/f.txt", TEXT))[0] == 200
    assert (place.directory / "other/f.txt").read_text() == "changed"


async def test_every_verb_is_refused_where_a_rule_closes(place: Place) -> None:
    await place.start()
    for path, words in (("secret/f.txt", DENIED), ("secret", DENIED), ("secret/none.txt", DENIED), ("work/in", DENIED),
                        ("out/f.txt", NOTHING), ("out", NOTHING), ("out/none", NOTHING)):  # fmt: skip
        await place.refused("GET", path, *words)
        await place.refused("GET", f"{path}?content=0", *words)
        await place.refused("PUT", path, *words, body=TEXT)
        await place.refused("GET", f"{path}/checkpoints", *words)
        await place.refused("POST", f"{path}/checkpoints", *words)
        await place.refused("POST", f"{path}/checkpoints/checkpoint", *words)
        await place.refused("POST", f"{path}/trust", *words)
        await place.refused("POST", "work", *words, body={"copy_from": path})
        status, answer = await place.server.client.request("GET", f"/files/{path}")
        assert status == 403 and words[0] in answer, path
    for path in ("secret", "out"):
        await place.refused("POST", path, body={"type": "notebook"})
        await place.refused("POST", path, body={"copy_from": "work/f.txt"})
        await place.refused("PATCH", "work/f.txt", body={"path": f"{path}/x.txt"})
        await place.refused("PATCH", f"{path}/f.txt", body={"path": "work/x.txt"})
        await place.refused("DELETE", f"{path}/f.txt")
        await place.refused("PUT", f"{path}/a.ipynb", body=NOTEBOOK)
        status, answer = await place.server.client.request("GET", f"/nbconvert/html/{path}/a.ipynb")
        assert status == 403
    await place.refused("DELETE", "secret", *DENIED)
    await place.refused("PUT", "work/nowhere", *NOTHING, body=TEXT)
    chunk = {**TEXT, "chunk": 2}
    await place.refused("PUT", "secret/f.txt", *DENIED, body=chunk)
    assert not (place.directory / "other/new.txt").exists()
    assert (place.home / "secret/f.txt").read_text() == "secret/f.txt"
    assert names_in(place.home / "work") == ["a.ipynb", "f.txt", "in", "nowhere"]


async def test_what_may_be_read_is_read_and_nothing_of_it_changes(place: Place) -> None:
    await place.start()
    for path in ("kept/f.txt", "data/f.txt"):
        status, model = await place.ask("GET", path)
        assert status == 200 and not model["writable"]
        await place.refused("PUT", path, *READ_ONLY, body=TEXT)
        await place.refused("PUT", path, *READ_ONLY, body={**TEXT, "chunk": -1})
        await place.refused("DELETE", path, *READ_ONLY)
        await place.refused("PATCH", path, body={"path": "work/taken.txt"})
        await place.refused("PUT", f"{path}.new", *READ_ONLY, body=TEXT)
        assert (await place.server.client.request("GET", f"/files/{path}"))[0] == 200
        # a checkpoint of it is kept elsewhere, and can't be put back over it
        assert (await place.ask("POST", f"{path}/checkpoints"))[0] == 201
        assert [point["id"] for point in (await place.ask("GET", f"{path}/checkpoints"))[1]] == ["checkpoint"]
        await place.refused("POST", f"{path}/checkpoints/checkpoint", *READ_ONLY)
        assert (await place.ask("DELETE", f"{path}/checkpoints/checkpoint"))[0] == 204
    await place.refused("PUT", "data/sub/new", *READ_ONLY, body={"type": "directory"})
    await place.refused("POST", "kept", *READ_ONLY, body={"type": "notebook"})
    assert names_in(place.home / "kept") == ["a.ipynb", "f.txt"]
    assert (await place.ask("POST", "work", {"copy_from": "data/f.txt"}))[0] == 201
    assert (await place.server.client.request("GET", "/nbconvert/html/kept/a.ipynb"))[0] == 200


async def test_a_directory_that_holds_more_than_its_own_is_neither_moved_removed_nor_copied(place: Place) -> None:
    (place.home / "kept2").mkdir()
    await place.start(root=str(place.directory))
    await place.refused("PATCH", "home", body={"path": "elsewhere"})
    await place.refused("DELETE", "home")
    (place.home / "work/links").mkdir()
    (place.home / "work/links/out").symlink_to(place.directory / "other")
    await place.refused("POST", "home/kept2", *NOTHING, body={"copy_from": "home/work/links"})
    await place.refused("POST", "home/kept2", *DENIED, body={"copy_from": "home"})
    assert (place.home / "secret/f.txt").exists()


async def test_what_is_allowed_works_as_ever(place: Place) -> None:
    await place.start()
    ask = place.ask
    assert (await ask("GET", "work/none.txt"))[0] == 404
    assert (await ask("GET", "none/none.txt"))[0] == 404
    assert (await ask("GET", "work/f.txt/none"))[0] == 404
    assert (await ask("GET", "work/f.txt"))[1]["writable"]
    assert (await ask("PUT", "work/f.txt", TEXT))[0] == 200
    assert (await ask("PUT", "work/new.ipynb", NOTEBOOK))[0] == 201
    assert (place.home / "work/.ipynb_checkpoints/new-checkpoint.ipynb").exists()
    assert (await ask("PATCH", "work/new.ipynb", {"path": "work/moved.ipynb"}))[1]["path"] == "work/moved.ipynb"
    assert (place.home / "work/.ipynb_checkpoints/moved-checkpoint.ipynb").exists()
    assert (await ask("PATCH", "work/moved.ipynb", {"path": "work/f.txt"}))[0] == 409
    assert (await ask("PATCH", "work/none", {"path": "work/any"}))[0] == 404
    assert (await ask("PUT", "work/deep", {"type": "directory"}))[0] == 201
    assert (await ask("POST", "work", {"copy_from": "work/f.txt"}))[1]["name"] == "f-Copy1.txt"
    assert (await ask("POST", "", {"copy_from": "work/deep"}))[0] == 201
    assert (await ask("DELETE", "work/moved.ipynb"))[0] == 204
    assert (await ask("DELETE", "out"))[0] == 204, "the link is the user's own, where it leads is not"
    assert (place.directory / "other/f.txt").exists() and not (place.home / "out").is_symlink()
    for chunk, content in ((1, "a"), (2, "b"), (-1, "c")):
        assert (await ask("PUT", "work/big", {**TEXT, "content": content, "chunk": chunk}))[0] in {200, 201}
    assert (place.home / "work/big").read_text() == "abc"
    assert (await place.server.client.request("GET", "/files/work/big")) == (200, "abc")
    assert "is not used" in place.server.log and "FileContentsManager" in place.server.log


async def test_a_listing_shows_what_is_closed_as_locked(place: Place) -> None:
    await place.start()
    status, model = await place.ask("GET", "")
    assert status == 200
    found = {entry["name"]: entry for entry in model["content"]}
    assert found["secret"]["type"] == "directory" and found["secret"]["size"] is None
    assert [name for name, entry in found.items() if entry.get("closed")] == ["secret", "out"], "JupyterLab's lock"
    assert {name: found[name]["writable"] for name in ("secret", "kept", "work", "data", "out")} == {
        "secret": False, "kept": False, "work": True, "data": False, "out": False,
    }  # fmt: skip
    assert "in" in {entry["name"] for entry in (await place.ask("GET", "work"))[1]["content"]}


async def test_a_listing_can_leave_out_what_is_closed(place: Place) -> None:
    await place.start(hide=True)
    names = {entry["name"] for entry in (await place.ask("GET", ""))[1]["content"]}
    assert {"kept", "work", "data"} <= names and not {"secret", "out"} & names
    await place.refused("GET", "secret", *DENIED)


async def test_above_what_is_allowed_only_the_way_there_is_seen(place: Place) -> None:
    await place.start(root=str(place.directory))
    assert sorted(entry["name"] for entry in (await place.ask("GET", ""))[1]["content"]) == ["data", "home"]
    await place.refused("GET", "other", *NOTHING)
    await place.refused("PUT", "new.txt", *NOTHING, body=TEXT)


async def test_what_the_system_refuses_is_403_too(place: Place) -> None:
    (place.home / "work/closed").mkdir(mode=0)
    (place.home / "work/file").touch(mode=0)
    await place.start()
    if os.geteuid() == 0:  # without capabilities, root's own files still have modes; the owner is root here
        assert (await place.ask("GET", "work/file"))[0] == 403
    assert (await place.ask("GET", "work/closed"))[0] == 403
    assert (await place.ask("PUT", "work/closed/x", TEXT))[0] == 403
