"""Loading: what a schema can't say, a policy's own tests, and files that can't be used."""

import os
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy import PolicyError, load, parse
from jupyter_hpcsec.access.policy_source import SIZE_LIMIT
from jupyter_hpcsec.access.values import Bind, Network
from jupyter_hpcsec.errors import Unavailable
from tests.access.policies import EXAMPLE, FILE, policy, subject
from tests.nobody import run_python

RULES = "version: 1\nrules:\n"


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse(text.encode(), FILE)
    return caught.value


@pytest.mark.parametrize(
    ("rule", "place", "words"),
    [
        ("{who: '*', allow: {read: [/a/../b]}}", "3:29", "'..'"),
        ("{who: '*', allow: {read: [/a/*]}}", "3:29", "glob '*'"),
        ("{who: '*', allow: {read: [/a//b]}}", "3:29", "empty name"),
        ("{who: '*', allow: {read: [/a/]}}", "3:29", "'/' at the end"),
        ("{who: '*', allow: {read: [/]}}", "3:29", "whole file system"),
        ('{who: "*", allow: {read: ["/a/\\0"]}}', "3:29", "control character"),
        ("{who: '*', allow: {read: ['/a/{usr}']}}", "3:29", "no trait {usr}"),
        ("{who: '*', allow: {read: ['/a/{home}']}}", "3:29", "at the beginning"),
        ("{who: '*', allow: {read: ['/a/{group}']}}", "3:29", "who: group:NAME"),
        ("{who: 'user:g', allow: {read: ['/a/{group}']}}", "3:34", "who: group:NAME"),
        ("{who: 'group:a b/c', allow: {read: ['/a/{group}']}}", "3:39", "{group} filled in: its value has a '/'"),
        ("{who: 'user:..', allow: {read: ['/a/{user}']}}", "3:35", "{user} filled in: '.' or '..'"),
        ("{who: '*', deny: [/a/../b], allow: {read: [/a]}}", "3:21", "'..'"),
        ("{who: '*', allow: {read: [/a, /a]}}", "3:33", "names '/a' twice"),
        ("{who: '*', allow: {read: [/a], write: [/a]}}", "3:42", "names '/a' twice"),
        ("{who: '*', allow: {read: [/a]}, deny: [/a]}", "3:42", "names '/a' twice"),
        ("{who: '*', allow: {read: [/a/b]}, deny: [/a]}", "3:29", "denies '/a', and deny wins"),
        ("{who: '*', allow: {read: ['/h/{user}/x']}, deny: ['/h/{user}']}", "3:29", "to no effect"),
        ("{who: '*', allow: {read: [/a]}, required: [/b]}", "3:46", "'/b' is required, but rule 1 does not allow it"),
        ("{who: '*', allow: {read: [/a]}, required: [/a/b]}", "3:46", "write it under allow"),
        ("{who: '*', network: {bind: private, connect: [443]}}", "3:48", "port 443 can't be reached from it"),
        ("{who: '*', allow: {read: [/a]}, deny: [/a/b], required: [/a/b]}", "3:60", "write it under allow"),
    ],
)
def test_rules_that_are_refused(rule: str, place: str, words: str) -> None:
    error = refused(f"{RULES}- {rule}\n")
    assert str(error).startswith(f"{FILE}:{place}: ") and words in str(error)


@pytest.mark.parametrize(
    "rule",
    [
        "{who: 'group:a b/c', allow: {read: [/a]}}",
        "{who: 'user:a.b@example.org', allow: {read: ['/a/{user}']}}",
        "{who: '*', allow: {read: [/a]}, deny: [/a-b, /a/c], required: [/a]}",
        "{who: '*', allow: {read: [/a/b], write: [/a]}}",
        "{who: '*', network: {bind: private, connect: [hub]}}",
    ],
)
def test_rules_that_are_accepted(rule: str) -> None:
    assert parse(f"{RULES}- {rule}\n".encode(), FILE).rules


def test_a_private_default_with_ports_is_refused() -> None:
    rule = "rules:\n- {who: '*', allow: {read: [/a]}}\n"
    error = refused(f"version: 1\ndefaults: {{network: {{bind: private, connect: [hub, 443]}}}}\n{rule}")
    assert "leads nowhere" in str(error) and "another bind" in str(error)


def test_the_same_path_may_stand_in_two_rules() -> None:
    made = policy({"who": "*", "allow": {"read": ["/a"]}}, {"who": "user:bob", "deny": ["/a"]})
    assert Decisions(made.resolve(subject("alice"))).decide("/a").right == "read"
    assert Decisions(made.resolve(subject("bob"))).decide("/a").right == "none"


