"""The benchmark of a tick measures what it says; how fast that is, is for a quiet machine."""

from jupyter_hpcsec.ops.bench.gpu import TickCost, as_text, measure


def test_a_small_one() -> None:
    cost = measure(processes=20, per_gpu=2, ticks=3)
    assert (cost.processes, cost.contexts) == (20, 16)
    assert cost.sample_s > 0 and cost.judge_s > 0 and cost.sweep_s > 0
    assert "16 processes on them, 20 on the node" in as_text(cost)


def test_both_bounds_count() -> None:
    assert TickCost(1, 1, 0.0005, 0.0004, 0.1).holds
    assert not TickCost(1, 1, 0.0009, 0.0002, 0.1).holds
    assert not TickCost(1, 1, 0.0001, 0.0001, 10.0).holds
