"""Questions of times: what the spans lead to is what a plain filter finds, however little times follow the log."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.audit import index_tables as indexing
from jupyter_hpcsec.audit import question as asking
from jupyter_hpcsec.audit.index_tables import add, make
from jupyter_hpcsec.audit.question import LEAF_END, Plan, Question

FEW = 4
"""Leaves of a span, here: so that a short record has many."""


def time_of(minute: int) -> str:
    return f"2026-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00.000000Z"


def event(minute: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "cell.executed", "time": time_of(minute), "session": "s", "reason": "word", **fields}


@contextlib.contextmanager
def indexed(events: list[dict[str, Any]], batch: int = 1000, span: int = FEW) -> Iterator[sqlite3.Connection]:
    """An index of these events, which came ``batch`` at a time."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    with (
        contextlib.closing(db),
        patch.object(asking, "SPAN", span),
        patch.object(indexing, "SPAN", span),
        patch.object(indexing, "BATCH", 7),
    ):
        make(db, "nobody")
        for first in range(0, len(events), batch):
            part = events[first : first + batch]
            add(db, ((first + at, json.dumps(each).encode()) for at, each in enumerate(part)), lambda done: None)
        yield db


def answer(db: sqlite3.Connection, question: Question, *, count: bool = False) -> list[int]:
    made = Plan(question, lambda sql, values: db.execute(sql, values).fetchall()).statement(count=count)
    return [row[0] for row in db.execute(made.sql, made.values)] if made else [0] if count else []


def plain(events: list[dict[str, Any]], question: Question) -> list[int]:
    """Without any index."""
    end = LEAF_END if question.end is None else question.end
    found = [
        leaf
        for leaf, each in enumerate(events)
        if (not question.user or question.user == each["subject"]["user"])
        and (not question.kind or question.kind == each["kind"])
        and (not question.text or question.text == each["reason"])
        and each["time"] >= question.since
        and (not question.until or each["time"] < question.until)
        and question.start <= leaf < end
    ]
    return sorted(found, reverse=question.newest)


MINUTES = st.integers(0, 90)
TIMES = st.one_of(st.just(""), MINUTES.map(time_of), st.sampled_from(["2026", "2026-01-01T01", "2027", "1970"]))


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Times go on, nearly: some events waited, and some are of a clock that was wrong."""
    minute, found = 10, []
    for _ in range(draw(st.integers(0, 60))):
        minute += draw(st.integers(0, 2))
        said = draw(st.sampled_from([minute, minute, minute, max(0, minute - 5), minute + 5, 0, 90]))
        fields = {"user": draw(st.sampled_from(["ann", "bob"]))}
        kind, word = draw(st.sampled_from(["cell.executed", "file.read"])), draw(st.sampled_from(["one", "two"]))
        found.append(event(said, kind=kind, subject=fields, reason=word))
    return found


QUESTIONS = st.builds(
    Question,
    since=TIMES,
    until=TIMES,
    user=st.sampled_from(["", "", "ann"]),
    kind=st.sampled_from(["", "", "file.read"]),
    text=st.sampled_from(["", "", "two"]),
    newest=st.booleans(),
    start=st.integers(0, 70),
    end=st.one_of(st.none(), st.integers(0, 70)),
)


@settings(deadline=None)
@given(records(), st.lists(QUESTIONS, min_size=1, max_size=8), st.integers(1, 30), st.integers(1, 9))
def test_answers_are_those_of_a_plain_filter(
    events: list[dict[str, Any]], questions: list[Question], batch: int, limit: int
) -> None:
    with indexed(events, batch) as db:
        for question in questions:
            right = plain(events, question)
            assert answer(db, question) == right
            assert answer(db, question, count=True) == [len(right)]
            page = Question(**vars(question) | {"limit": limit})
            assert answer(db, page) == right[:limit]


def test_spans_are_the_same_however_events_came() -> None:
    events = [event(minute * 37 % 1000, subject={}) for minute in range(50)]
    found = []
    for batch in (1, 3, 8, 50):
        with indexed(events, batch) as db:
            found.append(db.execute("SELECT * FROM spans ORDER BY span").fetchall())
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0][0] == (0, time_of(0), time_of(111)) and len(found[0]) == 13


@pytest.mark.parametrize("newest", [False, True])
def test_a_wrong_clock_costs_its_own_span_alone(newest: bool) -> None:
    """The first event is of 2026-01-03, and so is the last one: what lies between is not read."""
    events = [event(minute, subject={}) for minute in [2900, *(at % 900 for at in range(4000)), 2901]]
    question = Question(since="2026-01-03", limit=50, newest=newest)
    with indexed(events, span=64) as db:
        made = Plan(question, lambda sql, values: db.execute(sql, values).fetchall()).statement()
        assert made is not None
        steps = " | ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {made.sql}", made.values))
        assert "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps and "TEMP" not in steps
        ours, whole = Counter(), Counter()
        db.set_progress_handler(ours, 10)
        assert answer(db, question) == sorted([0, len(events) - 1], reverse=newest)
        db.set_progress_handler(whole, 10)
        db.execute("SELECT leaf FROM events NOT INDEXED WHERE time >= '2026-01-03'").fetchall()
    assert ours.count * 5 < whole.count


class Counter:
    """Counts steps of SQLite's machine: the same on any computer."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return 0
