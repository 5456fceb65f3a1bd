"""Resolution: who is concerned, how traits are filled in, and what the network section comes to."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.policy_paths import Template
from jupyter_hpcsec.access.policy_rules import Grant, Policy, Rule, RuleNetwork, Who, network_of
from jupyter_hpcsec.access.values import Bind, Network, Right, Subject, decode_resolved, encode
from jupyter_hpcsec.errors import Refused
from tests.access.policies import policy, subject

HOME = {"who": "*", "allow": {"write": ["/home/{user}"]}}


def refused(made: Policy, who: Subject, rule: str) -> str:
    with pytest.raises(Refused) as caught:
        made.resolve(who)
    assert caught.value.rule == rule
    return caught.value.reason


def paths(made: Policy, who: Subject) -> dict[str, str]:
    return {entry.path: str(entry.right) for entry in made.resolve(who).entries}


def test_a_user_with_no_rule_is_refused_and_told_whom_to_ask() -> None:
    made = policy({"who": "user:alice", "allow": {"read": ["/data"]}}, contact="hpc-support@example.org")
    reason = refused(made, subject("bob", "alice"), "access.no-rule")
    assert reason == "No rule of the access policy allows bob anything here. Ask hpc-support@example.org."
    assert "Ask your administrators." in refused(
        policy({"who": "user:alice", "allow": {"read": ["/data"]}}), subject("bob"), "access.no-rule"
    )


def test_rules_that_only_deny_allow_no_session() -> None:
    made = policy(
        {"who": "*", "deny": ["/data/secret"], "network": {"bind": "private"}},
        {"who": "group:x", "allow": {"read": ["/data"]}},
    )
    refused(made, subject("alice"), "access.no-rule")
    assert paths(made, subject("alice", "x")) == {"/data/secret": "none", "/data": "read"}


@pytest.mark.parametrize("group", ["X", "x ", "xx", "", "user:x", "group:x", "*"])
def test_a_near_miss_of_a_group_is_not_in_it(group: str) -> None:
    refused(policy({"who": "group:x", "allow": {"read": ["/data"]}}), subject("x", group), "access.no-rule")


def test_a_user_named_like_a_group_is_none() -> None:
    made = policy({"who": "user:x", "allow": {"read": ["/data"]}})
    refused(made, subject("group:x", "x"), "access.no-rule")
    refused(made, subject("*", "x"), "access.no-rule")


@pytest.mark.parametrize("user", ["..", ".", "", "a/b", "../root", "a\0", "a\nb", "*", "x" * 256, "\udcff"])
def test_a_name_that_is_no_safe_part_of_a_path_is_refused(user: str) -> None:
    reason = refused(policy(HOME, contact="Ann"), subject(user, home="/home/x"), "access.trait")
    assert "rule 1, line 1" in reason and "{user}" in reason and reason.endswith("Ask Ann.")


@pytest.mark.parametrize("project", ["", "..", "a/b", "a\0"])
def test_a_project_that_is_unknown_or_unsafe_is_refused(project: str) -> None:
    made = policy({"who": "*", "allow": {"write": ["/p/{project}/{user}"]}})
    reason = refused(made, subject(project=project), "access.trait")
    assert "{project}" in reason and ("choose a project" in reason) is (project == "")


@pytest.mark.parametrize("home", ["", "/", "home", "/home/alice/", "//home", "/home/../etc", "/home/\0", "/proc/self"])
def test_a_home_that_is_unknown_or_unsafe_is_refused(home: str) -> None:
    who = Subject(user="alice", uid=1, gid=1, home=home)
    assert "{home}" in refused(policy({"who": "*", "allow": {"write": ["{home}"]}}), who, "access.trait")


def test_an_unknown_uid_is_refused() -> None:
    made = policy({"who": "*", "allow": {"write": ["/run/user/{uid}"]}})
    assert "{uid} is not known" in refused(made, subject(uid=-1), "access.trait")


def test_a_trait_of_a_denied_path_is_refused_as_well() -> None:
    made = policy({"who": "*", "allow": {"read": ["/p"]}, "deny": ["/p/{project}/secret"]})
    refused(made, subject(), "access.trait")


def test_traits_together_make_no_other_path() -> None:
    made = policy({"who": "*", "allow": {"write": ["/p/{user}{project}"]}})
    reason = refused(made, Subject(user="x" * 200, uid=1, gid=1, home="/h", project="y" * 200), "access.trait")
    assert "more than 255 bytes" in reason


def test_what_can_not_be_sent_is_refused() -> None:
    name = "x" * 250
    made = policy(*({"who": "*", "allow": {"read": [f"/{name}/{name}/{n}"]}} for n in range(800)))
    assert "grant directories" in refused(made, subject(), "access.too-much")


def test_every_trait() -> None:
    made = policy(
        {"who": "*", "allow": {"write": ["{home}", "/a/{user}", "/b/{uid}", "/c/{project}-{user}"]}},
        {"who": "group:genomics", "allow": {"read": ["/data/{group}"]}, "deny": ["{home}/.ssh"]},
        {"who": "group:physics", "allow": {"read": ["/data/{group}"]}},
        {"who": "group:other", "allow": {"read": ["/data/{group}"]}},
    )
    who = subject("alice", "genomics", "physics", uid=7, home="/h/alice", project="p1")
    assert paths(made, who) == {
        "/h/alice": "write",
        "/a/alice": "write",
        "/b/7": "write",
        "/c/p1-alice": "write",
        "/data/genomics": "read",
        "/data/physics": "read",
        "/h/alice/.ssh": "none",
    }


def test_what_is_resolved_names_its_rule_and_travels() -> None:
    made = policy(
        {"who": "user:bob", "allow": {"read": ["/x"]}},
        {"who": "user:alice", "allow": {"read": ["/data"], "write": ["/mine"]}, "required": ["/mine"]},
        minimum_abi=4,
        enforcement="advisory",
        contact="Ann",
        hide_denied=True,
    )
    found = made.resolve(subject("alice"))
    assert [(e.path, e.rule, e.line, e.who, e.required) for e in found.entries] == [
        ("/data", 2, 1, "user:alice", False),
        ("/mine", 2, 1, "user:alice", True),
    ]
    assert (found.minimum_abi, found.enforcement, found.contact, found.hide_denied) == (4, "advisory", "Ann", True)
    assert found.policy == made.digest
    assert decode_resolved(encode(found)) == found


def test_defaults_are_the_strict_ones() -> None:
    found = policy(HOME).resolve(subject())
    assert (found.enforcement, found.minimum_abi, found.network) == ("required", 6, Network())
    assert not found.hide_denied


def rule(who: str, bind: str | None = None, *ports: int) -> Rule:
    return Rule(1, 1, Who.parse(who), (), RuleNetwork(Bind(bind) if bind else None, ports))


@pytest.mark.parametrize(
    ("rules", "bind"),
    [
        ([], "private"),
        ([rule("*")], "private"),
        ([rule("*", "none")], "none"),
        ([rule("*", "none"), rule("group:a", "private")], "private"),
        ([rule("group:a", "private"), rule("group:b", "none")], "none"),
        ([rule("group:a", "unsafe-allow"), rule("group:b", "private")], "private"),
        ([rule("group:a", "unsafe-allow"), rule("group:b", "unsafe-udp")], "unsafe-udp"),
        ([rule("user:a", "none"), rule("group:b", "private")], "none"),
        ([rule("user:a", "unsafe-allow"), rule("group:b", "none"), rule("*", "none")], "unsafe-allow"),
        ([rule("user:a"), rule("group:b", "none")], "none"),
    ],
)
def test_the_most_specific_rule_sets_bind_and_of_equal_ones_the_tightest(rules: list[Rule], bind: str) -> None:
    assert network_of(Network(bind=Bind.PRIVATE), rules).bind == bind
    assert network_of(Network(bind=Bind.PRIVATE), rules[::-1]).bind == bind


def test_ports_add_up() -> None:
    rules = [rule("*", None, 22), rule("group:a", None, 5432, 443), rule("user:a", "none")]
    assert network_of(Network(connect=(443,)), rules).connect == (22, 443, 5432)


def test_a_private_network_leads_nowhere_whatever_others_may_reach() -> None:
    rules = [rule("*", None, 22), rule("group:a", "private")]
    assert network_of(Network(connect=(443,)), rules) == Network(bind=Bind.PRIVATE)
    assert network_of(Network(bind=Bind.PRIVATE, connect=(443,)), [rule("user:a", "none")]).connect == (443,)


WHO = st.sampled_from(["*", "user:alice", "user:bob", "group:a", "group:b"])
GRANTS = st.lists(
    st.builds(
        Grant, st.sampled_from(["/a", "/a/{user}", "{home}"]).map(Template), st.sampled_from(Right), st.integers(1, 9)
    ),
    max_size=3,
)


@given(
    st.lists(st.tuples(WHO, GRANTS, st.none() | st.sampled_from(Bind), st.lists(st.integers(1, 9))), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rules_means_nothing(
    parts: list[tuple[str, list[Grant], Bind | None, list[int]]], shuffled: random.Random
) -> None:
    def made() -> Policy:
        rules = [
            Rule(1, 1, Who.parse(who), tuple(grants), RuleNetwork(bind, tuple(ports)))
            for who, grants, bind, ports in parts
        ]
        return Policy("p", "0", tuple(rules))

    def outcome(made: Policy) -> object:
        try:
            found = made.resolve(subject("alice", "a"))
        except Refused as error:
            return error.rule
        return found.network, sorted((e.path, e.right, e.line) for e in found.entries)

    before = outcome(made())
    shuffled.shuffle(parts)
    assert outcome(made()) == before
