"""The record under load: killed, on a full disk, with a clock that moves, nothing acknowledged is lost."""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.journal import BATCH_LIMIT, Segment
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.record import AuditShredded
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded, SessionRegistered
from jupyter_hpcsec.audit.log import QUEUE_LIMIT, Log
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from tests.audit.records import ORIGIN, Place, edit

DAY_NS = 86_400 * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "p")


def events(place: Place) -> list[dict[str, Any]]:
    reader = Reader(place.layout, read_verifier(place.layout))
    found = list(reader.durable(0))
    assert [index for index, _ in found] == list(range(len(found)))
    return [json.loads(leaf) for _, leaf in found]


def kinds(place: Place) -> list[str]:
    return [event["kind"] for event in events(place)]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


# In good order


def test_an_event_is_acknowledged_with_its_place_and_can_be_read(place: Place) -> None:
    log = place.open()
    assert log.record(LaneOpened(session="a"), "gateway").result(10) == 1
    assert [event["kind"] for event in events(place)] == ["audit.opened", "lane.opened"]
    log.close()
    assert place.verify().holds
    assert kinds(place) == ["audit.opened", "lane.opened", "audit.closed"]
    assert not list(place.layout.journal.iterdir())


def test_numbers_go_on_and_boots_are_counted(place: Place) -> None:
    for _ in range(3):
        place.fill(2)
    found = events(place)
    assert [event["seq"] for event in found] == list(range(1, 13))
    assert [event["boot"] for event in found] == [1] * 4 + [2] * 4 + [3] * 4
    assert place.verify().holds


def test_checkpoints_come_while_it_runs_and_the_record_verifies_meanwhile(place: Place) -> None:
    log = place.open()
    for number in range(5):
        for _ in range(200):
            log.note(LaneOpened(session=str(number)), "gateway")
        log.record(LaneOpened(), "gateway").result(10)
        assert place.found() == []
    until(lambda: log.health().published == log.health().durable)
    log.close()
    assert len(place.second.read_bytes().splitlines()) >= 1
    assert place.verify().size == 5 * 201 + 2


def test_what_nobody_waits_for_is_gathered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, real = [], Segment.append

    def append(segment: Segment, data: bytes) -> None:
        real(segment, data)
        batches.append(data)

    monkeypatch.setattr(Segment, "append", append)
    monkeypatch.setattr("jupyter_hpcsec.audit.log.NOTED_S", 3600.0)
    log = place.open()
    for number in range(9):
        log.note(LaneOpened(session=str(number)), "gateway")
    assert log.record(LaneOpened(session="waited for"), "gateway").result(60) == 10  # after opening and the notes
    assert len(batches) == 1
    for number in range(BATCH_LIMIT):
        log.note(LaneOpened(session=str(number)), "gateway")
    until(lambda: log.health().durable >= BATCH_LIMIT, 60)  # a batch is full
    log.note(LaneOpened(session="last"), "gateway")
    log.close()
    found = [event.get("session") for event in events(place)]
    assert found[1:11] == [*map(str, range(9)), "waited for"]
    assert found[11:-1] == [*map(str, range(BATCH_LIMIT)), "last"]


def test_what_nobody_waits_for_becomes_durable_and_published_by_itself(place: Place) -> None:
    log = place.open()
    for number in range(2, 5):
        log.note(LaneOpened(), "gateway")
        until(lambda number=number: log.health().published == number, 60)  # type: ignore[misc]
    log.close()
    assert place.found() == []


def test_values_that_wait_are_not_gathered_without_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_hpcsec.audit.log.NOTED_S", 3600.0)
    monkeypatch.setattr("jupyter_hpcsec.audit.log.QUEUE_BYTES", 100)
    log = place.open()
    log.note(SessionEnded(), "gateway", {"source": b"x" * 60})
    until(lambda: log.health().durable == 2, 60)
    log.close()


def test_the_keys_are_private_and_refused_when_they_are_not(place: Place) -> None:
    place.fill(1)
    assert place.layout.signer.stat().st_mode & 0o777 == 0o600
    assert place.layout.directory.stat().st_mode & 0o777 == 0o700
    place.layout.signer.chmod(0o644)
    with pytest.raises(Refused, match="chmod 0600"):
        place.open()


def test_there_is_one_writer(place: Place) -> None:
    log = place.open()
    with pytest.raises(Refused, match="another process"):
        place.open()
    log.close()
    place.open().close()