def test_everything_of_one_step_is_told() -> None:
    text = f"{RULES}- {{who: '*', allow: {{read: [/a/, /b/*]}}}}\n- {{who: '*', deny: [/c/..]}}\n"
    assert [problem.mark.line for problem in refused(text).problems] == [3, 3, 4]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("path: /d/x, may: read", "alice may write '/d/x' (rule 1, line 3), but the test says read"),
        ("path: /d/x, may: none", "but the test says none"),
        ("path: /d/no/x, may: read", "alice may do nothing with '/d/no/x' (rule 1, line 3)"),
        ("path: /d-x, may: read", "(no rule speaks of it), but the test says read"),
        ("path: /d/../d, may: write", "test 1, path: '.' or '..'"),
        ("path: /g/x, may: read", "but the test says read"),
        ("path: /u/7, may: write, groups: [uids]", "test 1 can't be asked"),
        ("path: /u/8, may: write, groups: [uids], uid: 7", "no rule speaks of it"),
        ("path: /h/a, may: write, groups: [homes]", "give the test its uid, home or project"),
        ("path: /h/a, may: write, groups: [homes], home: /h/../h", "test 1, home: '.' or '..'"),
        ("path: /d, may: write, groups: [homes], home: /", "test 1, home: the whole file system"),
    ],
)
def test_a_failing_test_refuses_the_policy(test: str, words: str) -> None:
    error = refused(TESTED.format(test=test))
    assert str(error).startswith(f"{FILE}:8:") and words in str(error)


TESTED = """\
version: 1
rules:
- {{who: 'user:alice', allow: {{write: [/d]}}, deny: [/d/no]}}
- {{who: 'group:g', allow: {{read: [/g]}}}}
- {{who: 'group:uids', allow: {{write: ['/u/{{uid}}']}}}}
- {{who: 'group:homes', allow: {{write: ['{{home}}']}}}}
tests:
- {{user: alice, {test}}}
"""


@pytest.mark.parametrize(
    "test",
    [
        "path: /d/x, may: write",
        "path: /d/no, may: none",
        "path: /g/x, may: read, groups: [g]",
        "path: /u/7, may: write, groups: [uids], uid: 7",
        "path: /h/a/x, may: write, groups: [homes], home: /h/a",
    ],
)
def test_a_test_that_holds(test: str) -> None:
    assert parse(TESTED.format(test=test).encode(), FILE)


def test_who_has_no_rule_may_do_nothing() -> None:
    rule: dict[str, Any] = {"who": "user:alice", "allow": {"read": ["/d"]}}
    assert policy(rule, tests=[{"user": "bob", "path": "/d", "may": "none"}])
    with pytest.raises(PolicyError, match="no rule allows this user anything"):
        policy(rule, tests=[{"user": "bob", "path": "/d", "may": "read"}])


def test_the_example_of_the_design() -> None:
    made = parse(EXAMPLE.encode(), FILE)
    decisions = Decisions(made.resolve(subject("alice", "genomics")))
    expected = {
        "/home/alice/x": "write",
        "/home/alice/.ssh/id_ed25519": "none",
        "/home/bob": "none",
        "/data/genomics/x": "read",
        "/data/genomics/alice/x": "write",
        "/data/genomics/consented-only/x": "none",
        "/data": "none",
    }
    assert {path: decisions.decide(path).right for path in expected} == expected
    assert made.network == Network(bind=Bind.NONE, connect=(443,))
    decision = decisions.decide("/data/genomics/alice/x")
    assert decision.entry and (decision.entry.rule, decision.entry.line, decision.entry.who) == (3, 6, "user:alice")


def test_the_hash_is_of_the_bytes() -> None:
    assert parse(EXAMPLE.encode(), FILE).digest != parse(EXAMPLE.encode() + b"\n", FILE).digest


def test_a_missing_file_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"none\.yaml can't be read \(No such file.*create it"):
        load(tmp_path / "none.yaml")


def test_a_file_that_can_not_be_read() -> None:
    said = run_python("""
        import tempfile
        from pathlib import Path
        from jupyter_hpcsec.access.policy import load
        from jupyter_hpcsec.errors import Unavailable
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "policy.yaml")
            file.touch(mode=0)
            try:
                load(file)
            except Unavailable as error:
                print(error)
    """)
    assert "can't be read (Permission denied)" in said and "let this user read it" in said


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "policy.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(Unavailable, match="is no file"):
        load(path)


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(PolicyError, match=f"above {SIZE_LIMIT}"):
        load(file)


def test_a_file_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(EXAMPLE)
    made = load(file)
    assert (made.name, made.tests) == (str(file), 1)
    assert made.digest == parse(EXAMPLE.encode(), FILE).digest
