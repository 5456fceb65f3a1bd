"""Pages of answers: whatever condition leads, page by page gives just what the whole record answers, in its order."""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import question as asked
from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.requests import FileDownloaded, FileWritten
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.question import Plan, Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from tests.audit.records import Place

ONE, TWO = "a1" * 16, "a2" * 16
KINDS = (LaneOpened, FileDownloaded, FileWritten, SessionEnded)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("question") / "p")
    log = place.open()
    for number in range(600):
        event = KINDS[number % 4](
            subject=Subject(user=f"user{number % 3}", impersonator="root-admin" if number % 5 == 0 else ""),
            session=(ONE, TWO, "")[number % 3],
            job=str(number % 7),
            node=f"n{number % 2}",
            object=Object(type="file", name=f"data/{number % 11}.csv"),
            decision="refused" if number % 10 == 0 else "allowed",
            rule="access.deny" if number % 10 == 0 else "",
            reason="a long reason" if number % 4 else "another",
        )
        log.note(event, "node" if number % 6 == 0 else "gateway")
    log.close()
    return place


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Index]:
    key = read_verifier(place.layout)
    with contextlib.closing(Index(place.layout.index, Reader(place.layout, key), key)) as index:
        index.catch_up()
        yield index


QUESTIONS = [
    Question(),
    Question(user="user1"),
    Question(user="root-admin"),
    Question(user="root-admin", kind="file.*"),
    Question(kind="file.*"),
    Question(kind="file.written", decision="refused"),
    Question(session=ONE),
    Question(session="a"),
    Question(session=TWO, text="long"),
    Question(text="long reason"),
    Question(text="reason", user="user2", node="n1"),
    Question(path="data/1*", trust="node"),
    Question(since="2020", until="2999", job="3"),
    Question(since="2020", rule="access.*"),
    Question(start=100, end=200, node="n0"),
]


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@pytest.mark.parametrize("counted", [asked.COUNTED, 5], ids=["few", "many"])
def test_pages_are_the_whole_answer(
    place: Place, question: Question, newest: bool, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``many``: as if each condition was met by more events than can be put in order."""
    with opened(place) as index:
        whole = index.ask(question)
        monkeypatch.setattr(asked, "COUNTED", counted)
        assert index.count(question) == len(whole) > 0
        paged = replace(question, limit=7, newest=newest)
        found: list[int] = []
        while page := index.ask(paged):
            found += page
            paged = replace(paged, end=page[-1]) if newest else replace(paged, start=page[-1] + 1)
    assert found == sorted(whole, reverse=newest)


CONDITIONS: list[dict[str, str]] = [
    {"user": "user1"}, {"session": ONE}, {"kind": "file.*"}, {"decision": "refused"}, {"path": "data/3.csv"},
    {"trust": "node"}, {"text": "long"}, {"since": "2020-01-01"}, {"job": "3"},
]  # fmt: skip


@pytest.mark.parametrize(
    "pair", list(itertools.combinations(CONDITIONS, 2)), ids=lambda pair: "+".join(k for p in pair for k in p)
)
def test_two_conditions_are_both_held(place: Place, pair: tuple[dict[str, str], dict[str, str]]) -> None:
    first, second = pair
    with opened(place) as index:
        one, other = (set(index.ask(Question(**each))) for each in pair)
        assert index.ask(Question(**first, **second)) == sorted(one & other)


def steps(index: Index, question: Question) -> str:
    made = Plan(question, index._run).statement()
    assert made is not None
    rows = index._run(f"EXPLAIN QUERY PLAN {made.sql}", made.values)
    return " | ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    "question",
    [
        Question(session=ONE),
        Question(kind="file.downloaded"),
        Question(decision="refused"),
        Question(text="long"),
        Question(node="n1"),
        Question(kind="file.*"),
        Question(),
    ],
    ids=str,
)
def test_what_many_events_meet_is_walked_and_never_sorted(
    place: Place, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "COUNTED", 5)
    with opened(place) as index:
        assert "USE TEMP B-TREE FOR ORDER BY" not in steps(index, question)


def test_the_narrowest_condition_leads(place: Place) -> None:
    with opened(place) as index:
        assert "events_rule" in steps(index, Question(user="user1", kind="file.*", rule="access.deny"))
        assert "events_job" in steps(index, Question(job="3", kind="lane.*", user="user1"))


def test_nothing_is_asked_for_what_no_time_has(place: Place) -> None:
    with opened(place) as index:
        assert Plan(Question(since="2999"), index._run).statement() is None
        assert index.ask(Question(since="2999")) == []
        assert index.count(Question(until="1999", user="user1")) == 0


def test_what_a_session_has(place: Place) -> None:
    with opened(place) as index:
        assert sum(index.kinds(ONE).values()) == 200
        assert index.kinds("f" * 32) == {}
        ended = index.of_kinds(ONE, ["session.ended"], limit=3)
        assert ended == index.ask(Question(session=ONE, kind="session.ended", limit=3))
        assert index.of_kinds(ONE, ["session.ended"], start=ended[-1])[0] == ended[-1]


def test_two_processes_that_catch_up_at_once_add_each_event_once(tmp_path: Path) -> None:
    place = Place(tmp_path / "p")
    place.fill(500)

    def catch_up(_: int) -> int:
        with opened(place) as index:
            return index.covered

    with opened(place), ThreadPoolExecutor(4) as threads:
        place.fill(3000)
        assert len(set(threads.map(catch_up, range(4)))) == 1
    with opened(place) as index:
        assert index.differences() == []


def test_many_that_make_the_index_at_once_make_one(tmp_path: Path) -> None:
    place = Place(tmp_path / "p")
    place.fill(20)

    def make(_: int) -> int:
        with opened(place) as index:
            return index.covered

    for _ in range(5):
        place.layout.index.unlink(missing_ok=True)
        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(make, range(6))) == {22}
    with opened(place) as index:
        assert index.differences() == []


def test_what_can_not_be_added_leaves_the_index_as_it_was(place: Place) -> None:
    with opened(place) as index:
        covered = index.covered
        index._db.execute("UPDATE about SET value = '100' WHERE name = 'covered'")
        with pytest.raises(Exception, match="UNIQUE"):
            index.catch_up()
        assert not index._db.in_transaction
        index._db.execute("UPDATE about SET value = ? WHERE name = 'covered'", (str(covered),))
        assert isinstance(index._db, sqlite3.Connection)
