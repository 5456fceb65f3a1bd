"""The audit benchmark measures what it says, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops.bench import audit


def test_it_measures_and_cleans_up(tmp_path: Path) -> None:
    said: list[str] = []
    made = audit.run(300, said.append, tmp_path)
    assert made.events >= 300 + 2 * audit.WAITS
    assert made.per_second > 0
    assert 0 < made.wait_p50 <= made.wait_p99
    assert len(made.bounds()) == 4
    assert "events" in made.as_text()
    assert not list(tmp_path.iterdir())
    assert said


def test_it_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WAITS", 20)
    assert main(["bench", "audit", "--events", "50", "--json", "--directory", str(tmp_path)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made["bounds"]) == {bound.what for bound in (audit.EVENTS, audit.WAIT, audit.VERIFY, audit.ASK)}
