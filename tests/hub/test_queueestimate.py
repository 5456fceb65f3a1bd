"""Estimates: what the scheduler says in words, and that a scheduler which says nothing holds no page up."""

import asyncio
from datetime import datetime

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.queueestimate import UNKNOWN, Estimates, parse_test_only

NOW = datetime(2027, 1, 15, 12, 0, 0)
SAID = "sbatch: Job 7 to start at {} using 2 processors on nodes n1 in partition main"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "sbatch: error: Batch job submission failed",
        SAID.format("N/A"),
        SAID.format("2027-13-40T99:00:00"),
        SAID.format("<b>soon</b>"),
        "x" * 20_000 + SAID.format("2027-01-15T12:00:00"),
    ],
)
def test_what_says_no_time_is_unknown(said: str) -> None:
    assert parse_test_only(said, NOW) == UNKNOWN


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2027-01-15T11:00:00", "at once"),
        ("2027-01-15T12:01:00", "at once"),
        ("2027-01-15T12:20:10", "in about 20 minutes"),
        ("2027-01-15T15:10:00", "in about 3 hours"),
        ("2027-01-19T08:30:00", "not before 2027-01-19 08:30"),
    ],
)
def test_times_in_words(start: str, words: str) -> None:
    assert parse_test_only(SAID.format(start), NOW).startswith(words)


async def test_one_that_never_answers_is_not_waited_for_and_asked_once() -> None:
    asked, go_on = 0, asyncio.Event()

    async def stuck() -> str:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return "at once"

    estimates = Estimates()
    assert await estimates.of({"a": stuck}, 0.001) == [UNKNOWN]
    assert await estimates.of({"a": stuck}, 0.001) == [UNKNOWN]
    go_on.set()
    assert await estimates.of({"a": stuck}, 120) == ["at once"]
    assert asked == 1


async def test_an_estimate_serves_for_a_while_and_an_old_one_until_there_is_a_newer() -> None:
    now, answers = 0.0, ["first", "second"]

    async def ask() -> str:
        return answers.pop(0)

    estimates = Estimates(keep_s=60, clock=lambda: now)
    assert await estimates.of({"a": ask}, 120) == ["first"]
    now = 60
    assert await estimates.of({"a": ask}, 120) == ["first"]
    now = 61
    assert await estimates.of({"a": ask}, 120) == ["first"]
    while answers or estimates._asking:
        await asyncio.sleep(0)
    assert await estimates.of({"a": ask}, 120) == ["second"]


async def test_who_has_no_account_has_no_estimate() -> None:
    async def fail() -> str:
        raise Unavailable("no sbatch here")

    assert await Estimates().of({"a": fail}, 120) == [UNKNOWN]
