"""``hpcsec audit`` against a real gateway: what is shown was recorded first, and no event can pretend to be a line."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused, SessionEnded
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.tunnel.admin import AdminClient

HOSTILE = "=cmd|' /C calc'!A0\nforged\x1b[2J\u202e"
PROGRAM = (
    "import sys; from pathlib import Path; from jupyter_hpcsec.hub.gateway_service import run; run(Path(sys.argv[1]))"
)


class Site:
    """A gateway's directory; the gateway is a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.audit = directory / "state" / "audit"
        self.socket = directory / "run" / "admin.sock"
        self.process: subprocess.Popen[bytes] | None = None
        (directory / "gateway_config.py").write_text(
            "c.HpcsecGateway.listen = ['127.0.0.1:0']\n"
            "c.HpcsecGateway.public_endpoints = ['hub.example:8443']\n"
            f"c.HpcsecGateway.state_directory = {str(directory / 'state')!r}\n"
            f"c.HpcsecGateway.run_directory = {str(directory / 'run')!r}\n"
            "c.HpcsecGateway.attestors = ['none']\n"
            "c.HpcsecGateway.unsafe_no_attestation = True\n"
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.directory / "gateway_config.py")], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not self.socket.exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            assert self.process.wait(30) == 0
            self.process = None

    def published(self) -> None:
        """Wait until all that is durable is under a checkpoint."""
        deadline = time.monotonic() + 20
        while True:
            audit = asyncio.run(AdminClient(self.socket).status())["audit"]
            if audit["durable"] == audit["published"]:
                return
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    (site.directory / "state").mkdir(mode=0o700)
    log = Log(site.audit, origin="hpcsec.internal/audit", second_place=site.directory / "state" / "audit-checkpoints")
    log.record(SessionEnded(session="e" * 32, reason=HOSTILE), "gateway", {"source": b"print('secret')\n"}).result(10)
    log.record(EnrolmentRefused(node=HOSTILE, rule="token.expired", decision="refused"), "gateway").result(10)
    log.close()
    site.start()
    yield site
    site.stop()


