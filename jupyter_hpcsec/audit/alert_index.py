"""The alerts as tables of the index: folded while events are added, and made anew with it."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.audit.alert_states import CONCERNED, Alert, take
from jupyter_hpcsec.audit.alerts import BY_KIND

FIELDS = Alert.__struct_fields__
_NUMBERS = {"number", "last", "count", "standing", "acknowledged", "reopened"}
SCHEMA = f"""
CREATE TABLE alerts ({", ".join(f"{name} {'INTEGER' if name in _NUMBERS else 'TEXT'} NOT NULL" for name in FIELDS)},
    PRIMARY KEY (key)) WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_number ON alerts (number);
CREATE INDEX alerts_id ON alerts (id);
CREATE INDEX alerts_session ON alerts (session) WHERE session != '';
CREATE INDEX alerts_state ON alerts (state, last);
CREATE INDEX alerts_last ON alerts (last);
CREATE TABLE alert_events (alert INTEGER NOT NULL, leaf INTEGER NOT NULL, PRIMARY KEY (alert, leaf)) WITHOUT ROWID;
"""
_SELECT = f"SELECT {', '.join(FIELDS)} FROM alerts"  # noqa: S608
_PUT = f"INSERT OR REPLACE INTO alerts VALUES ({', '.join('?' * len(FIELDS))})"  # noqa: S608
TABLES = ("alerts", "alert_events")


@dataclass(frozen=True)
class AlertQuestion:
    """Which alerts: by state (``open``, ``acknowledged``, ``over``; none: all), name, user, session; the newest first.

    ``before`` is the ``last`` of the last one on the page before (0: the first page).
    """

    state: str = ""
    name: str = ""
    user: str = ""
    session: str = ""
    severity: str = ""
    before: int = 0
    limit: int = 50

    def sql(self) -> tuple[str, list[Any]]:
        """The statement and its parameters."""
        where, values = ["state != 'counting'"], list[Any]()
        for name in ("state", "name", "user", "session", "severity"):
            if getattr(self, name):
                where.append(f"{name} = ?" + (" AND session != ''" if name == "session" else ""))
                values.append(getattr(self, name))
        if self.before > 0:
            where.append("last < ?")
            values.append(self.before)
        return f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY last DESC LIMIT ?", [*values, self.limit]


class SqlBoard:
    """The tables, as what is folded on. What it does is part of the transaction that its caller began."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def _one(self, where: str, value: object) -> Alert | None:
        row = self._db.execute(f"{_SELECT} WHERE {where}", (value,)).fetchone()
        return alert_of(row) if row else None

    def by_key(self, key: str) -> Alert | None:
        """The alert with this key."""
        return self._one("key = ?", key)

    def by_id(self, event_id: str) -> Alert | None:
        """The alert whose first event has this id."""
        return self._one("id = ?", event_id)

    def by_number(self, number: int) -> Alert | None:
        """The alert of this number."""
        return self._one("number = ?", number)

    def of_session(self, session: str) -> Iterable[Alert]:
        """All alerts of a session that stand."""
        query = f"{_SELECT} WHERE session = ? AND session != '' AND standing > 0"
        return [alert_of(row) for row in self._db.execute(query, (session,))]

    def put(self, alert: Alert) -> None:
        """Keep it in the place of the one with its key."""
        self._db.execute(_PUT, tuple(getattr(alert, name) for name in FIELDS))

    def link(self, number: int, leaf: int) -> None:
        """The event at ``leaf`` belongs to the alert."""
        self._db.execute("INSERT OR IGNORE INTO alert_events VALUES (?, ?)", (number, leaf))


def alert_of(row: Sequence[Any]) -> Alert:
    """A row as an alert."""
    return Alert(**dict(zip(FIELDS, row, strict=True)))


def is_concerned(event: dict[str, Any]) -> bool:
    """Whether an event can change an alert: most can't, and cost one look."""
    kind = event.get("kind")
    return kind in BY_KIND or kind in CONCERNED


def add(db: sqlite3.Connection, events: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Fold these events, which follow those that were folded before."""
    board = SqlBoard(db)
    for leaf, event in events:
        take(board, leaf, event)


def ask(db: sqlite3.Connection, question: AlertQuestion) -> list[Alert]:
    """The alerts that answer."""
    return [alert_of(row) for row in db.execute(*question.sql())]


def leaves(db: sqlite3.Connection, number: int, before: int, limit: int) -> list[int]:
    """The events of an alert, the newest first; with ``before`` only those that are older than that leaf."""
    query = "SELECT leaf FROM alert_events WHERE alert = ? AND (? = 0 OR leaf < ?) ORDER BY leaf DESC LIMIT ?"
    return [leaf for (leaf,) in db.execute(query, (number, before, before, limit))]


def count_open(db: sqlite3.Connection, limit: int) -> dict[str, int]:
    """How many alerts are open by severity, counting ``limit`` at most."""
    query = (
        "SELECT severity, count(*) FROM (SELECT severity FROM alerts WHERE state = 'open' ORDER BY last DESC LIMIT ?) "
        "GROUP BY severity"
    )
    return {str(severity): int(number) for severity, number in db.execute(query, (limit,))}


def open_by_session(db: sqlite3.Connection, sessions: Iterable[str], limit: int) -> dict[str, int]:
    """How many alerts are open in each of these sessions, counting ``limit`` at most; of one without any nothing."""
    query = (
        "SELECT count(*) FROM (SELECT 1 FROM alerts INDEXED BY alerts_session "
        "WHERE session = ? AND session != '' AND state = 'open' LIMIT ?)"
    )
    counted = {each: int(db.execute(query, (each, limit)).fetchone()[0]) for each in sessions}
    return {each: number for each, number in counted.items() if number}
