"""The index: SQLite tables that say which events answer a question. What is shown is always read from the record.

It is made from the record, can be thrown away at any time, and is not believed: ``differences`` compares it with one
that is made anew. Only events under a checkpoint are in it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit import alert_index
from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.alert_states import Alert
from jupyter_hpcsec.audit.alerts import TABLE
from jupyter_hpcsec.audit.findings import Finding
from jupyter_hpcsec.audit.index_tables import COLUMNS, SCHEMA_VERSION, add, make, transaction
from jupyter_hpcsec.audit.notes import Verifier
from jupyter_hpcsec.audit.question import SPAN, SUFFIX_END, Plan, Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.errors import Malformed, Unavailable

CACHE_KIB = 64 << 10
"""Pages that SQLite may keep at once: it takes so much only where many are read or written."""
BUSY_S = 30.0


class Index:
    """The index at ``path`` of the record that ``reader`` reads and ``verifier`` signs."""

    def __init__(self, path: Path, reader: Reader, verifier: Verifier) -> None:
        self._path, self._reader, self._owner = path, reader, str(verifier)
        with self._translated():
            self._db = self._connect(path)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self) -> None:
        """Make its tables where there are none of ours, once, whoever else does so at the same moment."""
        if self._is_ours():
            return
        with transaction(self._db):
            if not self._is_ours():
                make(self._db, self._owner)

    def _is_ours(self) -> bool:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return bool(
            version == SCHEMA_VERSION and (self._about("record"), self._about("alerts")) == (self._owner, TABLE)
        )

    def _about(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    @property
    def covered(self) -> int:
        """Events that it knows of: the first so many."""
        return int(self._about("covered"))

    def catch_up(self, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Add what came under a checkpoint since; how many events it knows of now."""
        size = self._reader.checkpoint().size
        with self._translated():
            covered = self.covered
            if covered > size:
                raise Malformed(f"{self._path} knows {covered} events, the record has {size}: `hpcsec audit reindex`")
            add(self._db, self._reader.published(covered, size), lambda done: progress(done, size))
        return size

    def fill(self, progress: Callable[[int, int], None]) -> int:
        """As ``catch_up``, for a new file that nobody else has open and that is thrown away if this fails: rows first,
        then what they are looked up by, and on disk at the end. Many rows at once are put in order once."""
        with self._translated():
            for setting in ("synchronous = OFF", "journal_mode = OFF"):
                self._db.execute(f"PRAGMA {setting}")
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql NOT NULL"
            indices = self._db.execute(query).fetchall()
            for name, _ in indices:
                self._db.execute(f"DROP INDEX {name}")
            known = self.catch_up(progress)
            for _, sql in indices:
                self._db.execute(sql)
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        return known

    def ask(self, question: Question) -> list[int]:
        """The leaves that answer, in the order of the log, up to the limit."""
        with self._translated():
            statement = Plan(question, self._run).statement()
            return [leaf for (leaf,) in self._run(statement.sql, statement.values)] if statement else []

    def count(self, question: Question) -> int:
        """How many answer, whatever the limit."""
        with self._translated():
            statement = Plan(question, self._run).statement(count=True)
            return int(self._run(statement.sql, statement.values)[0][0]) if statement else 0

    def kinds(self, session: str) -> dict[str, int]:
        """How many events of which kind a session has."""
        query = "SELECT kind, count(*) FROM events INDEXED BY events_session WHERE session = ? AND session != ''"
        with self._translated():
            return dict(self._run(f"{query} GROUP BY kind", (session,)))

    def kinds_of_user(self, user: str) -> dict[str, int]:
        """How many events of which kind are a user's."""
        with self._translated():
            query = "SELECT kind, count(*) FROM events INDEXED BY events_user WHERE user = ? GROUP BY kind"
            return dict(self._run(query, (user,)))

    def of_kinds(self, session: str, kinds: Sequence[str], *, start: int = 0, limit: int = 1000) -> list[int]:
        """Leaves of a session that are of these kinds, from ``start`` on."""
        of = f"session = ? AND session != '' AND leaf >= ? AND kind IN ({', '.join('?' * len(kinds))})"
        query = f"SELECT leaf FROM events INDEXED BY events_session WHERE {of} ORDER BY leaf LIMIT ?"  # noqa: S608
        with self._translated():
            return [leaf for (leaf,) in self._run(query, (session, start, *kinds, limit))]

    def newest_of_kind(self, sessions: Iterable[str], kind: str) -> list[int]:
        """The newest event of this kind of each of these sessions, of those that have one; in the order of the log."""
        query = (
            "SELECT leaf FROM events INDEXED BY events_session WHERE session = ? AND session != '' AND kind = ? "
            "ORDER BY leaf DESC LIMIT 1"
        )
        with self._translated():
            return sorted(leaf for each in sessions for (leaf,) in self._run(query, (each, kind)))

    def _run(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def leaf_of(self, event_id: str) -> int | None:
        """The leaf of the event with this id."""
        with self._translated():
            row = self._db.execute("SELECT leaf FROM events WHERE id = ?", (event_id,)).fetchone()
        return int(row[0]) if row else None

    def sessions(self, beginning: str) -> list[str]:
        """Sessions whose ids begin so; two at most."""
        query = "SELECT DISTINCT session FROM events WHERE session >= ? AND session < ? AND session != '' LIMIT 2"
        with self._translated():
            return [str(row[0]) for row in self._db.execute(query, (beginning, beginning + SUFFIX_END))]

    def alerts(self, question: AlertQuestion) -> list[Alert]:
        """The alerts that answer, the newest first."""
        with self._translated():
            return alert_index.ask(self._db, question)

    def alert(self, number: int) -> Alert | None:
        """The alert of this number."""
        with self._translated():
            return alert_index.SqlBoard(self._db).by_number(number)

    def alert_events(self, number: int, *, before: int = 0, limit: int = 100) -> list[int]:
        """The leaves of an alert's events, the newest first; with ``before`` only older ones than that leaf."""
        with self._translated():
            return alert_index.leaves(self._db, number, before, limit)

    def open_alerts(self, limit: int) -> dict[str, int]:
        """How many alerts are open by severity; ``limit`` are counted at most."""
        with self._translated():
            return alert_index.count_open(self._db, limit)

    def open_alerts_by_session(self, sessions: Sequence[str], limit: int) -> dict[str, int]:
        """How many alerts are open in each of these sessions; ``limit`` are counted at most, none is left out."""
        with self._translated():
            return alert_index.open_by_session(self._db, sessions, limit)

    def differences(self) -> list[Finding]:
        """How it differs from one that is made anew from the record: what it hides, invents, or says wrongly."""
        try:
            with self._translated():
                return self._differences()
        except (Unavailable, Malformed, ValueError, TypeError) as error:
            return [Finding("index.damaged", self._path.name, f"it can't be read ({error}): `hpcsec audit reindex`")]

    def _differences(self) -> list[Finding]:
        where = self._path.name
        covered, size = self.covered, self._reader.checkpoint().size
        if covered > size:
            return [Finding("index.lies", where, f"it knows {covered} events, the record has {size}")]
        anew = sqlite3.connect(":memory:", isolation_level=None)
        with contextlib.closing(anew):
            make(anew, self._owner)
            add(anew, self._reader.published(0, covered), lambda done: None)
            found = [Finding("index.lies", where, said, leaf) for said, leaf in _compare_rows(self._db, anew)] or [
                Finding("index.lies", where, said, leaf) for said, leaf in _compare_words(self._db, anew)
            ]
            found += [Finding("index.lies", where, said, leaf) for said, leaf in _compare_made(self._db, anew)]
        damage = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
        damage += self._words_damage()
        return found[:100] + [Finding("index.damaged", where, said) for said in damage]

    def _words_damage(self) -> list[str]:
        """What is wrong with the words' own search tree: one that is read in order can be whole, and not be found."""
        try:
            self._db.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        except sqlite3.DatabaseError as error:
            return [f"its words: {error}"]
        return []

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as exc:  # a damaged text is a ValueError
            raise Unavailable(f"The index {self._path} can't be used: {exc}. Try `hpcsec audit reindex`.") from exc


def _compare_rows(ours: sqlite3.Connection, anew: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    query = f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY leaf"  # noqa: S608
    mine, theirs = ours.execute(query), anew.execute(query)
    left, right = next(mine, None), next(theirs, None)
    while left != right or left is not None:
        if left == right:
            left, right = next(mine, None), next(theirs, None)
        elif right is None or (left is not None and left[0] < right[0]):
            yield "it has an event that the record has not", left[0]  # type: ignore[index]
            left = next(mine, None)
        elif left is None or left[0] > right[0]:
            yield "it hides this event", right[0]
            right = next(theirs, None)
        else:
            yield "it says something else than the record", right[0]
            left, right = next(mine, None), next(theirs, None)


def _compare_words(ours: sqlite3.Connection, anew: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    query = "SELECT term, doc, col, offset FROM temp.instances ORDER BY doc, term, offset"
    for db in (ours, anew):
        db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.instances USING fts5vocab(main, words, instance)")
    for left, right in zip(ours.execute(query), anew.execute(query), strict=False):
        if left != right:
            yield "its words are not those of the record", min(left[1], right[1])
            return
    counts = [db.execute("SELECT count(*) FROM temp.instances").fetchone()[0] for db in (ours, anew)]
    if counts[0] != counts[1]:
        yield "it has more or fewer words than the record", 0


def _compare_made(ours: sqlite3.Connection, anew: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """What is made of several events."""
    for table, key, leaves, said in (
        ("spans", "span", SPAN, f"the times of these {SPAN} events are not those of the record"),
        ("alerts", "number", 1, "the alert of this event is not what the record makes of it"),
        ("alert_events", "alert, leaf", 1, "the events of this alert are not those of the record"),
    ):
        query = f"SELECT * FROM {table} ORDER BY {key}"  # noqa: S608
        names = [column[0] for column in anew.execute(query).description]
        at = names.index(key.split(",", maxsplit=1)[0])
        for mine, theirs in zip_longest(ours.execute(query), anew.execute(query)):
            if mine != theirs:
                yield said, (theirs or mine)[at] * leaves
                break


def rebuild(path: Path, reader: Reader, verifier: Verifier, progress: Callable[[int, int], None]) -> int:
    """Make the index anew; how many events it knows of."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with contextlib.closing(Index(fresh, reader, verifier)) as index:
        known = index.fill(progress)
    with fresh.open("rb") as made:
        os.fsync(made.fileno())
    fresh.replace(path)
    return known
