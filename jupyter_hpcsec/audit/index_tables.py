"""The index's tables: what stands in them, and how events become their rows."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from jupyter_hpcsec.audit import alert_index
from jupyter_hpcsec.audit.alerts import TABLE
from jupyter_hpcsec.audit.question import SPAN

SCHEMA_VERSION = 4
BATCH = 5000

COLUMNS = (
    "leaf", "id", "time", "kind", "trust", "user", "impersonator", "session", "server", "job", "node", "source",
    "object", "decision", "rule", "policy",
)  # fmt: skip
_TIME = COLUMNS.index("time")
_PARTIAL = "\n".join(
    f"CREATE INDEX events_{name} ON events ({name}) WHERE {name} != '';"
    for name in ("impersonator", "server", "job", "node", "source", "object", "decision", "rule", "trust")
)
"""An index of one column holds its rows in the order of the log: a page is a walk along it."""
_SCHEMA = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events ({", ".join(["leaf INTEGER PRIMARY KEY", *(f"{name} TEXT NOT NULL" for name in COLUMNS[1:])])});
CREATE INDEX events_id ON events (id);
CREATE INDEX events_user ON events (user, leaf, kind);
CREATE INDEX events_session ON events (session, leaf, kind) WHERE session != '';
CREATE INDEX events_kind ON events (kind);
{_PARTIAL}
CREATE TABLE spans (span INTEGER PRIMARY KEY, earliest TEXT NOT NULL, latest TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', detail = full);
{alert_index.SCHEMA}
"""


def row_of(leaf: int, event: dict[str, Any]) -> tuple[Any, ...]:
    """An event's row."""
    subject, on = event.get("subject", {}), event.get("object", {})
    found = event | {
        "leaf": leaf,
        "user": subject.get("user") or subject.get("login") or subject.get("account", ""),
        "impersonator": subject.get("impersonator", ""),
        "object": on.get("name", ""),
    }
    return tuple(found.get(name, "") for name in COLUMNS)


def words_of(event: dict[str, Any]) -> str:
    """An event's text: all strings of it but those that say nothing to people."""
    unsaid = {"id", "producer", "time", "trust", "sealed", "policy"}
    found = []
    for name, value in event.items():
        inner = value.values() if isinstance(value, dict) else [value]
        found += [str(each) for each in inner if isinstance(each, str) and name not in unsaid]
    return " ".join(found)


def make(db: sqlite3.Connection, owner: str) -> None:
    """Its tables, in the place of whatever is there. Not by ``executescript``, which ends a transaction."""
    for kind, name in db.execute("SELECT type, name FROM sqlite_master WHERE sql NOT NULL").fetchall():
        if kind == "table" and not name.startswith(("words_", "sqlite_")):
            db.execute(f'DROP TABLE "{name}"')
    for statement in filter(None, map(str.strip, _SCHEMA.split(";"))):
        db.execute(statement)
    about = (owner, TABLE)
    db.execute("INSERT INTO about VALUES ('record', ?), ('alerts', ?), ('covered', '0')", about)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, and nobody else writes meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk ends it by itself
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def add(db: sqlite3.Connection, events: Iterable[tuple[int, bytes]], progress: Callable[[int], None]) -> None:
    """Rows of these events, by batches, each whole or not at all; ``progress`` is told how far it is."""
    rows: list[tuple[Any, ...]] = []
    words: list[tuple[int, str]] = []
    alerting: list[tuple[int, dict[str, Any]]] = []

    def flush() -> None:
        if not rows:
            return
        last = rows[-1][0]
        with transaction(db):
            (known,) = db.execute("SELECT CAST(value AS INTEGER) FROM about WHERE name = 'covered'").fetchone()
            for each in (rows, words, alerting):  # another process may have added the same ones meanwhile
                each[:] = [entry for entry in each if entry[0] >= known]
            db.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})", rows)  # noqa: S608
            db.executemany(_WIDEN, _spans(rows))
            db.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", words)
            alert_index.add(db, alerting)
            db.execute("UPDATE about SET value = ? WHERE name = 'covered'", (str(max(known, last + 1)),))
        progress(last + 1)
        rows.clear()
        words.clear()
        alerting.clear()

    for leaf, data in events:
        event = json.loads(data)
        rows.append(row_of(leaf, event))
        words.append((leaf, words_of(event)))
        if alert_index.is_concerned(event):
            alerting.append((leaf, event))
        if len(rows) >= BATCH:
            flush()
    flush()


_WIDEN = (
    "INSERT INTO spans VALUES (?, ?, ?) ON CONFLICT (span) DO UPDATE "
    "SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)"
)


def _spans(rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, str, str]]:
    """The earliest and the latest time of each span that these rows, in the order of the log, are in."""
    found = []
    for span, those in groupby(rows, lambda row: row[0] // SPAN):
        times = [row[_TIME] for row in those]
        found.append((span, min(times), max(times)))
    return found
