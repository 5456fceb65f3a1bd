"""R7 over time: hit, miss, borderline, blind, flapping, driver restart, clock jump, gap, eight ill GPUs."""

from collections.abc import Callable
from typing import Any

import pytest

from jupyter_hpcsec.gpu.alerts import Alert
from jupyter_hpcsec.gpu.samples import Device
from tests.gpu.scenes import Scene, context, device
from tests.gpu.test_noderules import Node

ILL = device(xid=79)
WELL = device()

both = pytest.mark.parametrize("make", [Scene, Node], ids=["a session's", "root's"])


def steps(watch: Scene | Node, seconds: float, *devices: Device) -> list[tuple[str, bool]]:
    return told(watch.steps(seconds, *devices, **nobody(watch)))


def nobody(watch: Scene | Node) -> dict[str, Any]:
    return {"holders": ()} if isinstance(watch, Scene) else {}


def told(alerts: list[Alert]) -> list[tuple[str, bool]]:
    return [(alert.finding.device, alert.raised) for alert in alerts if alert.finding.rule == "R7"]


@both
def test_a_clear_hit_is_told_at_once_once_and_cleared_once(make: Callable[[], Scene | Node]) -> None:
    watch = make()
    assert steps(watch, 600, ILL) == [("GPU-0", True)]
    assert steps(watch, 600, WELL) == [("GPU-0", False)]


@both
def test_a_well_gpu_at_work_is_a_clear_miss(make: Callable[[], Scene | Node]) -> None:
    assert steps(make(), 600, device(ecc_corrected=5, ecc_uncorrected=0, utilisation=100)) == []


@both
def test_the_borderline_is_one_uncorrected_error(make: Callable[[], Scene | Node]) -> None:
    assert steps(make(), 60, device(ecc_uncorrected=1)) == [("GPU-0", True)]


@both
def test_what_is_not_told_is_no_posture(make: Callable[[], Scene | Node]) -> None:
    assert steps(make(), 600, device(xid=None, ecc_uncorrected=None, contexts_state="refused")) == []


@both
def test_flapping_is_one_alert(make: Callable[[], Scene | Node]) -> None:
    watch = make()
    found = [each for _ in range(100) for seen in (ILL, WELL) for each in steps(watch, 10, seen)]
    assert found == [("GPU-0", True)]


@both
def test_a_driver_that_is_away_is_itself_one_alert_and_its_return_its_end(make: Callable[[], Scene | Node]) -> None:
    watch = make()
    away = watch.steps(600, state="lost", **nobody(watch))
    assert told(away) == [("", True)]
    assert steps(watch, 600, WELL) == [("", False)]


@both
@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_clocks_that_jump_clear_nothing(make: Callable[[], Scene | Node], jump: float) -> None:
    watch = make()
    steps(watch, 60, ILL)
    watch.time += jump
    assert steps(watch, 30, WELL) == []
    watch.mono += abs(jump)
    assert steps(watch, 10, WELL) == [], "a gap is no time in which it was seen to be well"


@both
def test_eight_ill_gpus_with_sixty_four_processes_each(make: Callable[[], Scene | Node]) -> None:
    ill = [device(*(context(1000 + 64 * i + n, 1) for n in range(64)), index=i, xid=79) for i in range(8)]
    found = steps(make(), 60, *ill)
    assert sorted(found) == [(f"GPU-{i}", True) for i in range(8)]
