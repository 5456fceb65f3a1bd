"""The session's facts are read in one form, and are no reason to fail for a server outside of a session."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, parse_facts, read_facts

GOOD: dict[str, Any] = {
    "user": "alice", "server": "", "session": "0" * 32, "job": "17", "node": "n1", "ends_at": 1,
    "endpoints": ["hub:8443"], "ca_pin": "0" * 64, "protections": {"landlock_abi": 7, "listeners": "none"},
    "recording": {"level": "sources", "text": "Told."},
}  # fmt: skip


def test_outside_of_a_session_there_are_none() -> None:
    assert read_facts({}) is None


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        read_facts({SESSION_VARIABLE: str(tmp_path / "none")})


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b"\xff", b"x" * 70_000, b"[" * 60_000,
        *(json.dumps({**GOOD, **change}).encode() for change in (
            {"more": 1}, {"user": 1}, {"ends_at": "1"}, {"ends_at": True}, {"protections": []},
            {"endpoints": "hub:1"}, {"endpoints": [1]}, {"ca_pin": 1},
            {"protections": {"a": {}}}, {"recording": []}, {"recording": {"level": 1}},
        )),
        json.dumps({name: value for name, value in GOOD.items() if name != "node"}).encode(),
    ],
)  # fmt: skip
def test_other_forms_are_refused(content: bytes) -> None:
    with pytest.raises(Malformed):
        parse_facts(content)


def test_facts_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(json.dumps(GOOD))
    facts = read_facts({SESSION_VARIABLE: str(tmp_path / "f")})
    assert facts is not None
    assert facts.endpoints == ["hub:8443"]
    assert facts.for_browser() == {name: GOOD[name] for name in GOOD if name not in {"endpoints", "ca_pin"}}


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_nonsense(content: bytes) -> None:
    with pytest.raises(Malformed):
        parse_facts(content)
