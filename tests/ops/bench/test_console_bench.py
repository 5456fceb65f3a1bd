"""The console's benchmark measures every page on a small record; it promises no speed."""

from pathlib import Path

from jupyter_hpcsec.console.measured import pages
from jupyter_hpcsec.ops.bench import console


def test_every_page_is_measured_and_its_record_removed(tmp_path: Path) -> None:
    said: list[str] = []
    made = pages(console.LONG, console.OWNER)
    measured = console.run(600, made, said.append, tmp_path)
    assert set(measured.pages) == set(made) and all(len(found) == console.TIMES for found in measured.pages.values())
    assert (measured.events, measured.long) == (602, 60)
    assert "602 events" in measured.as_text() and measured.as_json()["long"] == 60
    assert list(tmp_path.iterdir()) == []
