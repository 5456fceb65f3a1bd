"""Retention: what is old goes, everything that remains is proved as before, and nothing else may be missing."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import log as log_module
from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.proofs import Prover
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.retention import Removed
from jupyter_hpcsec.audit.stamps import timestamp
from jupyter_hpcsec.errors import Malformed, Unavailable
from tests.audit.records import Place, edit
from tests.audit.test_log import events, until

DAY_NS = 86_400 * 10**9
NOW = 2_000_000_000 * 10**9
WHO = Subject(account="uid 0")


class Site:
    """A record whose clock the test sets, in days before now."""

    def __init__(self, directory: Path) -> None:
        self.place = Place(directory)
        self.now = NOW
        self.mono = 0

    def open(self) -> Log:
        return self.place.open(clock_ns=lambda: self.now, monotonic_ns=lambda: self.now)

    def fill(self, log: Log, days_ago: int, number: int) -> None:
        self.now = NOW - days_ago * DAY_NS
        receipts = [log.record(LaneOpened(session=f"{i:032x}"), "gateway") for i in range(number - 1)]
        receipts.append(log.record(SessionEnded(session="f" * 32), "gateway", {"source": b"day %d" % days_ago}))
        for receipt in receipts:
            receipt.result(60)
        until(lambda: log.health().published >= receipts[-1].result() + 1, 60)

    def days(self, number: int) -> str:
        return timestamp(NOW - number * DAY_NS)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """400 events each of 30, 20, 10 and 0 days ago: 1601 with the first."""
    site = Site(tmp_path / "p")
    site.now = NOW - 30 * DAY_NS
    log = site.open()
    for days_ago in (30, 20, 10, 0):
        site.fill(log, days_ago, 400)
    log.close()
    return site


def retain(site: Site, events_days: int | None, values_days: int | None = None) -> Removed:
    log = site.open()
    until(lambda: log.health().published == log.health().durable, 60)
    times = ["" if days is None else site.days(days) for days in (events_days, values_days)]
    try:
        return log.retain(times[0], times[1], WHO)
    finally:
        log.close()


def test_nothing_goes_unless_it_is_asked_for_or_before_its_time(site: Site) -> None:
    assert retain(site, None) == Removed()
    assert retain(site, 31, 31) == Removed()
    assert site.place.found() == []
    assert not site.place.layout.removed.exists()
    assert not [event for event in events(site.place) if event["kind"] == "audit.pruned"]


def test_old_events_go_and_what_remains_holds(site: Site) -> None:
    layout = site.place.layout
    old = Prover(layout, read_verifier(layout))
    tiles = [path for path in (layout.log / "tile" / "0").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in tiles}
    kept = old.head
    removed = retain(site, 15)
    assert removed == Removed(768, 768)  # bundle 3 has events of ten days ago
    report = site.place.verify(since=kept)
    assert report.holds, report.findings
    assert len(report.removed) == 2
    assert report.removed[0].startswith("events 0 to 767 were removed by retention at ")
    # hashes stay, byte for byte, but for what has grown
    for path, data in before.items():
        if ".p" not in str(path):
            assert path.read_bytes() == data
    prover = Prover(layout, read_verifier(layout))
    assert prover.one(768).proof
    with pytest.raises(Unavailable, match="removed by retention"):
        prover.one(767)
    left = [json.loads(leaf) for _, leaf in Reader(layout, read_verifier(layout)).durable(0)]
    assert [event["seq"] for event in left] == list(range(769, 769 + len(left)))
    (pruned, _) = [event for event in left if event["kind"] == "audit.pruned"]
    assert (pruned["what"], pruned["end"], pruned["subject"]) == ("events", 768, {"account": "uid 0"})
    assert b"day 30" not in b"".join(path.read_bytes() for path in site.place.files())


def test_again_and_again(site: Site) -> None:
    assert retain(site, 25).events == 256
    assert retain(site, 25).events == 256
    assert retain(site, 15).events == 768
    assert site.place.verify().holds
    site.now = NOW + 100 * DAY_NS
    assert retain(site, -50).events >= 1024  # by now the events that told of the first removals are old themselves
    site.place.fill(1000)
    assert retain(site, -10_000).events >= 2560
    report = site.place.verify()
    assert report.holds, report.findings


def test_values_go_earlier_than_their_events(site: Site) -> None:
    assert retain(site, 25, 5) == Removed(256, 1024)
    report = site.place.verify()
    assert report.holds, report.findings
    assert [line for line in report.removed if line.startswith("the sealed values of events 0 to 1023")]
    layout = site.place.layout
    assert sorted(layout.values.iterdir()) == [layout.value_file(leaf) for leaf in (1200, 1600)]
    assert json.loads(Prover(layout, read_verifier(layout)).one(400).leaf)["sealed"]
    assert retain(site, 25, 5) == Removed(256, 1024)


def test_what_is_missing_for_no_reason_is_found(site: Site) -> None:
    retain(site, 25)
    place = site.place
    bundle = place.layout.bundle(2)
    data = bundle.read_bytes()
    bundle.unlink()
    found = place.verify().findings
    assert ("bundle.missing", 512, 767) in {(each.what, each.first, each.last) for each in found}
    bundle.write_bytes(data)
    assert place.verify().holds
    # more than the events say
    edit(place.layout.removed, lambda line: line.replace(b'"events":256', b'"events":512'))
    assert "retention.file" in place.found()
    place.layout.removed.unlink()
    assert "retention.file" in place.found()
    place.layout.removed.write_bytes(b'{"done":true,"events":256,"values":256}\n')
    assert place.found() == []
    # what was removed is put back
    place.layout.bundle(0).write_bytes(data)
    assert {"retention.kept", "event.altered"} & set(place.found())


def test_values_that_were_to_be_removed_but_are_there(site: Site) -> None:
    layout = site.place.layout
    path = layout.value_file(400)
    data = path.read_bytes()
    retain(site, None, 15)
    assert site.place.found() == []
    path.write_bytes(data)
    assert site.place.found() == ["value.kept"]


@pytest.mark.parametrize("at", ["record", "remove"])
def test_a_removal_that_is_cut_short_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(5, "the machine stops here")

    with monkeypatch.context() as stopped:
        if at == "remove":
            stopped.setattr(log_module, "remove", fail)
        else:
            stopped.setattr(log_module, "root_at", fail)
        with pytest.raises(OSError, match="stops here"):
            retain(site, 25)
    assert site.place.found() == ["retention.unfinished"]
    assert len(events_left(site)) == len(events_left(site))  # it can be read meanwhile
    assert retain(site, None) == Removed(256, 256)
    assert site.place.found() == []


def events_left(site: Site) -> list[int]:
    return [index for index, _ in Reader(site.place.layout, read_verifier(site.place.layout)).durable(0)]


def test_the_index_forgets(site: Site) -> None:
    layout = site.place.layout
    verifier = read_verifier(layout)

    def ask(question: Question) -> list[int]:
        with contextlib.closing(Index(layout.index, Reader(layout, verifier), verifier)) as index:
            index.catch_up()
            return index.ask(question)

    assert len(ask(Question(kind="session.ended"))) == 4
    retain(site, 15)
    assert not layout.index.exists()
    assert ask(Question(kind="session.ended")) == [800, 1200, 1600]
    with contextlib.closing(Index(layout.index, Reader(layout, verifier), verifier)) as index:
        assert index.differences() == []


def test_the_journal_keeps_none_of_it(tmp_path: Path) -> None:
    site = Site(tmp_path / "p")
    site.now = NOW - 30 * DAY_NS
    log = site.open()
    site.fill(log, 30, 600)
    site.fill(log, 0, 10)
    assert b"f" * 32 in b"".join(path.read_bytes() for path in site.place.layout.journal.iterdir())
    log.retain(site.days(15), "", WHO)
    until(lambda: f"{500:032x}".encode() not in b"".join(read(site.place.layout)), 60)
    log.close()
    assert site.place.found() == []


def read(layout: Layout) -> list[bytes]:
    found = []
    for path in layout.journal.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(path.read_bytes())
    return found


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"done":true,"events":1,"values":256}\n', b'{"events":256,"done":true,"values":256}\n']
)
def test_a_file_in_another_form(site: Site, data: bytes) -> None:
    site.place.layout.removed.write_bytes(data)
    with pytest.raises(Malformed):
        Removed.read(site.place.layout)
    assert site.place.found() == ["retention.file"]
