"""The map of path prefixes, against the plain definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.prefixes import Prefixes, is_below, is_canonical, parent

NAMES = st.sampled_from(["a", "b", "A", "a-b", "a.", "é", "e\u0301", "a%2Fb"])
PATHS = st.lists(NAMES, max_size=5).map(lambda names: "/" + "/".join(names))


@pytest.mark.parametrize(
    "path", ["", "a", "a/b", "//", "/a/", "/a//b", "/a/../b", "/..", "/.", "/a/.", "/a\0", "/../a", "./a", "\0"]
)
def test_paths_that_have_another_spelling(path: str) -> None:
    assert not is_canonical(path)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b", "/.a", "/..a", "/a/...", "/a.", "/a b", "/a\n", "/\udcff", "/%2e%2e/a"]
)
def test_paths_in_their_one_spelling(path: str) -> None:
    assert is_canonical(path)


@pytest.mark.parametrize("pairs", [[("/a/", 1)], [("a", 1)], [("/a", 1), ("/a", 2)]])
def test_what_callers_must_not_give(pairs: list[tuple[str, int]]) -> None:
    with pytest.raises(AssertionError, match="BUG"):
        Prefixes(pairs)


def test_nothing_is_a_prefix_of_nothing() -> None:
    assert Prefixes[int]([]).longest("/a") is None
    assert not list(Prefixes[int]([]).below("/"))


@given(st.dictionaries(PATHS, st.integers()), PATHS)
def test_longest_is_the_longest(values: dict[str, int], asked: str) -> None:
    found = [path for path in values if asked == path or asked.startswith(path.rstrip("/") + "/")]
    assert Prefixes(values.items()).longest(asked) == (values[max(found, key=len)] if found else None)


@given(st.dictionaries(PATHS, st.integers()), PATHS)
def test_below_is_strictly_below(values: dict[str, int], asked: str) -> None:
    head = "/" if asked == "/" else asked + "/"
    below = sorted(value for path, value in values.items() if path.startswith(head) and path != asked)
    assert sorted(Prefixes(values.items()).below(asked)) == below


@given(PATHS, PATHS)
def test_being_below_is_having_it_among_the_directories_above(path: str, directory: str) -> None:
    above: str | None = path
    found = False
    while above is not None and not found:
        found = above == directory
        above = parent(above)
    assert is_below(path, directory) is found
