"""Decisions: near misses get nothing, and every answer is the one that a naive reading of the rules gives."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.decision import NOTHING, Decisions
from jupyter_hpcsec.access.values import Entry, Resolved, Right
from tests.access.policies import resolved

NAMES = st.sampled_from(["a", "b", "A", "a-b", "a.", "é", "e\u0301", "a%2Fb"])
PATHS = st.lists(NAMES, max_size=4).map(lambda names: "/" + "/".join(names))
RIGHTS = st.lists(st.tuples(PATHS, st.sampled_from(["none", "read", "write"])), max_size=12)


def naive(access: Resolved, asked: str) -> Right:
    """The words of the design, one after the other."""

    def names(path: str) -> list[str]:
        return [name for name in path.split("/") if name]

    def concerns(entry: Entry) -> bool:
        return names(asked)[: len(names(entry.path))] == names(entry.path)

    found = [entry for entry in access.entries if concerns(entry)]
    if any(entry.right is Right.NONE for entry in found):
        return Right.NONE
    longest = max((len(names(entry.path)) for entry in found), default=-1)
    best = {entry.right for entry in found if len(names(entry.path)) == longest}
    return Right.WRITE if Right.WRITE in best else Right.READ if Right.READ in best else Right.NONE


@pytest.mark.parametrize(
    "path",
    [
        "/data/x-secret",
        "/data/X",
        "/Data/x",
        "/data/x.",
        "/data/x..",
        "/data/x ",
        "/data/ x",
        "/data/x\u200b",
        "/data",
        "/",
        "",
        "data/x",
        "//data/x",
        "/data//x",
        "/data/x/",
        "/data/x/.",
        "/data/x/..",
        "/data/x/../x",
        "/data/x/../../etc/shadow",
        "/data/./x",
        "/data/x\0",
        "/data/x\0/y",
        "/data/x/y\0",
        "/data%2Fx",
        "/data/%78",
        "/data/%2578",
        "/data/x%2Fy",
        "/data/x%00",
        "\\data\\x",
        "file:///data/x",
        "/data/re\u0301sume",
    ],
)
def test_near_misses_get_nothing(path: str) -> None:
    decisions = Decisions(resolved(("/data/x", "write"), ("/data/r\u00e9sume", "read")))
    assert decisions.decide(path) == NOTHING
    assert decisions.decide(path).is_denied


@pytest.mark.parametrize("path", ["/data/x", "/data/x/y", "/data/x/.y", "/data/x/...", "/data/x/%2e%2e", "/data/x/\n"])
def test_what_is_below_is_allowed(path: str) -> None:
    assert Decisions(resolved(("/data/x", "write"))).decide(path).right is Right.WRITE


def test_an_encoded_name_is_another_name() -> None:
    decisions = Decisions(resolved(("/data", "read"), ("/data/secret", "none"), ("/data/%73ecret/x", "write")))
    assert decisions.decide("/data/secret").right is Right.NONE
    assert decisions.decide("/data/%73ecret").right is Right.READ
    assert decisions.decide("/data/%2573ecret").right is Right.READ
    assert decisions.decide("/data/%73ecret/x").right is Right.WRITE


def test_composed_and_decomposed_names_are_two() -> None:
    decisions = Decisions(resolved(("/data", "read"), ("/data/caf\u00e9", "none")))
    assert decisions.decide("/data/caf\u00e9/x").right is Right.NONE
    assert decisions.decide("/data/cafe\u0301/x").right is Right.READ


def test_the_root_itself_may_be_allowed() -> None:
    decisions = Decisions(resolved(("/", "write"), ("/etc", "none")))
    assert decisions.decide("/").right is Right.WRITE
    assert decisions.decide("/home/x").right is Right.WRITE
    assert decisions.decide("/etc/shadow").right is Right.NONE
    assert decisions.decide("/etc/../x") == decisions.decide("//etc") == decisions.decide("") == NOTHING
    assert [piece.path for piece in decisions.pieces()] == ["/", "/etc"]
    assert [entry.path for entry in decisions.speaking_of("/etc/x")] == ["/etc", "/"]


def test_deny_wins_over_a_longer_allow() -> None:
    decisions = Decisions(resolved(("/d", "read"), ("/d/no/yes", "write"), ("/d/no", "none")))
    decision = decisions.decide("/d/no/yes/x")
    assert decision.right is Right.NONE
    assert decision.entry and decision.entry.rule == 3


def test_deny_wins_over_an_equal_allow() -> None:
    assert Decisions(resolved(("/d", "none"), ("/d", "write"))).decide("/d").entry
    assert Decisions(resolved(("/d", "write"), ("/d", "none"))).decide("/d/x").right is Right.NONE


def test_the_longest_allow_decides() -> None:
    decisions = Decisions(resolved(("/d", "write"), ("/d/fixed", "read"), ("/d/fixed/mine", "write")))
    assert decisions.decide("/d/x").right is Right.WRITE
    assert decisions.decide("/d/fixed/x").right is Right.READ
    assert decisions.decide("/d/fixed/mine/x").right is Right.WRITE


def test_of_equal_paths_writing_wins_and_is_named() -> None:
    decision = Decisions(resolved(("/d", "read"), ("/d", "write"), ("/d", "read"))).decide("/d/x")
    assert decision.entry and (decision.right, decision.entry.rule) == (Right.WRITE, 2)


def test_directories_that_lead_on() -> None:
    decisions = Decisions(resolved(("/a/b/c", "read"), ("/a/no", "none"), ("/a/no/yes", "write")))
    assert decisions.leads_on("/") and decisions.leads_on("/a") and decisions.leads_on("/a/b")
    assert not decisions.leads_on("/a/b/c")
    assert not decisions.leads_on("/a/no")
    assert not decisions.leads_on("/x")
    assert not decisions.leads_on("/a/../a")


@given(RIGHTS, PATHS)
def test_as_the_naive_reading(rights: list[tuple[str, str]], asked: str) -> None:
    access = resolved(*rights)
    decision = Decisions(access).decide(asked)
    assert decision.right is naive(access, asked)
    if decision.entry is None:
        assert decision.is_denied
    else:
        assert decision.entry in access.entries and decision.entry.right is decision.right


@given(RIGHTS, st.lists(PATHS, max_size=5), st.randoms(use_true_random=False))
def test_order_means_nothing(rights: list[tuple[str, str]], asked: list[str], shuffled: random.Random) -> None:
    before = Decisions(resolved(*rights))
    shuffled.shuffle(rights)
    after = Decisions(resolved(*rights))
    assert [before.decide(path).right for path in asked] == [after.decide(path).right for path in asked]


@given(RIGHTS, PATHS)
def test_leading_on_as_the_naive_reading(rights: list[tuple[str, str]], asked: str) -> None:
    access = resolved(*rights)
    head = "/" if asked == "/" else asked + "/"
    below = [entry.path for entry in access.entries if entry.path.startswith(head) and entry.path != asked]
    assert Decisions(access).leads_on(asked) is any(naive(access, path) is not Right.NONE for path in below)


@given(st.text(alphabet="/.\0a%2e", max_size=10), RIGHTS)
def test_only_canonical_paths_get_something(asked: str, rights: list[tuple[str, str]]) -> None:
    decision = Decisions(resolved(("/a", "write"), *rights)).decide(asked)
    names = asked.split("/")
    repaired = names[0] or "\0" in asked or any(name in ("", ".", "..") for name in names[1:])
    if (repaired and asked != "/") or len(names) == 1:
        assert decision == NOTHING


def test_pieces_leave_out_what_has_no_effect() -> None:
    access = resolved(
        ("/a/b", "read"), ("/a", "read"), ("/a/c", "none"), ("/a/c/d", "write"), ("/z", "none"), ("/a-b", "write")
    )
    pieces = Decisions(access).pieces()
    assert [(piece.path, piece.decision.right) for piece in pieces] == [
        ("/a", "read"),
        ("/a/c", "none"),
        ("/a-b", "write"),
    ]


@given(RIGHTS, PATHS)
def test_pieces_are_the_whole_answer(rights: list[tuple[str, str]], asked: str) -> None:
    decisions = Decisions(resolved(*rights))
    above = [p for p in decisions.pieces() if asked == p.path or asked.startswith(p.path.rstrip("/") + "/")]
    nearest = max(above, key=lambda piece: len(piece.path), default=None)
    assert (nearest.decision.right if nearest else Right.NONE) is decisions.decide(asked).right


def test_what_speaks_of_a_path_comes_nearest_first() -> None:
    decisions = Decisions(resolved(("/a", "read"), ("/a/b", "read"), ("/a/b", "none"), ("/a/bc", "read")))
    assert [entry.rule for entry in decisions.speaking_of("/a/b/c")] == [3, 2, 1]
