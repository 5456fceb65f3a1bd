"""Times as people give them, and which events a tail shows."""

from datetime import UTC, datetime

import pytest

from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.audit.reading import Shown, matches, parse_time

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "is_end", "expected"),
    [
        ("2026-01-30", False, "2026-01-30T00:00:00"),
        ("2026-01-30", True, "2026-01-31T00:00:00"),
        ("2026-01-30T10:00:00+02:00", False, "2026-01-30T08:00:00"),
        ("2026-01-30T10:00", True, "2026-01-30T10:00:00"),
        ("90m", False, "2026-01-31T10:30:00"),
        ("3d", False, "2026-01-28T12:00:00"),
        ("0999-01-01", False, "0999-01-01T00:00:00"),
    ],
)
def test_times(text: str, is_end: bool, expected: str) -> None:
    assert parse_time(text, NOW, is_end=is_end) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "3w", "", "2026-13-01", "9999999d", "999999d", "9999-12-31", "0001-01-01T00:00+01:00"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Malformed):
        parse_time(text, NOW, is_end=True)


EVENT = {
    "kind": "session.ended",
    "time": "2026-01-30T10:00:00.000000Z",
    "trust": "gateway",
    "subject": {"user": "alice", "impersonator": "admin"},
    "session": "s1",
    "rule": "token.expired",
}


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (Question(), True),
        (Question(user="alice"), True),
        (Question(user="admin"), True),
        (Question(user="bob"), False),
        (Question(session="s2"), False),
        (Question(kind="session.*"), True),
        (Question(kind="session"), False),
        (Question(rule="token.used"), False),
        (Question(since="2026-01-30"), True),
        (Question(since="2026-01-31"), False),
        (Question(until="2026-01-30"), False),
    ],
)
def test_what_a_tail_shows(question: Question, answers: bool) -> None:
    assert matches(question, Shown(0, EVENT)) is answers
