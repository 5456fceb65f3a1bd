"""Resolving a policy's paths: a link that the user could exchange grants nothing, and what can't be seen is said so."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.access.places import Finder, Kind, State, nearest
from jupyter_hpcsec.access.prefixes import is_below
from tests.nobody import NOBODY


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path.resolve()
    (top / "data/x").mkdir(parents=True)
    (top / "data/file").write_text("")
    (top / "abs").symlink_to(top / "data")
    (top / "rel").symlink_to("./data/../data/x")
    (top / "loop").symlink_to("loop")
    (top / "chain").symlink_to("abs/x")
    return top


def as_roots(path: str, *, but: str = "", uid: int = 0, mode: int = 0o755) -> os.stat_result:
    """What lies there, as if root owned it and nobody else might write, ``but`` for one place."""
    found = list(os.lstat(path))
    found[stat.ST_UID], others = (uid, mode) if path == but else (0, 0o755)
    found[stat.ST_MODE] = stat.S_IFMT(found[stat.ST_MODE]) | others
    return os.stat_result(found)


def trusting(lstat: Callable[[str], os.stat_result] = as_roots) -> Finder:
    """An account that owns nothing here and may write nowhere."""
    return Finder(NOBODY, lstat=lstat, access=lambda path, mode: False)


@pytest.mark.parametrize(
    ("path", "real", "state", "kind"),
    [
        ("loop", "loop", State.MISSING, Kind.NOTHING),
        ("data/nothing/deep", "data/nothing/deep", State.MISSING, Kind.NOTHING),
        ("abs/nothing/deep", "data/nothing/deep", State.MISSING, Kind.NOTHING),
        ("data/file/deep", "data/file/deep", State.MISSING, Kind.NOTHING),
        ("data", "data", State.THERE, Kind.DIRECTORY),
        ("abs/x", "data/x", State.THERE, Kind.DIRECTORY),
        ("rel", "data/x", State.THERE, Kind.DIRECTORY),
        ("chain", "data/x", State.THERE, Kind.DIRECTORY),
        ("abs/file", "data/file", State.THERE, Kind.FILE),
    ],
)
def test_what_is_found(tree: Path, path: str, real: str, state: State, kind: Kind) -> None:
    place = trusting().find(f"{tree}/{path}")
    assert (place.real, place.state, place.kind) == (f"{tree}/{real}", state, kind)
    if state is State.THERE:
        assert place.real == os.path.realpath(f"{tree}/{path}")


def test_the_links_on_the_way_are_told(tree: Path) -> None:
    assert trusting().find(f"{tree}/chain").links == (
        (f"{tree}/chain", "abs/x"),
        (f"{tree}/abs", f"{tree}/data"),
    )


@pytest.mark.parametrize(
    ("name", "uid", "mode"),
    [
        ("/abs", NOBODY, 0o777),  # the user's own
        ("/abs", 1, 0o777),  # another user's, who may gain from where it leads
        ("", 1, 0o755),  # in another user's directory
        ("", 0, 0o775),
        ("", 0, 0o777),
    ],
)
def test_a_link_that_others_than_root_could_exchange_is_not_trusted(tree: Path, name: str, uid: int, mode: int) -> None:
    finder = trusting(lambda path: as_roots(path, but=f"{tree}{name}", uid=uid, mode=mode))
    for path in ("abs", "abs/x", "abs/nothing"):
        assert finder.find(f"{tree}/{path}").state is State.UNTRUSTED
    assert finder.find(f"{tree}/data").state is State.THERE


def test_a_link_beside_which_the_user_may_write_is_not_trusted(tree: Path) -> None:
    finder = Finder(NOBODY, lstat=as_roots, access=lambda path, mode: path == str(tree))
    assert finder.find(f"{tree}/abs").state is State.UNTRUSTED


def test_roots_link_in_a_sticky_directory_is_trusted(tree: Path) -> None:
    finder = trusting(lambda path: as_roots(path, but=str(tree), mode=0o1777))
    assert finder.find(f"{tree}/abs").state is State.THERE


def test_a_directory_that_can_not_be_searched_is_named(tree: Path) -> None:
    def lstat(path: str) -> os.stat_result:
        if path.startswith(f"{tree}/data/"):
            raise PermissionError
        return os.lstat(path)

    place = Finder(NOBODY, lstat=lstat, access=lambda path, mode: False).find(f"{tree}/data/x/y")
    assert (place.state, place.real) == (State.UNREACHABLE, f"{tree}/data")


def test_root_is_a_place() -> None:
    place = Finder(NOBODY).find("/")
    assert (place.real, place.state, place.kind) == ("/", State.THERE, Kind.DIRECTORY)


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/data/x-secret", "/data/x", False),
        ("/data/X", "/data/x", False),
        ("/data", "/data/x", False),
        ("/data/x", "/data/x", True),
        ("/data/x/y", "/data/x", True),
        ("/anything", "/", True),
    ],
)
def test_whole_components_count(path: str, root: str, below: bool) -> None:
    assert is_below(path, root) is below


def test_the_nearest_is_the_longest() -> None:
    assert nearest("/a/b/c", ["/a", "/a/b", "/a/bc", "/x"]) == "/a/b"
    assert nearest("/y", ["/a"]) is None
