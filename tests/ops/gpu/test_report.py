"""GPU hours from a real record: whose they are, what is simulated, what can't have been, and that it is on record."""

import csv
import json
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.gpu import GpuUse
from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.audit.reading import Record, Teller
from jupyter_hpcsec.ops.gpu import report
from tests.audit.records import Place

A, B = "a" * 32, "b" * 32


def use(user: str, session: str, kernel: str = "k", **more: object) -> GpuUse:
    facts: dict[str, object] = {"span_s": 600, "project": "p1"}
    return GpuUse(subject=Subject(user=user), session=session, kernel=kernel, **(facts | more))  # type: ignore[arg-type]


EVENTS = [
    use("alice", A, used_s=3600, held_s=1800),
    use("alice", A, kernel="l", used_s=3600),
    use("alice", B, project="=p2", held_s=9000, unknown_s=900),
    use("bob", "c" * 32, unknown_s=360),
    use("bob", "c" * 32, used_s=36000, simulated=True),
    use("eve", "d" * 32, used_s=10**9),
    use("eve", "d" * 32, span_s=10**6, used_s=10**6),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("report") / "p")
    log = place.open()
    for event in EVENTS:
        log.record(event, "node").result(60)
    log.record(use("mallory", "e" * 32, used_s=3600), "gateway").result(60)
    log.close()
    return place


def asked(place: Place, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    where = ["--directory", str(place.layout.directory), "--socket", str(tmp_path / "none"), "--unrecorded"]
    assert main(["gpu", "report", *where, "--format", form]) == 0
    said = capsys.readouterr()
    return said.out, said.err


def test_hours_by_user_and_project(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = asked(place, tmp_path, "json", capsys)
    made = json.loads(out)
    rows = [tuple(row[name] for name in report.COLUMNS) for row in made["rows"]]
    assert rows == [
        ("alice", "=p2", 2.75, 0.0, 2.5, 0.25, 1, 1, False),
        ("alice", "p1", 2.5, 2.0, 0.5, 0.0, 1, 2, False),
        ("bob", "p1", 0.1, 0.0, 0.0, 0.1, 1, 1, False),
        ("bob", "p1", 10.0, 10.0, 0.0, 0.0, 1, 1, True),
    ]
    assert made["left_out"] == 2 and "2 events" in err and "NOT ON RECORD" in err


def test_the_formats(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(asked(place, tmp_path, "csv", capsys)[0].splitlines()))
    assert [row["user"] for row in rows] == ["alice", "alice", "bob", "bob"]
    assert rows[0]["project"] == "'=p2" and rows[0]["gpu_hours"] == "2.75"
    table = asked(place, tmp_path, "table", capsys)[0].splitlines()
    assert table[0].split()[:2] == ["USER", "PROJECT"]
    assert [line.endswith("SIMULATED") for line in table] == [True, False, False, False, True]


def test_what_is_before_is_not_counted(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--directory", str(place.layout.directory), "--socket", str(tmp_path / "none"), "--unrecorded"]
    assert main(["gpu", "report", *where, "--since", "2099-01-01", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": [], "left_out": 0}


def test_nothing_is_shown_that_is_not_on_record(place: Place, tmp_path: Path) -> None:
    teller = Teller(tmp_path / "none", unrecorded=False, say=lambda words: None)
    with pytest.raises(Unavailable, match="unrecorded"):
        report.hours(Record(place.layout.directory), teller, lambda done, of: None, since="2000-01-01")


def test_half_a_sum_is_none(place: Place, tmp_path: Path) -> None:
    teller = Teller(tmp_path / "none", unrecorded=True, say=lambda words: None)
    with pytest.raises(Malformed, match="shorter"):
        report.hours(Record(place.layout.directory), teller, lambda done, of: None, since="2000-01-01", limit=6)
