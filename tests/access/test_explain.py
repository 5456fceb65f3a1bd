"""Explanations: the same answer as the decision, with its rule, and who would be allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.explain import explain
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.errors import Malformed
from tests.access.policies import EXAMPLE, FILE, policy, subject

MADE = parse(EXAMPLE.encode(), FILE)


@pytest.mark.parametrize("path", ["", "data", "/data/../x", "/data//x", "/data/", "/", "/data/\0", "/data/\x1b[2J"])
def test_a_path_that_is_not_in_its_one_spelling_is_refused(path: str) -> None:
    with pytest.raises(Malformed, match="the path"):
        explain(MADE, subject(), path)


def test_who_has_no_session_is_told_so() -> None:
    made = policy({"who": "user:bob", "allow": {"read": ["/data"]}}, contact="Ann")
    found = explain(made, subject("alice"), "/data/x")
    assert found.right == "none" and found.refused.endswith("Ask Ann.")
    assert (found.others, found.contact) == (("user:bob",), "Ann")


def test_a_denial_names_its_rule_and_what_stands_beside_it() -> None:
    found = explain(MADE, subject("alice", "genomics"), "/data/genomics/consented-only/x")
    assert found.right == "none"
    assert found.entry and (found.entry.rule, found.entry.line) == (2, 5)
    assert [(entry.path, entry.right) for entry in found.beside] == [("/data/genomics", "read")]
    assert found.others == ()


def test_who_would_be_allowed_is_named() -> None:
    found = explain(MADE, subject("bob"), "/data/genomics/alice/x")
    assert (found.right, found.entry, found.others) == ("none", None, ("group:genomics", "user:alice"))
    assert explain(MADE, subject("bob"), "/data/genomics/consented-only").others == ()
    assert explain(MADE, subject("bob"), "/home/bob/x").others == ()


def test_others_are_named_once_and_only_when_their_traits_are_known() -> None:
    made = policy(
        {"who": "*", "allow": {"read": ["/a"]}},
        {"who": "group:g", "allow": {"read": ["/b", "/b/c"]}},
        {"who": "group:g", "allow": {"write": ["/b/c/d"]}},
        {"who": "group:h", "allow": {"write": ["/{project}"]}},
    )
    assert explain(made, subject(), "/b/c/d").others == ("group:g",)
    assert explain(made, subject(project="p"), "/p").others == ("group:h",)


@given(
    st.sampled_from(["/home/alice", "/home/alice/.ssh/x", "/data/genomics/x", "/data/genomics/alice/y", "/tmp/x"]),
    st.sampled_from(["alice", "bob"]),
    st.lists(st.sampled_from(["genomics", "physics"]), unique=True),
)
def test_the_answer_is_the_decision(path: str, user: str, groups: list[str]) -> None:
    who = subject(user, *groups)
    found = explain(MADE, who, path)
    decision = Decisions(MADE.resolve(who)).decide(path)
    assert (found.right, found.entry) == decision
    assert decision.entry not in found.beside
