"""The benchmark of decisions: what is asked, and that the clock alone makes the figures."""

import itertools

import pytest

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.ops.bench import policy as bench


def test_every_kind_of_answer_is_asked_for() -> None:
    decisions = Decisions(bench.made_policy(bench.FEW).resolve(bench.SUBJECT))
    rights = [decisions.decide(path).right for path in bench.asked_paths(bench.FEW)]
    assert set(rights) == {"none", "read", "write"}
    assert len(bench.made_policy(bench.MANY).rules) == bench.MANY


@pytest.mark.parametrize(("tick", "holds"), [(3e-5, False), (1e-5, True)])
def test_figures_are_the_clocks(tick: float, holds: bool) -> None:
    ticks = itertools.count()
    cost = bench.measure(rounds=3, calls=10, rules=20, clock=lambda: next(ticks) * tick)
    assert cost.decision_s.rounds == 3 and cost.decision_s.median == pytest.approx(tick / 10)
    assert cost.many_to_few.median == pytest.approx(1)
    assert cost.holds is holds
    assert bench.as_text(cost).startswith(f"20 rules: {tick / 10 * 1e6:.2f} µs a decision")
    assert ("NOT HELD" in bench.as_text(cost)) is not holds
