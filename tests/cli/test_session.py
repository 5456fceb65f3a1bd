import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.admin import AdminServer

SESSION = "0123456789abcdef0123456789abcdef"
FIELDS = {
    "id": SESSION,
    "user": "alice\x1b[31m",
    "server": "",
    "uid": 2001,
    "state": "ready",
    "job_id": "17",
    "node": "n1",
    "created_at": 1_800_000_000,
    "ends_at": 1_800_003_600,
    "counters": {"lanes": 3},
}


class FakeControl:
    """A gateway with one session."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the command asked for {name}")

    async def sessions(self) -> list[dict[str, Any]]:
        return [FIELDS]

    async def show(self, session: str) -> dict[str, Any]:
        if session != SESSION:
            raise Refused("session.unknown", f"There is no session {session}.")
        return FIELDS

    async def end(self, session: str, reason: str, by: str = "staff") -> None:
        self.ended.append((session, reason))


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeControl]:
    """Served by a loop of its own in a thread, as another process would."""
    control, path = FakeControl(), tmp_path / "admin.sock"
    loop, listening = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = AdminServer(control, allowed_uids={os.geteuid()})
        server.listen(path)
        listening.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert listening.wait(10)
    monkeypatch.setenv("HPCSEC_ADMIN_SOCKET", str(path))
    yield control
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_without_a_gateway_it_fails_with_the_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", "list", "--socket", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("hpcsec session: No gateway runs at ")
    assert "hpcsec gateway" in error


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["end", SESSION],
        ["show"],
        ["show", "x"],
        ["end", SESSION[1:], "--reason", "x"],
        ["end", "../" * 8, "--reason", "x"],
    ],
)
def test_wrong_arguments_reach_no_gateway(
    control: FakeControl, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["session", *words])
    assert error.value.code == 2
    assert control.ended == []


def test_an_unknown_session_is_refused(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", "show", "f" * 32]) == 1
    assert "There is no session" in capsys.readouterr().err


def test_list_is_a_table_of_printable_text(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", "list"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "state", "user", "server", "job_id", "node", "created_at", "ends_at"]
    name = "alice\N{REPLACEMENT CHARACTER}[31m"
    times = ["2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z"]
    assert row.split() == [SESSION, "ready", name, "-", "17", "n1", *times]


def test_show_names_every_fact(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", "show", SESSION.upper()]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(facts) == set(FIELDS)
    assert facts["counters"] == '{"lanes": 3}'


def test_end_passes_the_reason_on(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", "end", SESSION, "--reason", "found mining"]) == 0
    assert control.ended == [(SESSION, "found mining")]
    assert SESSION in capsys.readouterr().out


def test_json_is_what_the_gateway_said(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["list"], [FIELDS]),
        (["show", SESSION], FIELDS),
        (["end", SESSION, "--reason", "x"], {"id": SESSION, "ended": True, "reason": "x"}),
    ):
        assert main(["session", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == expected
