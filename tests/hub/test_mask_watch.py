"""Masks that somebody outside of the session takes off: seen in the mount table, by the agent, within its interval."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access import landlock, mounts
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.values import Bind, Enforcement, Mask, Masked, Plan
from jupyter_hpcsec.hub.mask_watch import UNREADABLE, mask_mounts, missing, uncovered, watch
from jupyter_hpcsec.hub.server_process import start_server
from tests.access.inside import ROOT, a_home, give
from tests.nobody import prefix

PATHS = ("/home/a/secret", "/home/a/secret/deeper", "/home/a/with blank", "/home/a/form\x0cfeed")


def plan_of(*paths: str, **fields: object) -> Plan:
    """A plan whose masks lie at ``paths``."""
    given = {"masks": tuple(Masked(path=path, mask=Mask.HIDDEN, origin="rule 1") for path in paths)}
    return Plan(**{**plain(), **given, **fields})


def plain() -> dict[str, object]:
    made = unrestricted("u", Bind.UNSAFE_ALLOW)
    return {name: getattr(made, name) for name in made.__struct_fields__} | {
        "enforcement": Enforcement.REQUIRED,
        "namespaces": True,
    }


def table(*there: tuple[int, str]) -> str:
    """A mount table with a root, and mounts of these numbers at these paths."""
    escaped = [(number, path.replace(" ", "\\040")) for number, path in there]
    return "".join(f"{number} 1 0:50 / {path} ro - tmpfs none rw\n" for number, path in [(1, "/"), *escaped])


def test_a_mask_that_is_gone_moved_or_another_mount_is_missing() -> None:
    plan = plan_of("/a", "/b")
    whole = table((5, "/a"), (6, "/b"))
    since = mask_mounts(plan, whole)
    assert missing(plan, table((6, "/b"))) == ["/a"], "also at the start"
    assert missing(plan, table((5, "/a.old"), (6, "/b")), since) == ["/a"]
    assert missing(plan, table((5, "/a//deleted"), (6, "/b")), since) == ["/a"]
    assert missing(plan, table((7, "/a"), (6, "/b")), since) == ["/a"]
    assert missing(plan, table((5, "/b"), (6, "/a")), since) == ["/a", "/b"]
    assert missing(plan, "", since) == ["/a", "/b"]
    assert missing(plan, whole, since) == []
    assert missing(plan, table((9, "/c"), (8, "/a"), (6, "/b"), (5, "/a")), since) == [], "more is no fault"


@given(st.permutations([(10 + i, path) for i, path in enumerate(PATHS)]), st.sets(st.sampled_from(PATHS)))
def test_exactly_what_was_taken_is_missing(there: list[tuple[int, str]], taken: set[str]) -> None:
    plan = plan_of(*PATHS)
    since = mask_mounts(plan, table(*there))
    assert missing(plan, table(*there), since) == []
    left = [(number, path) for number, path in there if path not in taken]
    assert set(missing(plan, table(*left), since)) == taken
    assert set(missing(plan, table(*left, *((99, path) for path in taken)), since)) == taken


def test_the_user_is_told_which_place_and_what_it_was() -> None:
    assert uncovered(plan_of("/a"), "/a") == (
        "The place /a that the policy denies was replaced on the node while the session ran, so that it was no longer "
        "covered; start the server again."
    )
    readable = plan_of(masks=(Masked(path="/a", mask=Mask.READ_ONLY, origin="rule 1"),))
    assert "that the policy lets only be read was replaced" in uncovered(readable, "/a")


async def test_a_table_that_can_not_be_read_ends_a_session_and_none_that_has_ended() -> None:
    def refused(pid: int) -> str:
        raise PermissionError

    async def after(program: str) -> str:
        server = await start_server(["/bin/sh", "-c", program], {}, plan=unrestricted("u", Bind.UNSAFE_ALLOW))
        try:
            return await watch(plan_of("/a"), server, read=refused, interval_s=0.01 if "600" in program else 60)
        finally:
            await server.terminate(0)
            server.close()

    assert await after("exec sleep 600") == UNREADABLE
    assert await after("exit 3") == ""


@pytest.mark.parametrize(
    "fields", [{"masks": ()}, {"namespaces": False}, {"enforcement": Enforcement.ADVISORY}], ids=str
)
async def test_a_session_without_masks_of_its_own_is_left_alone(fields: dict[str, object]) -> None:
    server = await start_server(["/bin/sleep", "600"], {}, plan=unrestricted("u", Bind.UNSAFE_ALLOW))
    assert await watch(plan_of("/a", **fields), server, read=lambda pid: table()) == ""
    assert await watch(plan_of("/a"), server, read=lambda pid: table()) == uncovered(plan_of("/a"), "/a")
    await server.terminate(0)
    server.close()


AGENT = """
    import asyncio, json, os, sys
    from pathlib import Path
    from jupyter_hpcsec.access import plan, system
    from jupyter_hpcsec.access.prctl import SET_DUMPABLE, prctl
    from jupyter_hpcsec.access.mountinfo import read
    from jupyter_hpcsec.hub.mask_watch import mask_mounts, missing, watch
    from jupyter_hpcsec.hub.server_process import start_server
    from tests.access.inside import resolved_of
    home, change = Path(sys.argv[1]), sys.argv[2]
    READER = "until cat secret/file > found 2>/dev/null; do sleep 0.02; done; echo 1 > read; exec sleep 600"

    async def main():
        prctl(SET_DUMPABLE, 0)  # as the agent's process is
        rules = [(str(home), "write"), (str(home / "secret"), "none"), (str(home / "kept ż"), "none")]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        resolved = resolved_of({"rules": rules}, str(home))
        made = plan.compile(resolved, system.find(resolved, environment, runtime=home / "run", namespaces=True))
        server = await start_server(["/bin/sh", "-c", READER], environment, plan=made, cwd=home)
        before = read(server.pid)
        since = mask_mounts(made, before)
        watching = asyncio.create_task(watch(made, server, interval_s=0.05))
        await asyncio.sleep(0.3)
        said = {"quiet": not watching.done() and not (home / "read").exists(), "masks": sorted(since)}
        if change != "nothing":
            os.rename(home / "secret", home / "secret.old")
            if change == "replaced":
                os.mkdir(home / "secret")
                (home / "secret/file").write_text("in the open")
                while not (home / "read").exists():
                    await asyncio.sleep(0.02)
                said["found"] = (home / "found").read_text()
            said["missing"] = missing(made, read(server.pid), since)
            said["sentence"] = await watching
        await server.terminate(0)
        said["end"] = await watching
        server.close()
        print(json.dumps(said))

    asyncio.run(main())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        for name in ("secret", "kept ż", "run"):
            (made / name).mkdir()
        (made / "secret" / "file").write_text("denied")
        give(made)
        yield made


@pytest.mark.skipif(landlock.abi() < 4 or bool(mounts.probe()), reason="needs Landlock ABI 4 and user namespaces")
@pytest.mark.parametrize("change", ["replaced", "moved", "nothing"])
def test_a_denied_directory_replaced_outside_is_in_the_open_and_the_watch_says_so(home: Path, change: str) -> None:
    """``replaced``: without the watch what lies there then is read inside."""
    done = subprocess.run(
        [*prefix(), sys.executable, "-c", textwrap.dedent(AGENT), str(home), change],
        capture_output=True, text=True, timeout=110, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    secret = str(home / "secret")
    assert said.pop("quiet") and {secret, str(home / "kept ż")} <= set(said.pop("masks"))
    if change == "nothing":
        assert said == {"end": ""}
        return
    assert said.pop("found", "") == ("in the open" if change == "replaced" else "")
    sentence = uncovered(plan_of(secret), secret)
    assert said == {"missing": [secret], "sentence": sentence, "end": sentence}
