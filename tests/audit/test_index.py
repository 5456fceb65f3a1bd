"""The index answers, is made anew, and is found out when it lies."""

import contextlib
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.events import Event, Object, Subject
from jupyter_hpcsec.audit.index import Index, rebuild
from jupyter_hpcsec.audit.index_tables import COLUMNS, add
from jupyter_hpcsec.audit.kinds.connections import HubApiRefused, LaneOpened
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert
from jupyter_hpcsec.audit.kinds.hub import HubLoginRefused
from jupyter_hpcsec.audit.kinds.node import NodeGap
from jupyter_hpcsec.audit.kinds.oversight import AlertAcknowledged
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused, SessionEnded, SessionRegistered
from jupyter_hpcsec.audit.question import Plan, Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from tests.audit.records import Place

ALICE, BOB = Subject(user="alice"), Subject(user="bob", impersonator="root-admin")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "p")
    log = place.open()
    for number in range(30):
        log.note(LaneOpened(subject=ALICE, session=f"s{number % 3}", job="41", node="n1"), "gateway")
    log.note(SessionRegistered(subject=BOB, session="s9", reason="a forgotten Schlüssel"), "gateway")
    log.note(
        EnrolmentRefused(subject=BOB, decision="refused", rule="token.expired", source="10.0.0.9", reason="late"),
        "gateway",
    )
    log.note(HubApiRefused(subject=ALICE, rule="hub-api.path", object=Object.of_path(b"/hub/api/users")), "gateway")
    log.note(SessionEnded(subject=ALICE, session="s0", reason='quote " and * star'), "node")
    log.close()
    return place


def reader(place: Place) -> Reader:
    return Reader(place.layout, read_verifier(place.layout))


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Index]:
    index = Index(place.layout.index, reader(place), read_verifier(place.layout))
    with contextlib.closing(index):
        index.catch_up()
        yield index


@pytest.mark.parametrize(
    ("question", "count"),
    [
        (Question(), 36),
        (Question(user="alice"), 32),
        (Question(user="bob"), 2),
        (Question(user="root-admin"), 2),
        (Question(user="alice", session="s1"), 10),
        (Question(kind="session.*"), 2),
        (Question(kind="audit.opened"), 1),
        (Question(rule="token.*"), 1),
        (Question(decision="refused"), 1),
        (Question(source="10.0.0.9"), 1),
        (Question(path="/hub/*"), 1),
        (Question(trust="node"), 1),
        (Question(text="forgotten schlüssel"), 1),
        (Question(text='quote " star'), 1),
        (Question(text="nothing"), 0),
        (Question(text="NOT OR AND"), 0),
        (Question(since="2000"), 36),
        (Question(until="2000"), 0),
        (Question(limit=5), 5),
        (Question(user="' OR 1=1 --"), 0),
        (Question(job="41", node="n1"), 30),
    ],
)
def test_answers(place: Place, question: Question, count: int) -> None:
    with opened(place) as index:
        assert len(index.ask(question)) == count


@pytest.mark.parametrize(
    "question",
    [
        Question(user="alice", since="2026"),
        Question(user="alice", newest=True),
        Question(session="s1"),
        Question(job="41"),
        Question(rule="token.*"),
        Question(rule="token.expired"),
        Question(kind="session.*"),
        Question(path="/hub/*"),
        Question(since="2026", until="2027"),
        Question(text="forgotten"),
        Question(user="alice", kind="lane.*", decision="refused"),
    ],
    ids=str,
)
def test_no_question_reads_the_whole_table(place: Place, question: Question) -> None:
    with opened(place) as index:
        made = Plan(question, index._run).statement()
        assert made is not None
        plan = [row[3] for row in index._db.execute(f"EXPLAIN QUERY PLAN {made.sql}", made.values)]
    assert not [step for step in plan if step.startswith("SCAN events")], plan


def test_newest_first_and_what_was_asked_as_text(place: Place) -> None:
    with opened(place) as index:
        found = index.ask(Question(limit=3, newest=True))
    assert found == [35, 34, 33]
    assert str(Question(user="a", newest=True)) == "user=a limit=1000"


