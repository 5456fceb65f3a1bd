"""Owners and modes: missing, of another kind, wider, or someone else's is red."""

from pathlib import Path

import pytest

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.files import examine
from jupyter_hpcsec.ops.doctor.finding import Finding, Status
from jupyter_hpcsec.ops.doctor.world import FileFact

PATH = Path("/run/hpcsec/admin.sock")


def look(world: FakeWorld, fact: FileFact | OSError | None) -> Finding:
    if fact is not None:
        world.files[str(PATH)] = fact
    return examine(world, "permissions", PATH, kind="socket", widest=0o660, owner=900)


@pytest.mark.parametrize(
    ("fact", "word"),
    [
        (None, "missing"),
        (FileFact(0o660, 900, "file"), "should be a socket"),
        (FileFact(0o666, 900, "socket"), "0666"),
        (FileFact(0o660, 1000, "socket"), "alice"),
    ],
)
def test_wrong(world: FakeWorld, fact: FileFact | None, word: str) -> None:
    finding = look(world, fact)
    assert finding.status is Status.BAD
    assert word in finding.what


def test_what_may_not_be_looked_at_is_unknown(world: FakeWorld) -> None:
    assert look(world, PermissionError(13, "Permission denied")).status is Status.UNKNOWN


def test_right_or_narrower(world: FakeWorld) -> None:
    assert look(world, FileFact(0o660, 900, "socket")).status is Status.OK
    assert look(world, FileFact(0o600, 900, "socket")).status is Status.OK
