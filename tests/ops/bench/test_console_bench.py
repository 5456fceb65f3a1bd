"""The console's benchmark measures every page on a small record, which is one like any other; it promises no speed."""

from pathlib import Path

from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.console.measured import pages
from jupyter_hpcsec.ops.audit.proving import whole
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.ops.bench import console
from jupyter_hpcsec.ops.bench.bulk import write


def test_every_page_is_measured_and_its_record_removed(tmp_path: Path) -> None:
    said: list[str] = []
    made = pages(console.LONG, console.OWNER)
    measured = console.run(600, made, said.append, tmp_path)
    assert set(measured.pages) == set(made) and all(len(found) == console.TIMES for found in measured.pages.values())
    assert (measured.events, measured.long) == (602, 60)
    assert "602 events" in measured.as_text() and measured.as_json()["long"] == 60
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_is_written_at_once_verifies_and_so_does_its_index(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "audit")
    write(layout, console.ORIGIN, (console._event(number, 700) for number in range(700)))
    assert Record(layout.directory).reindex(lambda done, of: None) == 702
    report = whole(
        layout.directory, key="", checkpoints=None, since=None, with_index=True, progress=lambda done, of: None
    )
    assert report.holds and (report.size, report.values) == (702, 60)
