"""The benchmark of a kernel's latency measures what it says; how much it is, is for a quiet machine."""

from jupyter_hpcsec.ops.bench.gpu_latency import Latency, as_text, measure


def test_a_small_one_with_a_real_kernel() -> None:
    latency = measure(rounds=1, round_s=0.05)
    assert latency.without and latency.beside and latency.ticks >= 1
    assert min(*latency.without, *latency.beside) > 0
    assert "ratio" in as_text(latency)


def test_the_medians_decide() -> None:
    assert Latency((1.0, 1.0, 1.0), (1.0, 1.04, 9.0), 1).holds
    assert not Latency((1.0, 1.0, 1.0), (1.0, 1.06, 1.06), 1).holds
