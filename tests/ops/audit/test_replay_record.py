"""A session's story from a real record: notebook, terminal, what was shredded, and a bundle that verifies."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds.kernels import CellExecuted, KernelReply
from jupyter_hpcsec.audit.kinds.record import AuditShredded
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.kinds.terminals import TerminalInput
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.errors import HpcsecError, Malformed
from jupyter_hpcsec.ops.audit import reading
from tests.audit.records import Place, edit

SESSION = "ab" * 16


OUTPUTS = json.dumps([{"output_type": "stream", "name": "stdout", "text": "42\n"}]).encode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "p")
    log = place.open()
    receipts = [
        log.record(CellExecuted(session=SESSION, kernel="k", message="1"), "gateway", {"source": b"print(42)"}),
        log.record(KernelReply(session=SESSION, kernel="k", message="1"), "gateway", {"outputs": OUTPUTS}),
        log.record(CellExecuted(session=SESSION, message="2"), "gateway", {"source": b"password = 'x'"}),
        log.record(CellExecuted(session=SESSION, object=Object(size=9, sha256="ab")), "gateway"),
        log.record(CellExecuted(session="ac" * 16), "gateway", {"source": b"of somebody else"}),
        log.record(TerminalInput(session=SESSION, terminal="1"), "gateway", {"input": b"ls\r"}),
        log.record(SessionEnded(session=SESSION), "gateway"),
    ]
    leaves = [receipt.result(60) for receipt in receipts]
    assert log.shred(leaves[2], "source", AuditShredded(leaf=leaves[2], name="source"))
    log.close()
    return place


def unrecorded(tmp_path: Path) -> reading.Teller:
    return reading.Teller(tmp_path / "no gateway", True, lambda words: None)


def quiet(done: int, of: int) -> None:
    pass


def test_a_session_is_replayed(place: Place, tmp_path: Path) -> None:
    record = reading.Record(place.layout.directory)
    notebook, terminal = reading.replay(record, "abab", tmp_path / "s.ipynb", unrecorded(tmp_path), quiet)
    assert (notebook.name, terminal.name) == ("s.ipynb", "s-terminal-1.cast")
    made = nbformat.read(notebook, as_version=4)
    (cell,) = [cell for cell in made.cells if cell.cell_type == "code"]
    assert (cell.source, cell.outputs[0].text) == ("print(42)", "42\n")
    text = notebook.read_text()
    assert "password" not in text
    assert "of somebody else" not in text
    assert "has been destroyed since" in text
    assert "was not recorded: 9 bytes, SHA-256 `ab`" in text
    assert [json.loads(line)[2] for line in terminal.read_text().splitlines()[2:]] == ["ls\r", "ls\r\n"]


def test_sessions_are_named_well_enough(place: Place, tmp_path: Path) -> None:
    record = reading.Record(place.layout.directory)
    for name in ("a", "b", ""):
        with pytest.raises(HpcsecError, match="session in the record begins with"):
            reading.replay(record, name, None, unrecorded(tmp_path), quiet)


def test_a_source_that_was_changed_is_not_replayed(place: Place, tmp_path: Path) -> None:
    for path in place.layout.values.iterdir():
        edit(path, lambda data: data.replace(b"cHJpbnQoNDIp", b"cHJpbnQoNDMp"))
    record = reading.Record(place.layout.directory)
    with pytest.raises(Malformed, match="not the one that was recorded"):
        reading.replay(record, "abab", tmp_path / "s.ipynb", unrecorded(tmp_path), quiet)
    assert not (tmp_path / "s.ipynb").exists()


def test_its_bundle_verifies_with_nothing_but_python(place: Place, tmp_path: Path) -> None:
    record = reading.Record(place.layout.directory)
    question = Question(session=SESSION)
    count = reading.export(record, question, tmp_path / "case", unrecorded(tmp_path), quiet, with_values=True)
    assert count == 6
    key = (tmp_path / "case" / "verifier.key").read_text().strip()
    command = [sys.executable, "-I", "-S", "verify.py", "--key", key]
    done = subprocess.run(command, cwd=tmp_path / "case", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 events and 4 values are those of the log" in done.stdout
    edit(tmp_path / "case" / "values.jsonl", lambda data: data.replace(b"cHJpbnQoNDIp", b"cHJpbnQoNDMp"))
    done = subprocess.run(command, cwd=tmp_path / "case", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "value source of event" in done.stderr
