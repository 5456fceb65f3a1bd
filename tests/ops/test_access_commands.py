"""What ``hpcsec access`` finds and prints."""

import os
import pwd
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.ops import access_commands as commands
from jupyter_hpcsec.ops.access_commands import Account
from tests.access.policies import EXAMPLE, subject

OWN = pwd.getpwuid(os.geteuid())


@pytest.fixture
def example(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(EXAMPLE)
    file.chmod(0o644)
    return file


def test_a_check_gives_every_problem_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nrules:\n- {who: '*', allow: {read: [/a/, b]}, denny: [/c]}\n")
    report = commands.check(file)
    assert not report.holds
    assert report.as_text().splitlines() == [
        f"{file}:3:34: rule 1, allow.read[2] can't be 'b'; begin it with '/' or {{home}}.",
        f"{file}:3:39: rule 1 has no key 'denny'; write 'deny'.",
    ]
    told = report.as_json()
    assert told["problems"][1] == {
        "line": 3,
        "column": 39,
        "text": "rule 1 has no key 'denny'",
        "fix": "write 'deny'",
    }
    assert told["holds"] is False and "sha256" not in told


def test_a_check_of_no_file_says_so(tmp_path: Path) -> None:
    report = commands.check(tmp_path / "none")
    assert not report.holds and "can't be read" in report.as_text() == report.as_json()["error"]


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("required", "advisory", "advisory: nothing is enforced"),
        ("bind: none", "bind: unsafe-allow", "defaults: bind unsafe-allow"),
        ("defaults: {", "defaults: {minimum_abi: 4, ", "minimum_abi 4"),
        ('"user:alice",    ', '"user:alice", network: {bind: unsafe-udp}, ', "rule 3: bind unsafe-udp"),
        ("tests:", "#", "no tests"),
        ("", "", "defaults.contact is not set"),
    ],
)
def test_a_check_warns_of_what_weakens(example: Path, old: str, new: str, warning: str) -> None:
    text = EXAMPLE.replace(old, new) if old else EXAMPLE
    example.write_text(text.replace("#\n  - {user", "#"))
    report = commands.check(example)
    assert report.holds, report.as_text()
    assert any(warning in line for line in report.warnings)
    assert f"WARNING: {report.warnings[0]}" in report.as_text()


def test_a_check_warns_of_others_who_may_write(example: Path) -> None:
    assert not any("others may write" in warning for warning in commands.check(example).warnings)
    example.chmod(0o664)
    assert any("others may write" in warning for warning in commands.check(example).warnings)


def test_a_check_that_holds(example: Path) -> None:
    report = commands.check(example)
    assert report.as_text().startswith(f"{example} can be used: 3 rules, 1 test held\nsha256 ")
    assert (report.as_json()["rules"], report.as_json()["tests"], report.as_json()["holds"]) == (3, 1, True)


@pytest.mark.parametrize("user", ["no-such-user-here", "", "a\0b"])
def test_who_is_not_known_here_has_nothing(user: str) -> None:
    assert commands.look_up(user) is None
    made = commands.subject_of(user, groups=["g", "g"])
    assert (made.uid, made.home, made.groups) == (-1, "", ("g",))


def test_who_is_known_here_is_looked_up() -> None:
    account = commands.look_up(OWN.pw_name)
    assert account and (account.uid, account.home) == (OWN.pw_uid, OWN.pw_dir)


def test_what_is_given_joins_what_is_known() -> None:
    def find(_: str) -> Account:
        return Account(7, 8, "/h/alice", ("alice", "genomics"))

    made = commands.subject_of("alice", groups=["hubbers", "alice"], project="p", home="/other", find=find)
    assert made.groups == ("hubbers", "alice", "genomics")
    assert (made.uid, made.gid, made.home, made.project) == (7, 8, "/other", "p")
    assert commands.subject_of("alice", find=find).home == "/h/alice"


def test_an_explanation_of_a_denial(example: Path) -> None:
    found, policy = commands.explain_file(example, subject("alice", "genomics"), "/data/genomics/consented-only/x")
    assert commands.explanation_text(found, policy).splitlines() == [
        "alice may do NOTHING with /data/genomics/consented-only/x",
        f"  decided by      rule 2 (group:genomics), {example} line 5: deny /data/genomics/consented-only",
        f"  speaks of it    rule 2 (group:genomics), {example} line 5: allow read /data/genomics",
        "  asked for       alice, groups: genomics",
    ]


