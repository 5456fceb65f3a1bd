"""The user's rules in plain words: nothing of them is left out, and what is not enforced is said first."""

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.values import Bind, Network, Resolved, Subject
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub.policies import NoRules
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from jupyter_hpcsec.hub.session_files import write_access, write_stale
from jupyter_hpcsec.server.access_facts import FILE_LIMIT, in_words, read_access
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from jupyter_hpcsec.tunnel.messages import Stale

LOG = logging.getLogger("test.facts")
ALICE = Subject(user="alice", uid=1001, gid=1001, home="/home/alice")
POLICY = b"""version: 1
defaults: {contact: data@example.org, network: {connect: [443]}}
rules:
  - {who: "*", allow: {write: ["{home}"]}, deny: ["{home}/.ssh"]}
  - {who: "user:alice", allow: {read: [/data/a]}}
"""


@pytest.fixture
def rules() -> Resolved:
    return parse(POLICY, "policy.yaml").resolve(ALICE)


def environment(directory: Path) -> dict[str, str]:
    return {SESSION_VARIABLE: str(directory / "session.json")}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 50_000, b'{"rules": {}, "digest": "x", "receipt": {}}',
     b'{"rules": {"entries": "all"}, "digest": "x", "receipt": {}}', b"x" * (FILE_LIMIT + 1)],
)  # fmt: skip
def test_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "access.json").write_bytes(content)
    with pytest.raises(Malformed):
        read_access(environment(tmp_path))


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "access.json").mkdir()
    with pytest.raises(Unavailable, match="directory"):
        read_access(environment(tmp_path))
    (tmp_path / "access.json").rmdir()
    with pytest.raises(Malformed):
        read_access(environment(tmp_path))


def test_outside_of_a_session_there_is_nothing() -> None:
    assert read_access({}) is None


def test_what_the_agent_wrote_is_read(tmp_path: Path, rules: Resolved) -> None:
    directory = RuntimeDirectory(tmp_path)
    write_access(directory, rules, {})
    write_access(directory, rules, {"plan": "p", "landlock_abi": 7})
    found = read_access(environment(tmp_path))
    assert found is not None and found["receipt"] == {"plan": "p", "landlock_abi": 7} and found["stale"] is None
    assert msgspec.convert(found["rules"], Resolved) == rules
    write_stale(directory, Stale(since=1, ends_at=2, reason="Changed."), LOG)
    write_stale(directory, Stale(since=1, ends_at=3, reason="Changed."), LOG)
    assert told(tmp_path)["stale"] == {"since": 1, "ends_at": 3, "reason": "Changed."}
    for _ in range(2):
        write_stale(directory, Stale(), LOG)
    assert told(tmp_path)["stale"] is None


def test_a_disk_that_takes_nothing_ends_no_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_stale(RuntimeDirectory(tmp_path / "gone"), Stale(since=1, ends_at=2, reason="Changed."), LOG)
    assert "can't be told" in caplog.text


def told(directory: Path) -> dict[str, Any]:
    found = read_access(environment(directory))
    assert found is not None
    return dict(json.loads(json.dumps(found)))


def test_every_entry_the_network_and_whom_to_ask_are_sentences(rules: Resolved) -> None:
    assert in_words(rules) == [
        "You may read /data/a (rule 2, line 5, for user:alice).",
        "You may read and change /home/alice (rule 1, line 4, for *).",
        "You may not see /home/alice/.ssh (rule 1, line 4, for *).",
        "Everything else is not there for this session, but for what its software needs.",
        "Nothing of this session may listen on the network.",
        "It may connect to TCP ports 443.",
        "Ask data@example.org for access.",
    ]


@pytest.mark.parametrize("bind", Bind)
def test_each_network_has_its_sentence(rules: Resolved, bind: Bind) -> None:
    words = in_words(msgspec.structs.replace(rules, network=Network(bind=bind)))
    assert len(words) == len(set(words))
    assert ("It may connect to nothing but the hub." in words) is (bind is not Bind.PRIVATE)


def test_what_is_not_enforced_comes_first() -> None:
    assert "no access policy" in in_words(NoRules().resolve(ALICE))[0]
    advisory = POLICY.replace(b"contact", b"enforcement: advisory, contact")
    assert "NOT enforced" in in_words(parse(advisory, "p").resolve(ALICE))[0]
