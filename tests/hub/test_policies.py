"""The policy's file: whatever is wrong with it, no session starts; a change is seen, and an edit of nothing is none."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.values import Bind, Network, Resolved, Right, Subject
from jupyter_hpcsec.audit.events import Event, kind_of
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.hub.policies import LOADING, POLICY_LIMIT, NoRules, PolicyFile, UnsafeNoPolicy, meaning, read_policy
from tests.hub.rules import HOMES, write_policy

LOG = logging.getLogger("test.policies")
ALICE = Subject(user="alice", uid=1001, gid=1001, home="/home/alice", groups=("genomics",))
FAILING_TEST = "- {user: alice, home: /home/alice, path: /home/alice/x, may: none}"


def policies(path: Path) -> PolicyFile:
    return PolicyFile(path, parse, LOG)


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "No such file"),
    "unreadable": (unreadable, "can't be read"),
    "a device": (lambda path: (path.unlink(), path.symlink_to("/dev/null")), "not a file"),
    "a pipe that nobody writes to": (lambda path: (path.unlink(), os.mkfifo(path)), "not a file"),
    "empty": (lambda path: path.write_text(""), "empty"),
    "only blank": (lambda path: path.write_text(" \n\n"), "empty"),
    "no rules": (lambda path: path.write_text("version: 1\nrules: []\n"), "rules"),
    "half": (lambda path: path.write_text(path.read_text()[:-4]), "not YAML"),
    "not YAML": (lambda path: path.write_bytes(b"\xff\xfe"), ""),
    "a failing test": (lambda path: write_policy(path, tests=FAILING_TEST), "test 1 fails"),
    "writable by all": (lambda path: path.chmod(0o666), "chmod go-w"),
    "writable by its group": (lambda path: path.chmod(0o664), "chmod go-w"),
    "too large": (lambda path: path.write_bytes(b"#" * (POLICY_LIMIT + 1)), "bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_file_that_can_not_be_used_refuses_and_a_mended_one_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    held = policies(path)
    await held.rules()
    spoil, said = BROKEN[name]
    spoil(path)
    for _ in range(3):
        with pytest.raises(Refused) as refusal:
            await held.rules()
        assert refusal.value.rule == LOADING and str(path) not in refusal.value.reason
    assert said in held.status()["error"] and held.status()["digest"] == ""
    assert caplog.text.count("can't be used") == 1, "said once, with its reason"
    assert held.status()["error"] in caplog.text
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    write_policy(path)
    assert (await held.rules()).resolve(ALICE).entries
    assert held.status()["error"] == ""


def test_somebody_elses_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    read_policy(path)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(Malformed, match="chown root"):
        read_policy(path)


async def test_a_change_is_seen_and_the_same_rules_stay_the_same_object(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    held = policies(path)
    first = await held.rules()
    assert await held.rules() is first
    write_policy(path)  # another file, the same words
    assert await held.rules() is first
    held.forget()
    assert await held.rules() is first
    write_policy(path, HOMES + '- {who: "user:alice", allow: {read: ["/data/x"]}}\n')
    second = await held.rules()
    assert second is not first and len(second.resolve(ALICE).entries) == 2


async def test_many_who_ask_at_once_read_it_once(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    loaded = []

    def load(content: bytes, name: str) -> object:
        loaded.append(name)
        return parse(content, name)

    held = PolicyFile(path, load, LOG)  # type: ignore[arg-type]
    rules = await asyncio.gather(*(held.rules() for _ in range(20)))
    assert len(loaded) == 1 and len({id(each) for each in rules}) == 1


def resolved(rules: str, defaults: str = "") -> Resolved:
    text = f"version: 1\ndefaults: {{{defaults}}}\nrules:\n" if defaults else "version: 1\nrules:\n"
    return parse((text + "".join(f"  {line}\n" for line in rules.strip().splitlines())).encode(), "p").resolve(ALICE)


DATA = '- {who: "group:genomics", allow: {read: ["/data/a", "/data/b"]}}\n'


@pytest.mark.parametrize(
    "same",
    [
        HOMES + DATA,
        "# a comment\n" + HOMES + DATA,
        DATA + HOMES,
        HOMES + '- {who: "group:genomics", allow: {read: ["/data/b", "/data/a"]}}\n',
        HOMES + DATA + '- {who: "user:bob", allow: {write: ["/data/bob"]}}\n',
        '- {who: "*", allow: {write: ["/home/{user}"]}}\n' + DATA,
    ],
)
def test_an_edit_that_changes_nothing_for_the_user_means_the_same(same: str) -> None:
    assert meaning(resolved(same)) == meaning(resolved(HOMES + DATA))


@pytest.mark.parametrize(
    ("rules", "defaults"),
    [
        (HOMES, ""),
        (HOMES + DATA + '- {who: "user:alice", deny: ["/data/a/secret"]}\n', ""),
        (HOMES + DATA.replace("read", "write"), ""),
        (HOMES + DATA, "network: {connect: [443]}"),
        (HOMES + DATA, "network: {bind: private}"),
        (HOMES + DATA, "minimum_abi: 7"),
        (HOMES + DATA, "enforcement: advisory"),
        (HOMES + DATA, "hide_denied: true"),
    ],
)
def test_an_edit_that_changes_something_for_the_user_is_another(rules: str, defaults: str) -> None:
    assert meaning(resolved(rules, defaults)) != meaning(resolved(HOMES + DATA))


def test_whom_to_ask_ends_no_session() -> None:
    assert meaning(resolved(HOMES, "contact: help@example.org")) == meaning(resolved(HOMES))


async def test_without_a_policy_nothing_listens_all_the_same() -> None:
    held = UnsafeNoPolicy()
    held.forget()
    rules = await held.rules()
    assert isinstance(rules, NoRules) and held.status()["unsafe"] is True
    found = rules.resolve(ALICE)
    assert found.network == Network(bind=Bind.NONE) and found.policy == ""
    assert [(entry.path, entry.right) for entry in found.entries] == [("/", Right.WRITE)]
    assert msgspec.convert(msgspec.to_builtins(found), Resolved) == found


async def test_what_is_gone_by_is_told_and_shown_as_it_was_loaded(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    told: list[Event] = []
    held = PolicyFile(path, parse, LOG, told.append)
    assert held.text() == "" and not told
    rules = await held.rules()
    first = path.read_text()
    assert held.text() == first
    assert [(kind_of(each), each.policy, each.object.name) for each in told] == [
        ("policy.loaded", rules.digest, str(path))
    ]
    path.write_text(first + "# changed on disk, not yet looked at\n")
    assert held.text() == first, "what is gone by, not what the file is now"
    await held.rules()
    assert held.text() != first and len(told) == 2
    path.write_text("version: 1\nrules: []\n")
    for _ in range(2):
        with pytest.raises(Refused):
            await held.rules()
    assert [kind_of(each) for each in told[2:]] == ["policy.refused"], "said once"
    assert told[2].rule == LOADING and told[2].reason and held.text() == ""
    assert UnsafeNoPolicy().text() == ""
