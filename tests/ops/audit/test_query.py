"""Every question that ``hpcsec audit query`` knows, in every format, from a real record."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.kinds.connections import LaneClosed, LaneRefused
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused, SessionEnded, SessionState
from jupyter_hpcsec.cli.main import main
from tests.audit.records import Place

Ask = Callable[..., list[int]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Events 1 to 5, after that of the start."""
    place = Place(tmp_path_factory.mktemp("query") / "p")
    log = place.open()
    for event, trust in (
        (
            SessionEnded(subject=Subject(user="alice"), session="a" * 32, server="lab", job="77", reason="walltime"),
            "hub",
        ),
        (SessionState(subject=Subject(user="bob", impersonator="carol"), session="b" * 32, node="n1"), "node"),
        (EnrolmentRefused(source="192.0.2.9", decision="refused", rule="token.expired", job="78"), "gateway"),
        (LaneRefused(decision="refused", rule="token.used", reason="No space left, says ünïcode"), "gateway"),
        (LaneClosed(object=Object.of_path(b"/data/genomics/x, y\n.csv"), decision="allowed"), "gateway"),
    ):
        log.record(event, trust).result(60)  # type: ignore[arg-type]
    log.close()
    return place


@pytest.fixture
def ask(place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    def run(*words: str, form: str = "json") -> str:
        where = ["--directory", str(place.layout.directory), "--socket", str(tmp_path / "none"), "--unrecorded"]
        assert main(["audit", "query", *where, "--format", form, *words]) == 0
        return capsys.readouterr().out

    def leaves(*words: str) -> list[int]:
        found = [json.loads(line)["leaf"] for line in run(*words).splitlines()]
        rows = list(csv.DictReader(io.StringIO(run(*words, form="csv"))))
        assert [int(row["leaf"]) for row in rows] == found
        table = run(*words, form="table").splitlines()
        assert [int(line.split()[0]) for line in table[1:]] == found
        assert table[0].split()[0] == "LEAF"
        return found

    return leaves


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--user", "alice"], [1]),
        (["--user", "carol"], [2]),  # who acted as somebody else
        (["--session", "b" * 32], [2]),
        (["--session", "b" * 8], [2]),  # as tables show it
        (["--session", "bbbb*"], [2]),
        (["--session", "b" * 33], []),
        (["--session", "*"], [1, 2]),
        (["--session", "b", "--user", "alice"], []),
        (["--server", "lab"], [1]),
        (["--job", "77"], [1]),
        (["--node", "n1"], [2]),
        (["--source", "192.0.2.9"], [3]),
        (["--path", "/data/genomics/*"], [5]),
        (["--path", "/data/genomics/x, y\N{REPLACEMENT CHARACTER}.csv"], [5]),
        (["--kind", "session.ended"], [1]),
        (["--kind", "session.*"], [1, 2]),
        (["--decision", "refused"], [3, 4]),
        (["--decision", "allowed"], [5]),
        (["--rule", "token.used"], [4]),
        (["--rule", "token.*"], [3, 4]),
        (["--trust", "node"], [2]),
        (["--trust", "hub"], [1]),
        (["--since", "1d"], [0, 1, 2, 3, 4, 5, 6]),
        (["--until", "2020-01-01"], []),
        (["--since", "2020-01-01", "--until", "2999-01-01", "--job", "78"], [3]),
        (["--text", "no space left"], [4]),
        (["--text", "ünïcode"], [4]),
        (["--text", "genomics"], [5]),
        (["--text", 'quote" OR walltime'], []),  # words, and no query language
        (["--text", "walltime", "--user", "alice"], [1]),
        (["--text", "walltime", "--user", "bob"], []),
        (["--decision", "refused", "--limit", "1"], [3]),
        (["--decision", "refused", "--newest"], [4, 3]),
        (["--user", "' OR 1=1 --"], []),
    ],
)
def test_questions(ask: Ask, words: list[str], found: list[int]) -> None:
    assert ask(*words) == found


def test_an_answer_that_is_not_all_of_it_says_so_and_is_no_evidence(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = ["--directory", str(place.layout.directory), "--socket", str(tmp_path / "none"), "--unrecorded"]
    assert main(["audit", "query", *where, "--decision", "refused", "--limit", "1"]) == 0
    assert "more than these 1" in capsys.readouterr().err
    assert main(["audit", "query", *where, "--decision", "refused", "--limit", "2"]) == 0
    assert "more than" not in capsys.readouterr().err
    case = tmp_path / "case"
    assert main(["audit", "export", *where, str(case), "--decision", "refused", "--limit", "1"]) == 1
    assert "nothing is written" in capsys.readouterr().err and not case.exists()
    assert main(["audit", "export", *where, str(case), "--decision", "refused", "--limit", "2"]) == 0
    assert case.exists()
