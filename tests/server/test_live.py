"""What changes while a session lives is read in one form, and shown in place of what was so at its start."""

import contextlib
import json
import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.hub import ownrecords, session_files
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from jupyter_hpcsec.server import live
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, SessionFacts
from jupyter_hpcsec.tunnel.messages import Stale

FACTS = SessionFacts(
    user="alice",
    server="",
    session="0" * 32,
    job="17",
    node="n1",
    ends_at=1000,
    endpoints=[],
    ca_pin="",
    protections={},
)
LOG = logging.getLogger(__name__)


def shown(directory: Path) -> dict[str, object]:
    return live.for_browser(FACTS, {SESSION_VARIABLE: str(directory / "session.json")})


@pytest.mark.parametrize("name", [live.CERTIFICATE_FILE, live.STALE_FILE])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"x" * 20_000, b"[" * 10_000, b'{"not_after": "1"}'])
def test_other_forms_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Malformed, match=name):
        shown(tmp_path)


def test_the_way_to_one_s_own_records_is_the_hub_s(tmp_path: Path) -> None:
    assert shown(tmp_path)["records"] == ""
    assert ownrecords.VARIABLE == live.RECORDS_VARIABLE
    environment = {SESSION_VARIABLE: str(tmp_path / "session.json"), ownrecords.VARIABLE: "/services/hpcsec/me"}
    assert live.for_browser(FACTS, environment)["records"] == "/services/hpcsec/me"


def test_a_file_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / live.STALE_FILE).mkdir()
    with pytest.raises(Unavailable, match="Is a directory"):
        shown(tmp_path)


@given(content=st.binary(max_size=200))
def test_nonsense_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.mktemp("d")
    (directory / live.STALE_FILE).write_bytes(content)
    with contextlib.suppress(HpcsecError):
        assert shown(directory)["stale"]


def test_before_the_agent_said_anything_the_start_counts(tmp_path: Path) -> None:
    found = shown(tmp_path)
    assert (found["ends_at"], found["certificate_ends_at"], found["stale"]) == (1000, None, None)
    assert found["recorded"]


def test_what_the_agent_writes_is_shown(tmp_path: Path) -> None:
    directory = RuntimeDirectory(tmp_path)
    tell = session_files.certificate_writer(directory, LOG)
    tell(500, 5000)  # the session's bound from above: the job's own limit, which the facts hold, comes sooner
    assert (shown(tmp_path)["ends_at"], shown(tmp_path)["certificate_ends_at"]) == (1000, 500)
    tell(900, 5000)
    assert (shown(tmp_path)["ends_at"], shown(tmp_path)["certificate_ends_at"]) == (1000, 900)
    tell(1500, 7000)
    assert (shown(tmp_path)["ends_at"], shown(tmp_path)["certificate_ends_at"]) == (7000, 1500)
    now = int(time.time())
    session_files.write_stale(directory, Stale(since=now, ends_at=now + 600, reason="Changed."), LOG)
    assert shown(tmp_path)["stale"] == {"since": now, "ends_at": now + 600, "reason": "Changed."}
    session_files.write_stale(directory, Stale(), LOG)
    assert shown(tmp_path)["stale"] is None
    assert json.loads(directory.certificate_file.read_text()) == {"not_after": 1500, "ends_at": 7000}


def test_a_place_that_can_not_be_written_ends_no_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session_files.certificate_writer(RuntimeDirectory(tmp_path / "none"), LOG)(1, 2)
    assert "can't be told how long the certificate lives" in caplog.text
