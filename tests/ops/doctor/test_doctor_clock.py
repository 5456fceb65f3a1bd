"""Skew: what the second's cut and the exchange's length explain is none; more is yellow, then red."""

from email.utils import formatdate

import pytest

from jupyter_hpcsec.ops.doctor.clock import BAD_S, WARN_S, judge_clock, judge_skew
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.world import ClockState, HttpAnswer

NOW = 1_800_000_000.0


def dated(at: float) -> HttpAnswer:
    return HttpAnswer(200, {"date": formatdate(at, usegmt=True)})


@pytest.mark.parametrize(("offset", "word"), [(BAD_S + 2, "behind"), (-BAD_S - 4, "ahead of")])
def test_a_large_skew_is_red(offset: float, word: str) -> None:
    finding = judge_skew(NOW, dated(NOW + offset), took_s=0.1)
    assert finding.status is Status.BAD
    assert word in finding.what


def test_a_small_skew_is_yellow() -> None:
    assert judge_skew(NOW, dated(NOW + WARN_S + 2), took_s=0.1).status is Status.WARN


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2027"])
def test_no_date_is_unknown_and_not_green(date: str) -> None:
    assert judge_skew(NOW, HttpAnswer(200, {"date": date}), took_s=0.1).status is Status.UNKNOWN


def test_a_slow_exchange_is_no_skew() -> None:
    assert judge_skew(NOW, dated(NOW), took_s=30.0).status is Status.OK
    assert judge_skew(NOW, dated(NOW), took_s=0.0).status is Status.OK


def test_a_clock_that_nothing_keeps_is_yellow() -> None:
    assert judge_clock(ClockState(False, 16.0)).status is Status.WARN
    assert judge_clock(ClockState(True, 0.01)).status is Status.OK
