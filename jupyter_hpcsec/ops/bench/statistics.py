"""The little statistics that the benchmarks need. Pure.

All comparisons are paired: the ratio of two ways is taken within each round, and the median of these ratios is what is
reported. A machine that is busier in one round than in the next then moves both sides of each ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile (the smallest value that at least ``percent`` % of all do not exceed)."""
    if not values or not 0 < percent <= 100:
        raise ValueError("BUG: a percentile of nothing, or outside 0 to 100")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[int(rank) - 1]


@dataclass(frozen=True)
class Summary:
    """Median, smallest and largest of the rounds, and how many there were."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """The summary of at least one value."""
        return cls(median(values), min(values), max(values), len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Median and extremes of ``ours / theirs`` round by round."""
    if len(ours) != len(theirs):
        raise ValueError("BUG: rounds without a partner")
    return Summary.of([a / b for a, b in zip(ours, theirs, strict=True)])


class Kind(StrEnum):
    """Which side of its bound a number has to be on."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Bound:
    """One line of the design's table of numbers. ``aim`` is what is hoped for beyond the bound."""

    what: str
    kind: Kind
    bound: float
    aim: float | None = None
    unit: str = ""

    def is_held_by(self, value: float, bound: float | None = None) -> bool:
        """Whether ``value`` is on the right side of the bound (or of another one, such as the aim)."""
        limit = self.bound if bound is None else bound
        return value >= limit if self.kind is Kind.AT_LEAST else value <= limit


@dataclass(frozen=True)
class Verdict:
    """A bound and what was measured for it."""

    bound: Bound
    value: Summary

    @property
    def is_held(self) -> bool:
        """Whether the median keeps the bound."""
        return self.bound.is_held_by(self.value.median)

    @property
    def meets_aim(self) -> bool | None:
        """Whether the median reaches the aim; None where there is none."""
        return None if self.bound.aim is None else self.bound.is_held_by(self.value.median, self.bound.aim)
