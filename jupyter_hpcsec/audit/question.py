"""What is asked of a record, and how the index is best asked for it: by the narrowest condition. Pure but for counts.

Answers come in the order of the log and page by page: a page is found by walking one index in that order, from the
last page's end on (``start``, ``end``), never by skipping what was shown. Which index, the events themselves decide: a
user can have ten of them or a million. So each condition is counted first, up to ``COUNTED``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SUFFIX_END = "\U0010ffff"
COUNTED = 50_000
"""Events of a condition that are counted; so many can be put in order at once."""
LEAF_END = 2**62
SPAN = 1024
"""Leaves of which the earliest and the latest time are kept: ``spans`` in the index. Times follow the log only nearly
(a clock can be set, and an event waits for its turn), so it is spans, and not leaves, that a time leads to."""
_ID = re.compile(r"[0-9a-f]{32}")

_IN_TIME = "latest >= ? AND earliest < ?"
_EXACT = ("job", "source", "node", "server", "decision", "trust")


@dataclass(frozen=True)
class Question:
    """What is asked; an empty field asks nothing. A trailing ``*`` in kind, rule and path asks for what begins so.

    A session is named by its id or by how that begins, as tables show it.
    ``since`` and ``until`` are timestamps as in events (``until`` is not included); ``text`` are words.
    ``start`` and ``end`` are numbers of events (``end`` is not included).
    """

    user: str = ""
    session: str = ""
    server: str = ""
    job: str = ""
    node: str = ""
    source: str = ""
    path: str = ""
    kind: str = ""
    decision: str = ""
    rule: str = ""
    trust: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    limit: int = 1000
    newest: bool = False
    start: int = 0
    end: int | None = None

    def __str__(self) -> str:
        asked = {name: value for name, value in vars(self).items() if value and value is not True}
        return " ".join(f"{name}={value}" for name, value in asked.items())


@dataclass(frozen=True)
class Condition:
    """One thing that is asked, as SQL on a row of ``events``; ``index`` serves it, ``in_order`` of the log or not."""

    sql: str
    values: tuple[Any, ...]
    index: str
    in_order: bool = True


@dataclass(frozen=True)
class Words:
    """The condition on words: what their table is asked for."""

    match: str


def conditions(question: Question) -> list[Condition]:
    """What is asked of columns, but for times, words and who."""
    found = [
        Condition(f"{name} = ? AND {name} != ''", (getattr(question, name),), f"events_{name}")
        for name in _EXACT
        if getattr(question, name)
    ]
    session = question.session
    if session and not _ID.fullmatch(session):
        session = f"{session.removesuffix('*')}*"
    asked = (("session", session), ("object", question.path), ("kind", question.kind), ("rule", question.rule))
    for column, value in asked:
        said = f"{column} != ''"  # so that indices without empty ones serve
        if value.endswith("*"):
            ends = (value[:-1], value[:-1] + SUFFIX_END)
            sql = f"{column} >= ? AND {column} < ? AND {said}"
            found.append(Condition(sql, ends, f"events_{column}", in_order=False))
        elif value:
            found.append(Condition(f"{column} = ? AND {said}", (value,), f"events_{column}"))
    return found


def words(question: Question) -> Words | None:
    """What is asked of words; each of them stands for itself, no word is an operator."""
    quoted = ['"' + word.replace('"', '""') + '"' for word in question.text.split()]
    return Words(" ".join(quoted)) if quoted else None


Run = Callable[[str, Sequence[Any]], "list[tuple[Any, ...]]"]
"""Runs a statement; its rows."""


@dataclass(frozen=True)
class Statement:
    """A statement and its parameters."""

    sql: str
    values: tuple[Any, ...]


class Plan:
    """How a question is answered, as ``run`` counts it now. ``statement`` is None where nothing can answer."""

    def __init__(self, question: Question, run: Run) -> None:
        self._question, self._run = question, run
        self._words = words(question)
        self._asked = conditions(question)
        self.low, self.high = self._bounds()

    def _bounds(self) -> tuple[int, int]:
        """The first leaf that can answer and the one after the last: no event of the time that is asked for is outside,
        and some of another time can be inside."""
        question = self._question
        low, high = question.start, LEAF_END if question.end is None else question.end
        if self._is_timed:
            sql = f"SELECT min(span), max(span) FROM spans WHERE {_IN_TIME}"  # noqa: S608
            ((first, last),) = self._run(sql, self._time())
            if first is None:
                return 0, 0
            low, high = max(low, first * SPAN), min(high, (last + 1) * SPAN)
        return low, high

    @property
    def _is_timed(self) -> bool:
        return bool(self._question.since or self._question.until)

    def _time(self) -> tuple[str, str]:
        """The values of ``_IN_TIME``."""
        return self._question.since, self._question.until or SUFFIX_END

    def statement(self, *, count: bool = False) -> Statement | None:
        """What finds the leaves, in order and up to the limit; with ``count`` how many they are without one."""
        if self.low >= self.high:
            return None
        driver = self._driver()
        if isinstance(driver, Words):
            return self._by_words(driver, count)
        if driver is None and self._question.user:
            return self._by_user(count)
        return self._by_column(driver, count)

    # -- the narrowest condition

    def _driver(self) -> Condition | Words | None:
        """The condition that fewest events meet; None: who, where that is asked, or else the order of the log."""
        counted: list[tuple[int, Condition | Words | None]] = [(self._count(each), each) for each in self._asked]
        if self._words:
            sql = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
            counted.append((self._number(sql, (self._words.match, COUNTED)), self._words))
        if self._question.user:
            counted.append((sum(self._count(each) for each in self._who()), None))
        counted.sort(key=lambda each: each[0])
        for number, each in counted:
            if number < COUNTED or not isinstance(each, Condition) or each.in_order:
                return each
        return None

    def _count(self, condition: Condition) -> int:
        inner = f"SELECT 1 FROM events INDEXED BY {condition.index} WHERE {condition.sql} LIMIT ?"  # noqa: S608
        return self._number(f"SELECT count(*) FROM ({inner})", (*condition.values, COUNTED))  # noqa: S608

    def _number(self, sql: str, values: Sequence[Any]) -> int:
        return int(self._run(sql, values)[0][0])

    def _who(self) -> tuple[Condition, Condition]:
        """Whose event it is, or who acted in their name."""
        name = (self._question.user,)
        acted = Condition("impersonator = ? AND impersonator != ''", name, "events_impersonator")
        return Condition("user = ?", name, "events_user"), acted

    # -- statements

    def _others(self, driver: Condition | Words | None, *, with_who: bool = True) -> tuple[list[str], list[Any]]:
        """What else a row has to meet."""
        question = self._question
        where, values = ["leaf >= ? AND leaf < ?"], list[Any]([self.low, self.high])
        for each in self._asked:
            if each is not driver:
                where.append(each.sql)
                values += each.values
        if question.user and with_who:
            where.append("(user = ? OR impersonator = ?)")
            values += [question.user, question.user]
        for operator, asked in ((">=", question.since), ("<", question.until)):
            if asked:
                where.append(f"time {operator} ?")
                values.append(asked)
        if self._words and driver is not self._words:
            where.append("leaf IN (SELECT rowid FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ?)")
            values += [self._words.match, self.low, self.high]
        return where, values

    def _finish(self, select: str, where: list[str], values: list[Any], count: bool) -> Statement:
        sql = f"{select} WHERE {' AND '.join(where)}"
        if count:
            return Statement(f"SELECT count(*) FROM ({sql})", tuple(values))  # noqa: S608
        order = "DESC" if self._question.newest else "ASC"
        return Statement(f"{sql} ORDER BY leaf {order} LIMIT ?", (*values, self._question.limit))

    def _by_column(self, driver: Condition | None, count: bool) -> Statement:
        where, values = self._others(driver)
        if driver is None and self._is_timed:
            return self._by_time(where, values, count)
        if driver is None:
            return self._finish("SELECT leaf FROM events NOT INDEXED", where, values, count)
        by = f"SELECT leaf FROM events INDEXED BY {driver.index}"  # noqa: S608
        return self._finish(by, [driver.sql, *where], [*driver.values, *values], count)

    def _by_time(self, where: list[str], values: list[Any], count: bool) -> Statement:
        """Span by span, without those between that have nothing of this time: one event of a clock that was wrong costs
        the reading of its span, not of all that lies between."""
        by = (
            "SELECT leaf FROM spans CROSS JOIN events NOT INDEXED "
            "ON leaf >= max(?, span * ?) AND leaf < min(?, (span + 1) * ?)"
        )
        bounds = [self.low, SPAN, self.high, SPAN]
        made = self._finish(by, [_IN_TIME, *where[1:]], [*bounds, *self._time(), *values[2:]], count)
        order = "DESC" if self._question.newest else "ASC"
        return Statement(made.sql.replace("ORDER BY leaf", f"ORDER BY span {order}, leaf"), made.values)

    def _by_words(self, driver: Words, count: bool) -> Statement:
        where, values = self._others(driver)
        by = "SELECT words.rowid AS leaf FROM words CROSS JOIN events ON events.leaf = words.rowid"
        bounds = "words MATCH ? AND words.rowid >= ? AND words.rowid < ?"
        where[0], values[:2] = bounds, [driver.match, self.low, self.high]
        made = self._finish(by, where, values, count)
        return Statement(made.sql.replace("ORDER BY leaf", "ORDER BY words.rowid"), made.values)

    def _by_user(self, count: bool) -> Statement:
        """The first of both are the first of each, put together."""
        where, values = self._others(None, with_who=False)
        whose, acted = self._who()
        order = "DESC" if self._question.newest else "ASC"
        parts, given = [], list[Any]()
        for each in (whose, acted):
            sql = f"SELECT leaf FROM events INDEXED BY {each.index} WHERE {each.sql} AND {' AND '.join(where)}"  # noqa: S608
            given += [*each.values, *values]
            if not count:
                sql += f" ORDER BY leaf {order} LIMIT ?"
                given.append(self._question.limit)
            parts.append(f"SELECT leaf FROM ({sql})")  # noqa: S608
        both = " UNION ".join(parts)
        if count:
            return Statement(f"SELECT count(*) FROM ({both})", tuple(given))  # noqa: S608
        return Statement(f"{both} ORDER BY leaf {order} LIMIT ?", (*given, self._question.limit))
