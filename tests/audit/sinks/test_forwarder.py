"""The forwarder: at least once, in order, from its cursor on, whatever the receiver does."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.sinks import cursor as cursors
from jupyter_hpcsec.audit.sinks.items import Source
from jupyter_hpcsec.errors import Malformed, Refused
from tests.audit.records import Place
from tests.audit.sinks.receiving import MemoryTarget, add, cursor, forwarder, numbers, running, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "record")


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    log = place.open()
    yield log
    log.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    files.make_directory(tmp_path / "state")
    return tmp_path / "state"


def got(target: MemoryTarget) -> list[int]:
    return numbers([item.event for item in target.got])


async def test_all_that_is_durable_arrives_in_order_while_more_comes(place: Place, log: Log, state: Path) -> None:
    add(log, 30)
    target = MemoryTarget()
    async with running(forwarder(target, Source(place.layout.directory), state)):
        await until(lambda: len(got(target)) == 30, "what was there")
        add(log, 30, 30)
        await until(lambda: len(got(target)) == 60, "what came")
        await until(lambda: cursor(state).next >= 61, "the cursor")  # audit.opened is the first
    assert got(target) == list(range(60))
    assert [item.leaf for item in target.got] == list(range(len(target.got)))


async def test_a_second_start_sends_nothing_twice_and_goes_on(place: Place, log: Log, state: Path) -> None:
    add(log, 5)
    source = Source(place.layout.directory)
    first, second = MemoryTarget(), MemoryTarget()
    async with running(forwarder(first, source, state)):
        await until(lambda: cursor_is(state, 6), "the cursor")
    add(log, 5, 5)
    async with running(forwarder(second, source, state)):
        await until(lambda: len(got(second)) == 5, "the rest")
    assert (got(first), got(second)) == (list(range(5)), list(range(5, 10)))


def cursor_is(state: Path, number: int) -> bool:
    found = cursors.load(cursors.path_of(state, "test"))
    return found is not None and found.next >= number


async def test_what_is_not_confirmed_is_sent_again_and_the_cursor_trails(place: Place, log: Log, state: Path) -> None:
    add(log, 20)
    target = MemoryTarget(window=1000, settle_s=0.0)
    refusals = iter(["the line is cut", "the line is cut"])
    target.fails = lambda call: next(refusals, "") if call == "confirm" else ""
    async with running(forwarder(target, Source(place.layout.directory), state)):
        await until(lambda: cursor_is(state, 21), "the cursor")
    assert set(got(target)) == set(range(20))
    assert len(got(target)) > 20  # sent again
    assert got(target)[-20:][-1] == 19


async def test_random_failures_lose_nothing_and_keep_the_order(place: Place, log: Log, state: Path) -> None:
    add(log, 200)
    target = MemoryTarget(window=25)
    dice = random.Random(4)  # noqa: S311 - one seed, one course of events
    target.fails = lambda call: "no" if dice.random() < 0.3 else ""
    async with running(forwarder(target, Source(place.layout.directory), state, batch=7)):
        await until(lambda: cursor_is(state, 201), "all of it")
    firsts = list(dict.fromkeys(got(target)))
    assert firsts == list(range(200))


async def test_the_cursor_says_why_it_waits_and_since_when(place: Place, log: Log, state: Path) -> None:
    add(log, 3)
    target = MemoryTarget()
    broken = True
    target.fails = lambda call: "collector.example: connection refused" if broken else ""
    async with running(forwarder(target, Source(place.layout.directory), state)):
        await until(lambda: any(each.error for each in cursors.all_of(state).values()), "the error")
        assert cursor(state).error == "collector.example: connection refused"
        assert cursor(state).since > 0
        broken = False
        await until(lambda: not cursor(state).error, "it goes on")


async def test_what_the_receiver_never_takes_is_set_aside_and_the_rest_goes_on(
    place: Place, log: Log, state: Path
) -> None:
    add(log, 5)
    target = MemoryTarget()
    target.refuses = {3}
    async with running(forwarder(target, Source(place.layout.directory), state)):
        await until(lambda: cursor_is(state, 6), "the cursor")
    assert got(target) == [0, 1, 3, 4]
    assert cursor(state).rejected == 1
    aside = [json.loads(line) for line in (state / "test.rejected.jsonl").read_text().splitlines()]
    assert numbers(aside) == [2]


async def test_sealed_values_stay_unless_they_are_asked_for(place: Place, log: Log, state: Path) -> None:
    log.record(SessionEnded(session="1" * 32), "gateway", {"source": b"print('secret')\xff"}).result(60)
    source = Source(place.layout.directory)
    plain = source.take(0, 10)
    assert "secret" not in "".join(item.line(form).decode() for item in plain for form in ("native", "ocsf"))
    assert all(item.values is None for item in plain)
    target = MemoryTarget()
    async with running(forwarder(target, source, state, with_values=True)):
        await until(lambda: any(item.event["kind"] == "session.ended" for item in target.got), "it")
    (ended,) = [item for item in target.got if item.event["kind"] == "session.ended"]
    assert ended.shaped("native")["values"] == {"source": "print('secret')\\xff"}
    assert ended.shaped("ocsf")["unmapped"]["values"] == {"source": "print('secret')\\xff"}


def test_a_record_that_was_rolled_back_is_refused(place: Place, state: Path) -> None:
    place.fill(3)
    source = Source(place.layout.directory)
    path = cursors.path_of(state, "test")
    cursors.save(path, cursors.Cursor(log=str(source.verifier), next=99))
    with pytest.raises(Refused, match="rolled back"):
        cursors.take_up(path, str(source.verifier), 0, source.durable())
    assert cursors.take_up(path, str(source.verifier), 0, 99).next == 99


def test_another_record_begins_anew(place: Place, state: Path) -> None:
    path = cursors.path_of(state, "test")
    cursors.save(path, cursors.Cursor(log="another+key", next=99))
    assert cursors.take_up(path, "this+key", 256, 300) == cursors.Cursor(log="this+key", next=256)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"log": 1}', '{"log": "x", "next": "1"}', '{"log": "x", "y": 1}'])
def test_a_damaged_cursor_is_refused(state: Path, text: str) -> None:
    path = cursors.path_of(state, "test")
    files.write_new(path, text.encode())
    with pytest.raises(Malformed, match="cursor"):
        cursors.load(path)


def test_a_cursor_that_others_can_write_is_refused(state: Path) -> None:
    path = cursors.path_of(state, "test")
    cursors.save(path, cursors.Cursor(log="x"))
    path.chmod(0o666)
    with pytest.raises(Refused, match="chmod 0600"):
        cursors.load(path)


async def test_what_retention_removed_before_it_was_sent_is_counted(place: Place, log: Log, state: Path) -> None:
    add(log, 600)
    await until(lambda: log.health().published > 600, "a checkpoint")
    source, late, new = Source(place.layout.directory), MemoryTarget(), MemoryTarget()
    cursors.save(cursors.path_of(state, "test"), cursors.Cursor(log=str(source.verifier), next=1))
    log.retain("9999", "9999", Subject(account="root"))
    async with running(forwarder(late, source, state)):
        await until(lambda: cursor_is(state, 601), "the rest")
    assert got(late) == list(range(511, 600))
    assert cursor(state).missed == 511
    cursors.path_of(state, "test").unlink()
    async with running(forwarder(new, source, state)):
        await until(lambda: cursor_is(state, 601), "what is left")
    assert got(new) == got(late)
    assert cursor(state).missed == 0  # a new sink begins with what there is
