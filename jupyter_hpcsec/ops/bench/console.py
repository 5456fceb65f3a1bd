"""Measures the security console's first pages over a large record: searches, a long session, alerts, and so on.

The pages themselves are of the layer above, which gives them: ``make(record, index)`` renders one. The record is made
for this, in a directory that is removed; each page is found, proved and rendered as in the service.
What the service adds, JupyterHub's word on the visitor and the event of the reading, is not in these numbers.
"""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit.events import Event, Object, Subject
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert, GpuUse
from jupyter_hpcsec.audit.kinds.kernels import CellExecuted
from jupyter_hpcsec.audit.kinds.requests import FileDownloaded, HttpRequest
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded, SessionRegistered
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.ops.bench.bulk import write
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, percentile
from jupyter_hpcsec.tunnel.store import Store

ORIGIN = "bench.example/audit"
USERS, SESSIONS = 200, 10_000
STORE = "sessions.sqlite"
"""The gateway's sessions, beside the record."""
TIMES = 7
LONG = "ab" * 16
"""The long session, of a tenth of all events; it is ``OWNER``'s."""
OWNER = "user0"
BOUND_MS = 300

Make = Callable[[Record, Index], str]
"""Renders a page; its HTML."""


@dataclass(frozen=True)
class Measured:
    """Seconds of each page, in the order in which they were measured; ``long`` is the long session's events."""

    events: int
    long: int
    pages: dict[str, list[float]]

    def bounds(self) -> list[tuple[Bound, float]]:
        """The design's bound of each page, with its median in milliseconds."""
        return [
            (Bound(f"first page, ms: {name}", Kind.AT_MOST, BOUND_MS), 1000 * percentile(found, 50))
            for name, found in self.pages.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"events": self.events, "long": self.long, "pages": self.pages}

    def as_text(self) -> str:
        """For people."""
        lines = [
            f"{self.events:,} events, {self.long:,} of them in one session; medians of {TIMES}, slowest in brackets"
        ]
        for (bound, value), found in zip(self.bounds(), self.pages.values(), strict=True):
            said = "held" if bound.is_held_by(value) else "NOT HELD"
            lines.append(f"{bound.what:<56} {value:8,.1f} ({1000 * max(found):,.1f})   at most {BOUND_MS}: {said}")
        return "\n".join(lines)


def run(events: int, pages: Mapping[str, Make], say: Callable[[str], None], directory: Path | None = None) -> Measured:
    """Measure ``pages`` with so many events, in a new directory below ``directory``."""
    place = Path(tempfile.mkdtemp(prefix="hpcsec-bench-console-", dir=directory))
    try:
        return _run(events, pages, say, place)
    finally:
        shutil.rmtree(place)


def _run(events: int, pages: Mapping[str, Make], say: Callable[[str], None], place: Path) -> Measured:
    layout = Layout(place / "audit")
    say(f"a record of {events:,} events")
    write(layout, ORIGIN, (_event(number, events) for number in range(events)))
    say("its index")
    record = Record(layout.directory)
    record.reindex(lambda done, of: None)
    with record.index(lambda done, of: None) as index:
        known = index.covered
        long = sum(index.kinds(LONG).values())
    say(f"{SESSIONS:,} sessions")
    _add_sessions(place / STORE)
    found: dict[str, list[float]] = {}
    for name, make in pages.items():
        say(name)
        found[name] = [_timed(layout, make) for _ in range(TIMES)]
    return Measured(known, long, found)


def _timed(layout: Layout, make: Make) -> float:
    """As the service does it: the record and its index are opened for the page."""
    started = time.perf_counter()
    record = Record(layout.directory)
    with closing(Index(layout.index, record.reader, record.verifier)) as index:
        index.catch_up()
        make(record, index)
    return time.perf_counter() - started


def _add_sessions(path: Path) -> None:
    """So many that run now, in one transaction: by themselves each would wait for the disk."""
    store = Store(path)
    store.close()
    now = int(time.time())
    names = "id, user, server, uid, state, job_id, node, created_at, ends_at, serial, reason, project"
    rows = [
        (f"{n:032x}", f"user{n % USERS}", "", 1000, "ready", str(n), f"node{n % 64}", now - n, now + 3600, "", "", "p")
        for n in range(SESSIONS)
    ]
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(f"INSERT INTO sessions ({names}) VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608


@cache
def _subject(user: str) -> Subject:
    return Subject(user=user, account="uid 1000")


def _event(number: int, events: int) -> tuple[Event, dict[str, bytes]]:
    long = number % 10 == 0
    user = OWNER if long else f"user{number % USERS}"
    about: dict[str, Any] = {
        "subject": _subject(user),
        "session": LONG if long else f"{number % SESSIONS:032x}",
        "job": str(number % SESSIONS),
        "node": f"node{number % 64}",
        "source": f"192.0.2.{number % 250}",
    }
    if number < min(SESSIONS, events // 10):
        return SessionRegistered(**about, lifetime_s=3600), {}
    if number >= events - 10:
        return SessionEnded(**about, reason="the job's time was over"), {}
    if number // 10 % 20 in (4, 5):
        return CellExecuted(**about, kernel="k1"), {"source": b"frame.groupby('day').mean()  # %d\n" % number}
    return _told(number, user, about), {}


def _told(number: int, user: str, about: dict[str, Any]) -> Event:
    turn = number // 10 % 20
    if turn < 4:
        file = Object(type="file", name=f"data/project-{number % 977}/table-{number}.parquet", size=number)
        if turn:
            return FileDownloaded(**about, object=file, decision="allowed")
        return FileDownloaded(**about, object=file, decision="refused", rule="access.deny")
    if number % 19 == 0:
        return GpuAlert(**about, rule="R1", state="raised", kernel="k1")
    if number % 1000 == 100:
        return GpuUse(**about, kernel=f"k{number % 3}", span_s=300, used_s=100, held_s=200)
    return HttpRequest(**about, method="GET", status=200, object=Object(name=f"/user/{user}/api/{number}"))