def test_it_catches_up_and_is_private(place: Place) -> None:
    with opened(place):
        pass
    place.fill(300)
    with opened(place) as index:
        assert index.covered == 338
        assert index.differences() == []
    assert place.layout.index.stat().st_mode & 0o777 == 0o600


INVENTED = f"INSERT INTO events SELECT 99, {', '.join(COLUMNS[1:])} FROM events LIMIT 1"  # noqa: S608 - names of ours
FORGOTTEN = (
    "INSERT INTO words (words, rowid, text) "
    "VALUES ('delete', 31, 'session.registered bob root-admin s9 a forgotten Schlüssel')"
)


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("DELETE FROM events WHERE leaf = 31", "hides"),
        ("UPDATE events SET user = 'mallory' WHERE leaf = 5", "something else"),
        (INVENTED, "has not"),
        (FORGOTTEN, "words"),
        ("INSERT INTO words (rowid, text) VALUES (7, 'invented')", "words"),
        ("UPDATE about SET value = '99' WHERE name = 'covered'", "knows 99"),
        ("UPDATE spans SET latest = '1970'", "the times of these"),
        ("DELETE FROM spans", "the times of these"),
        ("INSERT INTO spans VALUES (9, '2026', '2027')", "the times of these"),
        ("DROP TABLE events", "can't be read"),
    ],
)  # fmt: skip
def test_a_lie_is_found(place: Place, lie: str, said: str) -> None:
    with opened(place) as index:
        assert index.differences() == []
    with contextlib.closing(sqlite3.connect(place.layout.index)) as db:
        db.execute(lie)
        db.commit()
    with contextlib.closing(Index(place.layout.index, reader(place), read_verifier(place.layout))) as index:
        findings = index.differences()
    assert findings
    assert said in findings[0].sentence
    rebuild(place.layout.index, reader(place), read_verifier(place.layout), lambda done, of: None)
    with opened(place) as index:
        assert index.differences() == []


