"""What the tap costs: its numbers come from paired rounds, and only where both ways were measured."""

from jupyter_hpcsec.ops.bench.results import Results
from jupyter_hpcsec.ops.bench.tap import TAPPED, UNTAPPED, verdicts


def test_nothing_measured_nothing_said() -> None:
    assert verdicts(Results()) == []


def test_the_numbers() -> None:
    results = Results()
    for on, off, late in ((0.9, 1.0, 0.004), (1.9, 2.0, 0.009), (0.5, 1.0, 0.002)):
        for way, speed, p99 in ((TAPPED, on, late), (UNTAPPED, off, 0.001)):
            results.add("download", way, gib_per_s=speed)
            results.add("upload", way, gib_per_s=speed)
            results.add("write", way, p99_s=p99)
    results.add("idle", TAPPED, bytes=70_000)
    down, up, added, idle = verdicts(results)
    assert (down.value.median, up.value.median) == (0.9, 0.9) and not down.is_held
    assert round(added.value.median) == 3000 and added.is_held
    assert not idle.is_held