@pytest.fixture(autouse=True)
def told_where(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCSEC_AUDIT_DIRECTORY", str(site.audit))
    monkeypatch.setenv("HPCSEC_ADMIN_SOCKET", str(site.socket))


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["audit", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    return [json.loads(line)["event"] for line in output(capsys, "query", "--format", "json", *words).splitlines()]


def test_a_question_is_on_record_with_who_asked(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    output(capsys, "query", "--user", "mallory")
    site.published()
    read = [event for event in rows(capsys, "--kind", "audit.read") if event.get("query") == "user=mallory limit=1000"]
    assert read[0]["subject"] == {"account": f"uid {os.geteuid()}"}
    assert read[0]["action"] == "query"
    assert rows(capsys, "--kind", "gateway.started")[0]["attestors"] == "none"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_event_can_forge_a_line_or_a_formula(capsys: pytest.CaptureFixture[str], form: str) -> None:
    shown = output(capsys, "query", "--format", form, "--session", "e" * 32)
    lines = shown.splitlines()
    assert len(lines) == (1 if form == "json" else 2)
    assert all(line.isprintable() for line in lines)
    if form == "csv":
        (_, row) = csv.reader(io.StringIO(shown))
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
        assert any("forged" in cell for cell in row)


def test_filters_reach_the_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert [event["kind"] for event in rows(capsys, "--rule", "token.*", "--since", "1d")] == ["enrolment.refused"]
    assert rows(capsys, "--text", "forged", "--until", "2020-01-01") == []
    newest = rows(capsys, "--newest", "--limit", "1")
    assert len(newest) == 1


def test_show_with_its_proof_and_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(output(capsys, "show", "1"))
    assert shown["event"]["kind"] == "session.ended"
    assert shown["proof"]
    assert "values" not in shown
    again = json.loads(output(capsys, "show", shown["event"]["id"], "--with-values"))
    assert again["values"] == {"source": "print('secret')\n"}
    assert main(["audit", "show", "not an event"]) == 1
    assert main(["audit", "show", "0193e6a0-0000-7000-8000-000000000000"]) == 1
    assert main(["audit", "show", "999999"]) == 1


def test_a_replay_is_on_record_and_replaces_nothing(
    site: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert output(capsys, "replay", "eeee") == "session-eeeeeeee.ipynb\n"
    made = nbformat.read(tmp_path / "session-eeeeeeee.ipynb", as_version=4)
    assert "session ended" in made.cells[-1].source
    assert (tmp_path / "session-eeeeeeee.ipynb").stat().st_mode & 0o777 == 0o600
    site.published()
    asked = [event for event in rows(capsys, "--kind", "audit.read") if event.get("action") == "replay"]
    assert asked[0]["query"] == "session=" + "e" * 32
    assert main(["audit", "replay", "eeee"]) == 1  # it is there
    assert main(["audit", "replay", "ffff"]) == 1
    assert main(["audit", "replay", "eeee", "--out", "x.txt"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["session-eeeeeeee.ipynb"]


def test_tail_shows_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "tail", "-n", "3").splitlines()
    assert len(shown) == 3
    assert "audit.read" in shown[-1]


def test_verify_while_the_gateway_runs(site: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "EVERYTHING HOLDS" in output(capsys, "verify")
    assert "EVERYTHING HOLDS" in output(capsys, "verify", "--key", (site.audit / "verifier.key").read_text().strip())
    kept = tmp_path / "kept"
    kept.write_bytes((site.audit / "log" / "checkpoint").read_bytes())
    assert json.loads(output(capsys, "verify", "--since", str(kept), "--json"))["holds"] is True
    assert "proof of" in output(capsys, "verify", "--event", "1")


def test_an_export_verifies_by_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = tmp_path / "case"
    output(capsys, "export", str(bundle), "--session", "e" * 32, "--with-values")
    made = subprocess.run([sys.executable, "-I", "verify.py"], cwd=bundle, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert json.loads((bundle / "manifest.json").read_text())["recorded"] is True
    assert main(["audit", "export", str(bundle)]) == 1


def test_reindex_and_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert "events are in the index" in output(capsys, "reindex")
    assert json.loads(output(capsys, "schema", "session.ended"))["title"] == "session.ended"
    assert "lane.opened" in json.loads(output(capsys, "schema"))


def test_a_value_is_shredded_by_the_gateway(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "shred", "1", "other", "--reason", "asked for"]) == 1
    output(capsys, "shred", "1", "source", "--reason", "asked for")
    assert json.loads(output(capsys, "show", "1", "--with-values"))["values"] == {"source": None}
    assert "EVERYTHING HOLDS" in output(capsys, "verify")
    site.published()
    assert rows(capsys, "--kind", "audit.shredded")[0]["reason"] == "asked for"


def test_nothing_is_old_enough_to_be_removed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "retain"]) == 1
    assert "--older-than 365d" in capsys.readouterr().err
    for wrong in ("0d", "-1", "year", "99999999d"):
        with pytest.raises(SystemExit):
            main(["audit", "retain", "--older-than", wrong])
    capsys.readouterr()
    shown = output(capsys, "retain", "--older-than", "365d", "--values-older-than", "30")
    assert shown == "The record begins with event 0 now, sealed values with those of event 0.\n"


def test_without_a_gateway_nothing_is_read_unless_it_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.stop()
    try:
        assert main(["audit", "query"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "--unrecorded" in captured.err
        assert main(["audit", "query", "--unrecorded"]) == 0
        captured = capsys.readouterr()
        assert "gateway.stopped" in captured.out
        assert "NOT ON RECORD" in captured.err
        assert main(["audit", "verify"]) == 0
        # as many as there were checkpoints meanwhile; the newest is the one that counts
        bundles = [path for path in (site.audit / "log" / "tile" / "entries").rglob("*") if path.is_file()]
        before = {path: path.read_bytes() for path in bundles}
        for path, content in before.items():
            path.write_bytes(content.replace(b"forged", b"FORGED"))
        capsys.readouterr()
        assert main(["audit", "verify"]) == 1
        assert "event.altered: event 1" in capsys.readouterr().out
        for path, content in before.items():
            path.write_bytes(content)
    finally:
        site.start()


def test_somebody_elses_record_or_none(site: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["audit", "query", "--directory", str(tmp_path / "none")]) == 1
    assert main(["audit", "verify", "--directory", str(tmp_path / "none")]) == 1
    assert "no record" in capsys.readouterr().err
