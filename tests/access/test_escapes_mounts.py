"""Places that a node's root mounted a second time: reached by the other path outside, closed inside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give, inside, outside

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts on a node"),
    pytest.mark.skipif(landlock.abi() < 6 or bool(mounts.probe()), reason="needs Landlock ABI 6 and user namespaces"),
]

TRY = """
    import errno, sys
    for path, mode in zip(sys.argv[1::2], sys.argv[2::2]):
        try:
            with open(path, mode) as file:
                file.read() if mode == "r" else file.write("x")
            print("done")
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        for path in (home / "secret/inner", home / "elsewhere", home / "again", home.parent / "data/part"):
            path.mkdir(parents=True)
        for path in ("secret/inner/key", "secret/key", "../data/part/file", "../data/file"):
            (home / path).write_text(path)
        give(home.parent)
        yield home


def test_a_part_of_a_denied_place_and_the_whole_are_closed_wherever_they_are_mounted(home: Path) -> None:
    tries = [str(home / "elsewhere/key"), "r", str(home / "again/key"), "r", str(home / "again/new"), "w"]
    binds = [(home / "secret/inner", home / "elsewhere"), (home / "secret", home / "again")]
    assert outside(TRY, *tries, cwd=home, binds=binds).split() == ["done"] * 3
    (home / "secret/new").unlink()
    rules = [(home, "write"), (home / "secret", "none")]
    done = inside(TRY, *tries, rules=rules, cwd=home, binds=binds)
    assert done.out.split() == ["EACCES"] * 3, done.refused
    assert not (home / "secret/new").exists()
    assert done.receipt["masks"] == "3 hidden, 0 read-only"


def test_what_is_mounted_below_a_denied_place_is_closed_where_else_it_is_mounted(home: Path) -> None:
    binds = [(home.parent / "data", home / "secret/inner"), (home.parent / "data/part", home / "elsewhere")]
    tries = [str(home / "elsewhere/file"), "r"]
    assert outside(TRY, *tries, cwd=home, binds=binds).split() == ["done"]
    done = inside(TRY, *tries, rules=[(home, "write"), (home / "secret", "none")], cwd=home, binds=binds)
    assert done.out.split() == ["EACCES"], done.refused


def test_what_may_only_be_read_is_not_written_by_another_path(home: Path) -> None:
    data = home.parent / "data"
    binds = [(data, home / "again"), (data / "part", home / "elsewhere")]
    tries = [str(home / "again/file"), "a", str(home / "elsewhere/file"), "a", str(home / "mine"), "a"]
    assert outside(TRY, *tries, cwd=home, binds=binds).split() == ["done"] * 3
    rules = [(home, "write"), (data, "read")]
    done = inside(TRY, *tries, str(home / "again/file"), "r", rules=rules, cwd=home, binds=binds)
    assert done.out.split() == ["EROFS", "EROFS", "done", "done"], done.refused


def test_where_such_a_path_can_not_be_covered_there_is_no_session(home: Path) -> None:
    binds = [(home / "secret/inner", home / "elsewhere")]
    rules = [(home / "elsewhere", "write"), (home / "secret", "none")]
    done = inside(TRY, rules=rules, cwd=home / "elsewhere", binds=binds)
    assert done.refused == (
        f"rule 1 (line 1, *) requires {home}/elsewhere, which rule 2 (line 2, *) denies by another of its paths, "
        f"{home}/secret."
    )
    rules = [(home, "write"), (home / "secret", "none")]
    done = inside(TRY, rules=rules, cwd=home, binds=binds, namespaces=False)
    assert "hidden inside a place that may be written, which takes user namespaces" in done.refused
