"""The forwarder as a process: it serves, stops in good order, and shows how far each sink is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks import cursor as cursors
from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.config_forward import HpcsecForward
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.forward_service import load_settings
from tests.audit.records import Place
from tests.audit.sinks.receiving import add, numbers
from tests.e2e.site import wait_until

FILES = Path(__file__).parents[2] / "hub_config"


def config_file(tmp_path: Path, place: Place, **sinks: object) -> Path:
    lines = [
        "c = get_config()",
        f"c.HpcsecForward.audit_directory = {str(place.layout.directory)!r}",
        f"c.HpcsecForward.state_directory = {str(tmp_path / 'state')!r}",
        f"c.HpcsecForward.admin_socket = {str(tmp_path / 'admin.sock')!r}",
        f"c.HpcsecForward.sinks = {sinks!r}",
    ]
    path = tmp_path / "forward.py"
    path.write_text("\n".join([*lines, ""]))
    return path


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "forward.py"
    with pytest.raises(Malformed, match="there is no configuration file"):
        load_settings(path)
    for text, said in (("x = (", "can't be read"), ("c = get_config()\nc.HpcsecForward.snks = {}", "no setting snks")):
        path.write_text(text)
        with pytest.raises(Malformed, match=said):
            load_settings(path)
    path.write_text("c = get_config()\n")
    with pytest.raises(Malformed, match="no sink is configured"):
        load_settings(path)


def test_the_example_loads() -> None:
    given = PyFileConfigLoader("hpcsec_forward_config.py", str(FILES)).load_config()
    assert set(given.HpcsecForward) <= set(HpcsecForward.class_trait_names(config=True))
    assert list(HpcsecForward(config=Config(given)).settings().sinks) == ["archive"]


def test_it_forwards_stops_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path / "record")
    log = place.open()
    add(log, 5)
    out = tmp_path / "out.jsonl"
    config = config_file(tmp_path, place, archive={"type": "file", "path": str(out)})
    shown = ["audit", "sinks", "--directory", str(place.layout.directory), "--state", str(tmp_path / "state")]
    for expected in (5, 9):
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_hpcsec.cli.main", "audit", "forward", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(lambda: sent(tmp_path) > expected, "the events")  # noqa: B023 - waited for in the loop
        finally:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "not on record yet" in said  # no gateway runs
        assert main(shown) == 0
        assert capsys.readouterr().out.splitlines()[1].startswith("archive  ")
        add(log, 4, expected)
    assert received(out) == list(range(9))
    assert main([*shown, "--json"]) == 0
    (state,) = json.loads(capsys.readouterr().out)
    assert (state["name"], state["rejected"]) == ("archive", 0)
    assert state["sent"] >= 10
    assert state["lag"] >= 4
    assert state["lag_s"] >= 0
    log.close()


def sent(tmp_path: Path) -> int:
    cursor = cursors.load(tmp_path / "state" / "archive.cursor")
    return cursor.next if cursor else 0


def received(path: Path) -> list[int]:
    return numbers([json.loads(line) for line in path.read_bytes().splitlines()]) if path.exists() else []


def test_sealed_values_wait_until_it_is_on_record(tmp_path: Path) -> None:
    place = Place(tmp_path / "record")
    place.fill(1, values=1)
    out = tmp_path / "out.jsonl"
    sink = {"type": "file", "path": str(out), "unsafe_sealed_values": True}
    config = config_file(tmp_path, place, archive=sink, plain={"type": "file", "path": str(tmp_path / "plain.jsonl")})
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter_hpcsec.cli.main", "audit", "forward", "--config", str(config)]
    )
    try:
        wait_until(lambda: (tmp_path / "plain.jsonl").exists(), "the other sink")
        assert not out.exists()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert b"print(0)" not in (tmp_path / "plain.jsonl").read_bytes()


def test_a_damaged_cursor_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path / "record")
    place.fill(1)
    state = tmp_path / "state"
    files.make_directory(state)
    files.write_new(state / "siem.cursor", b"nonsense")
    words = ["audit", "sinks", "--directory", str(place.layout.directory), "--state", str(state)]
    assert main(words) == 1
    assert "siem.cursor" in capsys.readouterr().err
