"""Comparing two policies: nothing that changes is left out, and nothing is told that does not."""

from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy_diff import Change, changes, compare
from jupyter_hpcsec.access.values import Right
from tests.access.policies import policy, resolved, subject

NAMES = st.sampled_from(["a", "b", "a-b"])
PATHS = st.lists(NAMES, max_size=4).map(lambda names: "/" + "/".join(names))
RIGHTS = st.lists(st.tuples(PATHS, st.sampled_from(["none", "read", "write"])), max_size=6)


def told(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> list[str]:
    found = changes(resolved(*before), resolved(*after))
    return [f"{change.kind} {change.path} {change.before}->{change.after}" for change in found]


def test_equal_rules_in_another_order_change_nothing() -> None:
    rules = [("/a", "read"), ("/a/b", "none"), ("/c", "write")]
    assert not told(rules, rules[::-1])


def test_what_is_lost_is_told() -> None:
    assert told([("/a", "write")], [("/a", "read")]) == ["loses /a write->read"]
    assert told([("/a", "read")], []) == ["loses /a read->none"]
    assert told([("/a", "read")], [("/a", "read"), ("/a/b", "none")]) == ["loses /a/b read->none"]


def test_what_is_gained_is_told() -> None:
    assert told([], [("/a", "read"), ("/a/b", "write")]) == ["gains /a none->read", "gains /a/b none->write"]


def test_what_stays_inside_of_a_change_is_told() -> None:
    assert told([("/a", "read"), ("/a/b", "read")], [("/a/b", "read")]) == [
        "loses /a read->none",
        "keeps /a/b read->read",
    ]
    assert told([("/a/b", "read")], [("/a/b", "read"), ("/c", "read")]) == ["gains /c none->read"]


def test_an_entry_without_effect_changes_nothing() -> None:
    assert not told([("/a", "read")], [("/a", "read"), ("/a/b", "read"), ("/z", "none")])


def test_a_neighbour_is_not_inside() -> None:
    assert told([("/a", "read"), ("/a-b", "read")], [("/a-b", "read")]) == ["loses /a read->none"]


def test_a_session_that_is_no_more_is_told() -> None:
    old = policy({"who": "user:alice", "allow": {"read": ["/a"]}})
    new = policy({"who": "user:bob", "allow": {"read": ["/a"]}}, contact="Ann")
    found = compare(old, new, subject())
    assert found.refused_after.endswith("Ask Ann.") and not found.refused_before
    assert found.changes == (Change("/a", Right.READ, Right.NONE),)
    assert compare(new, old, subject()).refused_before and not found.settings


def test_settings_are_compared() -> None:
    rule = {"who": "*", "allow": {"read": ["/a"]}}
    new = policy(
        {**rule, "network": {"connect": [443]}},
        enforcement="advisory",
        minimum_abi=5,
        network={"bind": "unsafe-udp"},
        hide_denied=True,
    )
    found = compare(policy(rule), new, subject())
    assert not found.changes
    assert [(s.name, s.before, s.after) for s in found.settings] == [
        ("enforcement", "required", "advisory"),
        ("minimum_abi", "6", "5"),
        ("bind", "none", "unsafe-udp"),
        ("connect", "no port", "443"),
        ("hide_denied", "false", "true"),
    ]


@given(RIGHTS, RIGHTS, PATHS)
def test_the_nearest_change_above_any_path_tells_the_truth(
    before: list[tuple[str, str]], after: list[tuple[str, str]], asked: str
) -> None:
    old, new = resolved(*before), resolved(*after)
    rights = (Decisions(old).decide(asked).right, Decisions(new).decide(asked).right)
    above = [c for c in changes(old, new) if asked == c.path or asked.startswith(c.path.rstrip("/") + "/")]
    if above:
        nearest = max(above, key=lambda change: len(change.path))
        assert (nearest.before, nearest.after) == rights
    else:
        assert rights[0] is rights[1]


@given(RIGHTS, RIGHTS)
def test_back_is_the_other_way_round(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    there, back = changes(resolved(*before), resolved(*after)), changes(resolved(*after), resolved(*before))
    assert [(c.path, c.before, c.after) for c in there] == [(c.path, c.after, c.before) for c in back]