def test_an_explanation_of_silence_says_who_would_be_allowed(example: Path) -> None:
    text = commands.explanation_text(*commands.explain_file(example, subject("bob"), "/data/genomics/x"))
    assert "what nothing allows is denied" in text
    assert "  allowed to      group:genomics" in text
    assert "groups: none" in text


def test_an_explanation_where_there_is_no_session(example: Path) -> None:
    example.write_text("version: 1\ndefaults: {contact: Ann}\nrules: [{who: 'user:bob', allow: {read: [/d]}}]\n")
    text = commands.explanation_text(*commands.explain_file(example, subject(), "/d"))
    assert "  no session      No rule of the access policy allows alice anything here." in text
    assert text.endswith("  ask             Ann")


def test_an_advisory_answer_says_so(example: Path) -> None:
    example.write_text(EXAMPLE.replace("required", "advisory"))
    text = commands.explanation_text(*commands.explain_file(example, subject(), "/home/alice/x"))
    assert text.startswith("alice may READ and WRITE /home/alice/x  (advisory: not enforced)\n")


def test_an_explanation_for_programs(example: Path) -> None:
    found, policy = commands.explain_file(example, subject("alice", "genomics"), "/data/genomics/x")
    told = commands.explanation_json(found, policy)
    assert (told["right"], told["entry"]["rule"], told["sha256"]) == ("read", 2, policy.digest)


def test_all_that_a_user_may_do(example: Path) -> None:
    text = commands.resolved_text(commands.resolve_file(example, subject("alice", "genomics")))
    assert text.splitlines()[:5] == [
        "read   /data/genomics                 rule 2 (group:genomics), line 5",
        "write  /data/genomics/alice           rule 3 (user:alice), line 6",
        "none   /data/genomics/consented-only  rule 2 (group:genomics), line 5",
        "write  /home/alice                    rule 1 (*), line 4",
        "none   /home/alice/.ssh               rule 1 (*), line 4",
    ]
    assert "bind none, connect to 443" in text and "ABI 6 or newer" in text


def test_who_is_refused_has_no_plan(example: Path) -> None:
    example.write_text("version: 1\nrules: [{who: 'user:bob', allow: {read: [/d]}}]\n")
    with pytest.raises(Refused, match=r"access\.no-rule"):
        commands.resolve_file(example, subject())


def test_a_comparison(example: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(EXAMPLE.replace("read: [", "write: [").replace("443", "22").replace("tests:", "#", 1).split("#")[0])
    alice, bob = commands.compare_files(example, new, [subject("alice", "genomics"), subject("bob")])
    assert commands.difference_text(alice).splitlines() == [
        "alice:",
        "  gains   read -> write  /data/genomics",
        "  keeps  write -> write  /data/genomics/alice",
        "  keeps   none -> none   /data/genomics/consented-only",
        "  connect: 443 -> 22",
    ]
    assert commands.difference_text(bob).splitlines() == ["bob:", "  connect: 443 -> 22"]
    assert commands.difference_json(alice)["changes"][0] == {
        "kind": "gains",
        "path": "/data/genomics",
        "before": "read",
        "after": "write",
    }


def test_a_comparison_of_equals_and_of_a_session_that_is_no_more(example: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text("version: 1\nrules: [{who: 'user:bob', allow: {write: [/home/bob]}}]\n")
    (same,) = commands.compare_files(example, example, [subject()])
    assert commands.difference_text(same) == "alice: nothing changes"
    (gone,) = commands.compare_files(example, new, [subject()])
    assert "  no session after   No rule of the access policy allows alice" in commands.difference_text(gone)
    assert "  no session before" in commands.difference_text(commands.compare_files(new, example, [subject()])[0])


def test_a_path_in_another_spelling_and_a_missing_policy_are_errors(example: Path, tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"'\.' or '\.\.'"):
        commands.explain_file(example, subject(), "/data/../x")
    with pytest.raises(Unavailable):
        commands.explain_file(tmp_path / "none", subject(), "/data")