def test_a_closed_record_takes_nothing(place: Place) -> None:
    log = place.open()
    log.close()
    with pytest.raises(Unavailable, match="closed"):
        log.record(LaneOpened(), "gateway")
    log.note(LaneOpened(), "gateway")
    assert log.health().lost == 1


# Sealed values


def test_a_value_is_kept_beside_and_can_be_shredded_while_everything_holds(place: Place) -> None:
    log = place.open()
    leaf = log.record(SessionEnded(), "gateway", {"source": b"secret = 42"}).result(10)
    assert b"secret" not in b"".join(path.read_bytes() for path in place.layout.log.rglob("*") if path.is_file())
    assert "source" in events(place)[leaf]["sealed"]
    assert not log.shred(leaf, "other", AuditShredded(leaf=leaf, name="other"))
    assert log.shred(leaf, "source", AuditShredded(leaf=leaf, name="source"))
    assert not log.shred(leaf, "source", AuditShredded(leaf=leaf, name="source"))
    log.close()
    assert place.found() == []
    for path in place.files():
        assert b"secret" not in path.read_bytes()
        assert b"c2VjcmV0" not in path.read_bytes()


# Killed


def crashed(place: Place, number: int = 100) -> bytes:
    """A record whose journal was not published; the journal's bytes."""
    log = place.open(checkpoint_s=3600)
    for receipt in [log.record(LaneOpened(session=str(i)), "gateway") for i in range(number)]:
        receipt.result(10)
    (segment,) = place.layout.journal.iterdir()
    data = segment.read_bytes()
    shutil.copytree(place.directory, place.directory.with_name("crashed"))
    log.close()
    return data


def test_bits_flipped_in_the_journal_of_a_crash_are_found(place: Place) -> None:
    data = crashed(place)
    broken = Place(place.directory.with_name("crashed"))
    assert broken.found() == []
    assert broken.verify().in_journal == 101
    (segment,) = broken.layout.journal.iterdir()
    for bit in [*range(0, len(data.rstrip(b"\x00")) * 8, 801), len(data) * 8 - 3]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        segment.write_bytes(bytes(changed))
        assert not broken.verify().holds, bit


