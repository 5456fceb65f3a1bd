"""Where root's findings on a node wait until the gateway has them: a small database that only root can read or change.

Unlike an agent's, which dies with its job, it has to outlive the processes that write it: prolog and epilog are over in
a second, the watch may be started later, the gateway may be away for days. So it has a name and is synced; each event
is numbered once, for good, whichever process tells it. What finds no room is counted, and the count is told later.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from jupyter_hpcsec.audit.events import ToldByRoot, kind_of
from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeLost
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.private import private_directory, private_file

NAME = "events.sqlite"
MOST_EVENTS, MOST_BYTES = 20_000, 16 << 20
BUSY_S = 10.0
SCHEMA = 1

_TABLES = """
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event BLOB NOT NULL);
CREATE TABLE lost (kind TEXT PRIMARY KEY NOT NULL, count INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);
"""


class NodeSpool:
    """One node's, in a directory of root's. ``Refused`` where others could reach it, ``Unavailable`` for a sick disk.

    ``boot`` is when it was made (microseconds): a spool that was lost and begun anew is another producer's start.
    """

    def __init__(self, directory: Path, *, clock_ns: Callable[[], int] = time.time_ns, most: int = MOST_EVENTS) -> None:
        self._path, self._clock_ns, self._most = directory / NAME, clock_ns, most
        private_directory(directory, rule="node.spool")
        private_file(self._path, rule="node.spool")
        with self._translated():
            self._db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with self._translated():
            for pragma in ("journal_mode = TRUNCATE", "synchronous = FULL", "trusted_schema = OFF"):
                self._db.execute(f"PRAGMA {pragma}").fetchall()
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    db.execute(statement)
                db.execute("INSERT INTO facts VALUES ('boot', ?)", (max(1, self._clock_ns() // 1000),))
                db.execute(f"PRAGMA user_version = {SCHEMA}")
            elif version != SCHEMA:
                raise Refused("node.spool", f"{self._path} is of another version; move it away.")
        try:
            self.boot = int(self.fact("boot") or b"")
        except ValueError as exc:
            raise Refused("node.spool", f"{self._path} is damaged; move it away.") from exc

    def close(self) -> None:
        """Close it; what waits stays."""
        self._db.close()

    def put(self, event: ToldByRoot) -> bool:
        """Keep an event, durable when this returns; False, and counted, where there is no room."""
        with self._transaction() as db:
            lost = dict(db.execute("SELECT kind, count FROM lost").fetchall())
            if lost:
                kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(lost.items()))
                if not self._insert(db, GpuNodeLost(lost=sum(lost.values()), kinds=kinds)):
                    self._count(db, event)
                    return False
                db.execute("DELETE FROM lost")
            if self._insert(db, event):
                return True
            self._count(db, event)
            return False

    @staticmethod
    def _count(db: sqlite3.Connection, event: ToldByRoot) -> None:
        db.execute(
            "INSERT INTO lost VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET count = count + 1", (kind_of(event),)
        )

    def _insert(self, db: sqlite3.Connection, event: ToldByRoot) -> bool:
        encoded = msgspec.json.encode(event)
        waiting, size = db.execute("SELECT count(*), ifnull(sum(length(event)), 0) FROM events").fetchone()
        if waiting >= self._most or size + len(encoded) > MOST_BYTES:
            return False
        at = min(max(0, self._clock_ns() // 1_000_000), m.LAST_MILLISECOND)
        db.execute("INSERT INTO events (at, event) VALUES (?, ?)", (at, encoded))
        return True

    def first(self, count: int, size: int) -> list[m.Item]:
        """The first that wait: ``count`` of them and ``size`` bytes at most, and one in any case."""
        found: list[m.Item] = []
        with self._translated():
            rows = self._db.execute("SELECT seq, at, event FROM events ORDER BY seq LIMIT ?", (count,)).fetchall()
        for seq, at, event in rows:
            size -= len(event) + 64
            if found and size < 0:
                break
            found.append(m.Item(seq=seq, at=at, by="node", event=msgspec.Raw(event)))
        return found

    def drop(self, seq: int) -> None:
        """Forget those up to this number: the gateway has them."""
        with self._transaction() as db:
            db.execute("DELETE FROM events WHERE seq <= ?", (seq,))

    def counts(self) -> tuple[int, int]:
        """(the number of the last event, how many wait)."""
        with self._translated():
            last = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
            waiting = self._db.execute("SELECT count(*) FROM events").fetchone()
        return (int(last[0]) if last else 0, int(waiting[0]))

    def fact(self, name: str) -> bytes | None:
        """Something else that the helper remembers."""
        with self._translated():
            row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0] if isinstance(row[0], bytes) else str(row[0]).encode()

    def set_fact(self, name: str, value: bytes) -> None:
        """Remember it."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise Unavailable(f"{self._path} can't be used: {exc}.") from exc

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
