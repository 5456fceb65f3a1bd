"""The command's contract: its exit status, its JSON, and no colour where none is wanted."""

import argparse
import json

import pytest

from jupyter_hpcsec.cli import doctor
from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops.doctor import diagnose
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown

RED = [ok("port", "reachable"), bad("tls", "broken", "mend")]
NOT_RED = [ok("port", "reachable"), unknown("clock", "no idea", "ask")]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Finding]]:
    given = {"hub": RED, "node": RED}
    monkeypatch.setattr(diagnose, "hub_side", lambda **_: given["hub"])
    monkeypatch.setattr(diagnose, "node_side", lambda **_: given["node"])
    return given


def test_outside_a_job_it_says_what_to_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JUPYTER_HPCSEC_SESSION", "HPCSEC_GATEWAY", "HPCSEC_CA"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor", "--node"]) == 1
    assert "--gateway" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["hub", "node"])
def test_red_is_1_and_else_0(side: str, answers: dict[str, list[Finding]], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["doctor", *(["--node"] if side == "node" else [])]
    assert main(words) == 1
    answers[side] = NOT_RED
    assert main(words) == 0
    assert "FAIL" in capsys.readouterr().out


def test_json(answers: dict[str, list[Finding]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert values["ok"] is False
    assert [finding["hop"] for finding in values["findings"]] == ["port", "tls"]


def test_no_colour_outside_of_a_terminal(answers: dict[str, list[Finding]], capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(
    name: str,
    value: str,
    answers: dict[str, list[Finding]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    main(["doctor"])
    assert "\x1b[1;31m" in capsys.readouterr().out
    monkeypatch.setenv(name, value)
    main(["doctor"])
    assert "\x1b" not in capsys.readouterr().out


def test_the_admin_socket_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCSEC_ADMIN_SOCKET", "/tmp/x/admin.sock")
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert str(parser.parse_args([]).socket) == "/tmp/x/admin.sock"