def test_an_unfinished_write_is_set_aside_and_told_of(place: Place) -> None:
    crashed(place)
    broken = Place(place.directory.with_name("crashed"))
    (segment,) = broken.layout.journal.iterdir()
    edit(segment, lambda data: data.rstrip(b"\x00") + data[:50])
    assert broken.found() == ["journal.unfinished"]
    log = broken.open()
    until(lambda: "audit.set-aside" in kinds(broken))
    log.close()
    assert broken.found() == []
    assert len(events(broken)) >= 104
    (aside,) = broken.layout.aside.iterdir()
    edit(aside, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert set(broken.found()) == {"set-aside.altered", "set-aside.missing"}


def test_a_journal_broken_in_its_middle_is_not_taken_up(place: Place) -> None:
    log = place.open(checkpoint_s=3600)
    for number in range(3):
        log.record(LaneOpened(session=str(number)), "gateway").result(10)
    (segment,) = place.layout.journal.iterdir()
    data = segment.read_bytes()
    shutil.copytree(place.directory, place.directory.with_name("crashed"))
    log.close()
    broken = Place(place.directory.with_name("crashed"))
    (segment,) = broken.layout.journal.iterdir()
    segment.write_bytes(data[:30] + b"?" + data[31:])
    with pytest.raises(Refused, match="damaged in its middle"):
        broken.open()


def test_a_changed_tile_or_checkpoint_is_not_built_upon(place: Place) -> None:
    place.fill(300)
    edit(place.layout.tile(1, 0, 1), lambda data: bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(Refused, match="not those of its checkpoint"):
        place.open()
    place.layout.signer.unlink()
    with pytest.raises(Refused, match="is gone, but its record is there"):
        place.open()


def test_a_second_place_of_another_record(place: Place, tmp_path: Path) -> None:
    place.fill(1)
    other = Place(tmp_path / "other")
    with pytest.raises(Refused, match="name another file in audit_checkpoints"):
        other.open(second_place=place.second)
    other.open().close()


def test_a_record_that_was_put_back(place: Place, tmp_path: Path) -> None:
    place.fill(1)
    old = place.copy(tmp_path / "old")
    place.fill(1)
    with pytest.raises(Refused, match="rolled back"):
        old.open(second_place=place.second)


def test_a_record_of_another_deployment(place: Place) -> None:
    place.fill(1)
    with pytest.raises(Refused, match="not other"):
        place.open(origin="other.example/audit")


# Disks


class Disk:
    """Stands in for a file system that fails: ``error`` is what every write and fsync gives while it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        write, sync = files.write_all, Segment.append

        def failing(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                if self.error:
                    raise OSError(self.error, os.strerror(self.error))
                return real(*arguments)

            return call

        monkeypatch.setattr(files, "write_all", failing(write))
        monkeypatch.setattr(Segment, "append", failing(sync))


def is_recorded(log: Log, event: Event) -> bool:
    with contextlib.suppress(Unavailable):
        log.record(event, "gateway").result(60)
        return True
    return False


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_nothing_new_begins_while_the_disk_takes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    disk = Disk(monkeypatch)
    log = place.open()
    log.record(LaneOpened(), "gateway").result(10)
    until(lambda: log.health().published == 2, 60)  # so that it is a write that fails first, and no checkpoint
    disk.error = error
    with pytest.raises(Unavailable, match=os.strerror(error)):
        log.record(SessionRegistered(session="refused"), "gateway").result(10)
    with pytest.raises(Unavailable, match="nothing new begins"):
        log.require()
    with pytest.raises(Unavailable):
        log.record(SessionRegistered(session="refused"), "gateway")
    for number in range(QUEUE_LIMIT + BATCH_LIMIT + 5):  # a batch may be on its way to the disk
        log.note(SessionEnded(session=str(number)), "gateway")
    assert log.health().lost >= 5
    disk.error = 0
    until(lambda: not log.health().why)
    until(lambda: is_recorded(log, SessionRegistered(session="accepted")))  # there is room once a batch or two are gone
    log.close()
    assert place.found() == []
    found = events(place)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    gaps = [event for event in found if event["kind"] == "audit.gap"]
    assert sum(gap.get("lost", 0) for gap in gaps) == log.health().lost
    assert any("session.ended" in gap.get("kinds", "") for gap in gaps)  # what a batch on its way was too early for
    assert os.strerror(error) in gaps[0]["why"]
    ended = [int(event["session"]) for event in found if event["kind"] == "session.ended"]
    assert len(ended) >= QUEUE_LIMIT  # all that had room when it came, which a batch on its way makes once more
    assert ended == sorted(set(ended))
    assert {event["session"] for event in found if event["kind"] == "session.registered"} == {"accepted"}


def test_a_second_place_that_fails_stops_new_things_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_hpcsec.audit.secondplace import SecondPlace

    log = place.open()
    log.record(LaneOpened(), "gateway").result(10)
    until(lambda: log.health().published == 2)
    real = SecondPlace.append

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(SecondPlace, "append", full)
    log.note(LaneOpened(), "gateway")
    until(lambda: bool(log.health().why))
    with pytest.raises(Unavailable, match="no checkpoint can be made"):
        log.require()
    monkeypatch.setattr(SecondPlace, "append", real)
    until(lambda: not log.health().why)
    log.close()
    assert place.found() == []


# Clocks


class Clock:
    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> int:
        return time.time_ns() + self.offset


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_is_moved_by_a_day(place: Place, days: int) -> None:
    clock = Clock()
    log = place.open(clock_ns=clock)
    log.record(LaneOpened(session="before"), "gateway").result(10)
    clock.offset = days * DAY_NS
    log.record(LaneOpened(session="after"), "gateway").result(10)
    log.close()
    assert place.found() == []
    found = events(place)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert [event["mono"] for event in found if event["kind"] == "lane.opened"] == sorted(
        event["mono"] for event in found if event["kind"] == "lane.opened"
    )
    (step,) = [event for event in found if event["kind"] == "clock.stepped"]
    assert step["forward_ms" if days > 0 else "back_ms"] // 1000 in range(86_398, 86_402)
    assert len({event["id"] for event in found}) == len(found)
    place.open(clock_ns=Clock()).close()
    assert place.found() == []


# What callers may do wrong


def test_values_that_nobody_may_seal(place: Place) -> None:
    log: Log = place.open()
    with pytest.raises(ValueError, match="BUG"):
        log.record(SessionEnded(), "gateway", {"Bad Name": b""})
    with pytest.raises(ValueError, match="BUG"):
        log.record(SessionEnded(), "gateway", {"source": bytes(2 << 20)})
    log.close()
    with contextlib.suppress(HpcsecError):
        assert place.found() == []
    assert ORIGIN in place.layout.verifier.read_text()
