"""Keys are rotated by the gateway that runs; the files are touched only where none does."""

import os
import socket as sockets
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.ops.keys import describe, drop_tokens, gateway_runs, kinds_of, list_keys, rotate_keys
from jupyter_hpcsec.tunnel.admin import AdminServer

NOW = 1_800_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    KeyRing.open(tmp_path / "keys", now=NOW, trust_domain="hpc.example.org")
    return tmp_path / "keys"


class Gateway:
    """The part of a gateway that knows keys."""

    def __init__(self, directory: Path) -> None:
        self.ring = KeyRing.load(directory)
        self.asked: list[str] = []
        self.waiting: list[dict[str, Any]] = []

    async def keys(self) -> list[dict[str, Any]]:
        self.asked.append("keys")
        return [asdict(info) for info in self.ring.list(NOW)]

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        self.asked.append(f"rotate {kind}")
        self.ring.rotate(kind, NOW + 1)  # type: ignore[arg-type]
        return await self.keys()

    async def drop_tokens(self) -> list[dict[str, Any]]:
        self.asked.append("drop_tokens")
        self.ring.drop_tokens(NOW + 1)
        return self.waiting


@pytest.fixture
async def gateway(directory: Path, tmp_path: Path) -> AsyncIterator[Gateway]:
    control = Gateway(directory)
    server = AdminServer(control, allowed_uids={os.geteuid()})  # type: ignore[arg-type]
    server.listen(tmp_path / "admin.sock")
    yield control
    await server.stop()


async def test_no_gateway_and_no_directory_is_unavailable(tmp_path: Path) -> None:
    for call in (list_keys(tmp_path / "admin.sock", None, NOW), rotate_keys(("token",), tmp_path / "no", None, NOW)):
        with pytest.raises(Unavailable, match="No gateway runs"):
            await call


async def test_no_gateway_and_no_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await rotate_keys(("token",), tmp_path / "admin.sock", tmp_path, NOW)
    assert caught.value.rule == "keys.none"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - an empty directory, in a test


async def test_the_files_stay_where_a_gateway_runs_that_gives_no_answer(directory: Path, tmp_path: Path) -> None:
    before = (directory / "ring.json").read_bytes()
    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))
        server.listen()

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(Unavailable):
            await rotate_keys(("token",), tmp_path / "admin.sock", directory, NOW)
        thread.join(10)
    assert (directory / "ring.json").read_bytes() == before


async def test_the_files_stay_where_it_can_not_be_told(directory: Path, tmp_path: Path) -> None:
    before = (directory / "ring.json").read_bytes()
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="stay as they are"):
        await rotate_keys(("token",), tmp_path / "file" / "admin.sock", directory, NOW)
    assert (directory / "ring.json").read_bytes() == before


async def test_a_running_gateway_is_asked_even_if_a_directory_is_given(
    gateway: Gateway, directory: Path, tmp_path: Path
) -> None:
    report = await rotate_keys(("token", "authority"), tmp_path / "admin.sock", directory, NOW)
    assert gateway.asked == ["rotate token", "keys", "rotate authority", "keys", "keys"]
    assert (report.by, report.where) == ("gateway", str(tmp_path / "admin.sock"))
    assert [(key["kind"], key["current"]) for key in report.keys] == [
        ("token", True),
        ("token", False),
        ("authority", True),
        ("authority", False),
    ]
    assert "Answered by the gateway" in describe(report, NOW)
    assert (await list_keys(tmp_path / "admin.sock", None, NOW)).keys == report.keys


async def test_the_files_serve_where_no_gateway_runs(directory: Path, tmp_path: Path) -> None:
    socket = tmp_path / "admin.sock"
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(socket))
    assert not gateway_runs(socket)
    before = await list_keys(socket, directory, NOW)
    after = await rotate_keys(("token",), socket, directory, NOW)
    assert (after.by, after.where) == ("files", str(directory))
    assert [key["kind"] for key in after.keys] == ["token", "token", "authority"]
    assert after.keys[1]["id"] == before.keys[0]["id"]
    assert tuple(asdict(info) for info in KeyRing.load(directory).list(NOW)) == after.keys


async def test_a_drop_says_which_waiting_jobs_lose_their_tokens(
    gateway: Gateway, directory: Path, tmp_path: Path
) -> None:
    await rotate_keys(("token",), tmp_path / "admin.sock", directory, NOW)
    gateway.asked.clear()
    report = await drop_tokens(tmp_path / "admin.sock", directory, NOW)
    assert gateway.asked == ["drop_tokens", "keys"]
    assert [key["kind"] for key in report.keys] == ["token", "authority"]
    assert "No job was waiting with one" in describe(report, NOW)
    gateway.waiting = [
        {"id": "a" * 32, "user": "bob", "server": "gpu", "job_id": "42"},
        {"id": "b" * 32, "user": "carol", "server": "", "job_id": ""},
    ]
    text = describe(await drop_tokens(tmp_path / "admin.sock", directory, NOW), NOW)
    assert "waited with one (2)" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["42", "bob", "gpu", "a" * 32] in rows
    assert ["-", "carol", "-", "b" * 32] in rows


async def test_a_drop_in_the_files_knows_no_jobs_and_says_so(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No gateway runs"):
        await drop_tokens(tmp_path / "admin.sock", None, NOW)
    await rotate_keys(("token",), tmp_path / "admin.sock", directory, NOW)
    report = await drop_tokens(tmp_path / "admin.sock", directory, NOW)
    assert (report.by, report.lost, len(report.keys)) == ("files", None, 2)
    assert "Jobs that have not enrolled can't any more" in describe(report, NOW)


async def test_the_text_says_what_is_current_and_what_ends(directory: Path, tmp_path: Path) -> None:
    report = await rotate_keys(("token",), tmp_path / "admin.sock", directory, NOW)
    text = describe(report, NOW)
    assert "retired, accepted until 2027-01-22 08:10Z" in text
    assert "no gateway runs" in text
    assert "EXPIRED" not in text
    assert "EXPIRED: rotate" in describe(report, NOW + 20 * 365 * 86400)
    assert all(key["id"] in text for key in report.keys)


def test_kinds() -> None:
    assert [kinds_of(name) for name in ("token", "authority", "all")] == [
        ("token",),
        ("authority",),
        ("token", "authority"),
    ]
