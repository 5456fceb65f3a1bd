"""Measures the audit record: durable events a second, what a receipt waits, verification, questions.

It writes a record of its own in a directory that it removes. A disk decides most of these numbers: they are those of
the file system that ``directory`` is on.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.connections import LaneClosed
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import QUEUE_LIMIT, Log
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.verify import verify
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, percentile

ORIGIN = "bench.example/audit"
USERS = 200
WAITS = 500
"""Single events whose receipts are waited for, one after another, while others load the record."""
LOAD = 1000
"""Events a second of that load."""
MILLION = 1_000_000

EVENTS = Bound("durable audit events a second", Kind.AT_LEAST, 5000)
WAIT = Bound("p99 added to a request, ms", Kind.AT_MOST, 5)
VERIFY = Bound("verify of 1,000,000 events, s", Kind.AT_MOST, 60)
ASK = Bound("a question by user and day, ms", Kind.AT_MOST, 200)


@dataclass(frozen=True)
class Measured:
    """What came out. Times are seconds; ``events`` is how many the record held when it was verified and asked."""

    events: int
    per_second: float
    wait_p50: float
    wait_p99: float
    loaded_p99: float
    bare_p50: float
    bare_p99: float
    verify_s: float
    verify_alone_s: float
    index_s: float
    ask_s: float
    bytes_per_event: float

    def bounds(self) -> list[tuple[Bound, float]]:
        """The design's bounds, with what was measured for each; verification is scaled to a million events."""
        return [
            (EVENTS, self.per_second),
            (WAIT, 1000 * self.wait_p99),
            (VERIFY, self.verify_s * MILLION / self.events),
            (ASK, 1000 * self.ask_s),
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        held = {bound.what: {"bound": bound.bound, "value": value, "held": bound.is_held_by(value)}
                for bound, value in self.bounds()}  # fmt: skip
        return {**vars(self), "bounds": held}

    def as_text(self) -> str:
        """For people."""
        lines = [f"{self.events:,} events, {self.bytes_per_event:.0f} bytes each on disk"]
        for bound, value in self.bounds():
            said = "held" if bound.is_held_by(value) else "NOT HELD"
            lines.append(f"{bound.what:<36} {value:12,.1f}   {bound.kind} {bound.bound:,g}: {said}")
        lines.append(f"receipt of a single event, p50        {1000 * self.wait_p50:11,.1f}   ms")
        bare = f"{1000 * self.bare_p50:.1f} and {1000 * self.bare_p99:.1f}"
        lines.append(f"this disk's bare append and fdatasync, p50 and p99: {bare} ms")
        lines.append(f"the same beside {LOAD} events/s, p99    {1000 * self.loaded_p99:11,.1f}   ms")
        alone = self.verify_alone_s * MILLION / self.events
        lines.append(f"verify of 1,000,000 events by one process{alone:8,.1f}   s")
        lines.append(f"index made in                         {self.index_s:11,.1f}   s")
        return "\n".join(lines)


def run(events: int, say: Callable[[str], None], directory: Path | None = None) -> Measured:
    """Measure with so many events, in a new directory below ``directory``."""
    place = Path(tempfile.mkdtemp(prefix="hpcsec-bench-audit-", dir=directory))
    try:
        return _run(events, say, place)
    finally:
        shutil.rmtree(place)


def _event(number: int) -> LaneClosed:
    return LaneClosed(
        subject=Subject(user=f"user{number % USERS}", account=f"uid {1000 + number % USERS}"),
        session=f"{number % 5000:032x}",
        job=str(number % 5000),
        node=f"node{number % 64}",
        object=Object(type="file", name=f"/data/project/{number % 977}/table-{number}.parquet", size=number),
        bytes_to_node=number,
    )


def _run(events: int, say: Callable[[str], None], place: Path) -> Measured:
    layout, second = Layout(place / "audit"), place / "checkpoints"
    log = Log(layout.directory, origin=ORIGIN, second_place=second)
    try:
        say("single events, and the disk by itself")
        bare = _bare(place / "bare")
        alone = _waits(log, 0.0)
        loaded = _waits(log, 1 / LOAD)
        say(f"{events:,} events, each waited for")
        per_second = _fill(log, events)
    finally:
        log.close()
    size = sum(path.stat().st_size for path in layout.directory.rglob("*") if path.is_file())
    say("verification")
    started = time.perf_counter()
    report = verify(layout, second_place=second)
    verify_s = time.perf_counter() - started
    started = time.perf_counter()
    verify(layout, second_place=second, processes=1)
    verify_alone_s = time.perf_counter() - started
    if not report.holds:
        raise Unavailable(f"the record that was measured does not verify: {report.findings[0]}")
    say("index and questions")
    reader = Reader(layout, log.verifier)
    started = time.perf_counter()
    with closing(Index(layout.index, reader, log.verifier)) as index:
        index.catch_up()
        index_s = time.perf_counter() - started
        today = time.strftime("%Y-%m-%d", time.gmtime())
        asked = [_timed(index, Question(user=f"user{n * 7 % USERS}", since=today)) for n in range(20)]
    return Measured(
        events=report.size,
        per_second=per_second,
        wait_p50=percentile(alone, 50),
        wait_p99=percentile(alone, 99),
        loaded_p99=percentile(loaded, 99),
        bare_p50=percentile(bare, 50),
        bare_p99=percentile(bare, 99),
        verify_s=verify_s,
        verify_alone_s=verify_alone_s,
        index_s=index_s,
        ask_s=percentile(asked, 50),
        bytes_per_event=size / report.size,
    )


def _timed(index: Index, question: Question) -> float:
    started = time.perf_counter()
    index.ask(question)
    return time.perf_counter() - started


def _bare(path: Path) -> list[float]:
    """What the disk takes for as many bytes as an event has: no receipt can be faster by much."""
    waits = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(WAITS):
            started = time.perf_counter()
            os.write(descriptor, bytes(800))
            os.fdatasync(descriptor)
            waits.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
    return waits


def _waits(log: Log, between_s: float) -> list[float]:
    """How long single receipts take, while other events come every ``between_s`` seconds (0: none do)."""
    waits = []
    due = time.perf_counter()
    for number in range(WAITS):
        while between_s and due < time.perf_counter():
            log.note(_event(number), "gateway")
            due += between_s
        started = time.perf_counter()
        log.record(_event(number), "gateway").result()
        waits.append(time.perf_counter() - started)
    return waits


def _fill(log: Log, events: int) -> float:
    """Events a second, from the first call to the last receipt; as many wait at once as the record lets."""
    receipts: list[Future[int]] = []
    started = time.perf_counter()
    for number in range(events):
        if len(receipts) >= QUEUE_LIMIT // 2:
            receipts[len(receipts) // 2].result()
            del receipts[: len(receipts) // 2]
        receipts.append(log.record(_event(number), "gateway"))
    for receipt in receipts:
        receipt.result()
    return events / (time.perf_counter() - started)