def test_bits_flipped_in_the_index_are_found_or_change_no_answer(place: Place) -> None:
    questions = [Question(), Question(user="bob"), Question(text="forgotten"), Question(kind="lane.*", session="s1")]
    with opened(place) as index:
        right = [index.ask(question) for question in questions]
    before = place.layout.index.read_bytes()
    chance = random.Random(3)  # noqa: S311 - a repeatable choice of bits
    found = 0
    for _ in range(60):
        changed = bytearray(before)
        bit = chance.randrange(len(before) * 8)
        changed[bit // 8] ^= 1 << bit % 8
        place.layout.index.write_bytes(changed)
        try:
            with opened(place) as index:
                if index.differences():
                    found += 1
                else:
                    assert [index.ask(question) for question in questions] == right
        except HpcsecError:
            found += 1
    assert found


def test_an_index_by_another_table_of_alerts_is_made_anew(place: Place) -> None:
    """An update that knows more alerts must neither miss old ones nor call its own index a liar."""
    alerting(place)
    with opened(place) as index:
        before = index.alerts(AlertQuestion())
    with contextlib.closing(sqlite3.connect(place.layout.index)) as db:
        db.execute("DELETE FROM alerts")
        db.execute("DELETE FROM alert_events")
        db.execute("UPDATE about SET value = 'an older one' WHERE name = 'alerts'")
        db.commit()
    with opened(place) as index:
        assert index.alerts(AlertQuestion()) == before and before
        assert index.differences() == []


def test_an_index_of_another_record_is_made_anew(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.fill(3)
    with opened(other):
        pass
    place.layout.index.write_bytes(other.layout.index.read_bytes())
    with opened(place) as index:
        assert index.covered == 36
        assert index.differences() == []


def test_an_index_that_knows_too_much_or_is_none(place: Place) -> None:
    with opened(place) as index:
        index._db.execute("UPDATE about SET value = '99' WHERE name = 'covered'")
        with pytest.raises(Malformed, match="reindex"):
            index.catch_up()
    place.layout.index.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match="reindex"):
        opened(place).__enter__()


def alerting(place: Place) -> None:
    """A mining suspicion that was acknowledged and seen again, refused logins that are too few, idle memory let go."""
    log = place.open()
    ids = {}

    def tell(name: str, event: Event) -> None:
        leaf = log.record(event, "gateway").result(20)
        (found,) = [json.loads(data)["id"] for index, data in reader(place).durable(leaf) if index == leaf]
        ids[name] = found

    tell("mining", GpuAlert(rule="R5", state="raised", session="s1", subject=ALICE))
    tell("ack", AlertAcknowledged(alert=ids["mining"], seen=ids["mining"], subject=BOB))
    tell("again", GpuAlert(rule="R5", state="raised", session="s1", subject=ALICE))
    tell("idle", GpuAlert(rule="R3", state="raised", session="s1", kernel="k", subject=ALICE))
    tell("let go", GpuAlert(rule="R3", state="cleared", session="s1", kernel="k", subject=ALICE))
    tell("gap", NodeGap(session="s2", subject=BOB))
    tell("login", HubLoginRefused(source="10.0.0.9"))
    log.close()


def test_alerts_are_what_the_record_makes_them_also_when_made_anew(place: Place) -> None:
    alerting(place)
    with opened(place) as index:
        assert index.open_alerts(100) == {"medium": 2, "high": 1}  # one by the fixture: a Hub API call
        assert index.open_alerts(1) == {"high": 1}, "counted no further"
        assert index.open_alerts_by_session(["s1", "s2", "s3", ""], 100) == {"s1": 1, "s2": 1}
        shown = [(alert.name, alert.state, alert.reopened) for alert in index.alerts(AlertQuestion())]
        made = [("node.gap", "open", 0), ("gpu.R3", "over", 0), ("gpu.R5", "open", 1)]
        assert shown == [*made, ("hub-api.refused", "open", 0)]
        (mining,) = index.alerts(AlertQuestion(name="gpu.R5", user="alice", session="s1", severity="medium"))
        leaves = index.alert_events(mining.number)
        assert len(leaves) == 3 and leaves == sorted(leaves, reverse=True)
        assert index.alert_events(mining.number, before=leaves[0], limit=1) == [leaves[1]]
        assert index.alert(mining.number) == mining and index.alert(10**9) is None
        first = index.alerts(AlertQuestion(limit=2))
        assert next(iter(index.alerts(AlertQuestion(before=first[-1].last)))).name == "gpu.R5"
        assert not index.alerts(AlertQuestion(state="acknowledged")) and not index.alerts(AlertQuestion(name="' OR 1"))
        assert not index.differences()
        before = index.alerts(AlertQuestion())
    rebuild(place.layout.index, reader(place), read_verifier(place.layout), lambda done, of: None)
    with opened(place) as index:
        assert index.alerts(AlertQuestion()) == before


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE alerts SET state = 'acknowledged' WHERE name = 'gpu.R5'",
        "DELETE FROM alerts WHERE name = 'node.gap'",
        "DELETE FROM alert_events WHERE leaf = (SELECT max(leaf) FROM alert_events)",
    ],
)
def test_an_index_that_hides_an_alert_is_found_out(place: Place, lie: str) -> None:
    alerting(place)
    with opened(place) as index:
        assert not index.differences()
    with contextlib.closing(sqlite3.connect(place.layout.index, isolation_level=None)) as db:
        db.execute(lie)
    with opened(place) as index:
        assert {finding.what for finding in index.differences()} == {"index.lies"}


def test_two_that_catch_up_at_once_add_each_event_once(place: Place) -> None:
    alerting(place)
    first, second = (Index(place.layout.index, reader(place), read_verifier(place.layout)) for _ in range(2))
    with contextlib.closing(first), contextlib.closing(second):
        late = second._reader.published(0, second._reader.checkpoint().size)  # what it set out to add
        first.catch_up()
        add(second._db, late, lambda done: None)
        assert not first.differences()
        assert [alert.count for alert in second.alerts(AlertQuestion(name="gpu.R5"))] == [2]


def test_of_many_that_make_it_at_once_each_finds_it_whole(place: Place) -> None:
    verifier, there, barrier = read_verifier(place.layout), reader(place), threading.Barrier(8)

    def look(_: int) -> int:
        barrier.wait(60)
        with contextlib.closing(Index(place.layout.index, there, verifier)) as index:
            return index.catch_up()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(8))) == {36}
    with opened(place) as index:
        assert len(index.ask(Question())) == 36 and not index.differences()
