import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, Summary, Verdict, paired_ratio, percentile

SECONDS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=50)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_what_has_no_percentile_is_a_bug(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="BUG"):
        percentile(values, percent)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0), (0.5, 1.0), (98.5, 99.0)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == expected


@given(SECONDS, st.floats(0.1, 100))
def test_a_percentile_is_one_of_the_values_and_enough_are_below(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100


def test_rounds_without_a_partner_are_a_bug() -> None:
    with pytest.raises(ValueError, match="BUG"):
        paired_ratio([1.0, 2.0], [1.0])


def test_a_busy_round_moves_both_sides_and_not_the_ratio() -> None:
    ours, theirs = [1.0, 10.0, 2.0], [2.0, 20.0, 4.0]
    assert paired_ratio(ours, theirs) == Summary(0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize(
    ("kind", "value", "held", "aimed"),
    [
        (Kind.AT_LEAST, 0.99, False, False),
        (Kind.AT_LEAST, 1.0, True, False),
        (Kind.AT_LEAST, 1.5, True, True),
        (Kind.AT_MOST, 2.1, False, False),
    ],
)
def test_a_bound_is_held_on_its_own_side_only(kind: Kind, value: float, held: bool, aimed: bool) -> None:
    limits = {Kind.AT_LEAST: (1.0, 1.2), Kind.AT_MOST: (2.0, 1.0)}
    verdict = Verdict(Bound("x", kind, *limits[kind]), Summary.of([value]))
    assert (verdict.is_held, verdict.meets_aim) == (held, aimed)


def test_no_aim_is_neither_met_nor_missed() -> None:
    assert Verdict(Bound("x", Kind.AT_MOST, 1.0), Summary.of([0.5])).meets_aim is None
