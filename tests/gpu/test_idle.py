"""R3: hit, miss, borderline, blind, flapping, driver restart, clock jump, many processes; extensions; MIG."""

import pytest

from jupyter_hpcsec.gpu.samples import Holder, KernelFact
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings
from tests.gpu.scenes import GIB, KERNEL, MINE, Scene, context, device, raised

HOUR = 3600
HELD = device(context())


def stages(scene: Scene, seconds: float, *devices: object, **more: object) -> list[tuple[str, str]]:
    alerts = scene.steps(seconds, *devices, **more)  # type: ignore[arg-type]
    return [(a.finding.key, a.finding.action) for a in alerts if a.raised and a.finding.rule == "R3"]


def test_warned_at_sixty_and_a_hundred_and_five_and_shut_down_at_a_hundred_and_twenty_minutes() -> None:
    scene = Scene()
    assert stages(scene, HOUR, HELD) == []
    assert stages(scene, 10, HELD) == [("R3:k:1", "notify")]
    assert stages(scene, 45 * 60, HELD) == [("R3:k:2", "notify")]
    assert stages(scene, 15 * 60 - 10, HELD) == []
    assert stages(scene, 10, HELD) == [("R3:k:3", "shutdown kernel")]
    assert stages(scene, 4 * HOUR, HELD) == []


@pytest.mark.parametrize("utilisation", [5, 100])
def test_use_is_no_idling_also_when_the_kernel_waits(utilisation: int) -> None:
    assert stages(Scene(), 5 * HOUR, device(context(utilisation=utilisation))) == []


def test_the_borderline_of_use_and_of_memory() -> None:
    scene = Scene()
    assert stages(scene, 3 * HOUR, device(context(utilisation=4))) != []
    least = Settings().idle_memory
    assert stages(Scene(), 3 * HOUR, device(context(memory=least - 1))) == []
    assert stages(Scene(), 3 * HOUR, device(context(memory=least))) != []


def test_a_kernel_that_executes_is_not_idle_whatever_the_gpu_does() -> None:
    busy = KernelFact(id="k", pid=90, start=1, busy=True, since=1.0)
    assert stages(Scene(), 5 * HOUR, HELD, kernels=[busy]) == []


def test_a_short_cell_between_two_samples_sets_the_clock_back() -> None:
    scene = Scene()
    for hour in range(3):
        after = KernelFact(id="k", pid=90, start=1, busy=False, since=float(hour), cell=f"m{hour}")
        assert stages(scene, HOUR, HELD, kernels=[after]) == []


def test_releasing_the_memory_ends_it() -> None:
    scene = Scene()
    stages(scene, HOUR + 10, HELD)
    [cleared] = scene.step(device(), holders=[])
    assert (cleared.finding.key, cleared.raised) == ("R3:k:1", False)
    assert stages(scene, HOUR, HELD) == []


def test_flapping_use_is_use() -> None:
    scene = Scene()
    for _ in range(1000):
        scene.step(HELD)
        scene.step(device(context(utilisation=50)))
    assert scene.alerts == []


def test_blind_time_does_not_count() -> None:
    scene = Scene()
    stages(scene, HOUR - 600, HELD)
    unknown = KernelFact(id="k", pid=90, start=1, busy=None, since=1.0, cell="m1")
    assert stages(scene, 5 * HOUR, HELD, kernels=[unknown]) == []
    assert stages(scene, 5 * HOUR, device(contexts_state="refused"), holders=[]) == []
    assert stages(scene, 600, HELD) == []
    assert stages(scene, 20, HELD) == [("R3:k:1", "notify")]


def test_a_driver_s_restart_does_not_count() -> None:
    scene = Scene()
    stages(scene, HOUR, HELD)
    assert stages(scene, 5 * HOUR, state="lost", holders=[]) == []
    assert stages(scene, 20, HELD) == [("R3:k:1", "notify")]


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_clock_jumps_do_not_count(jump: float) -> None:
    scene = Scene()
    stages(scene, HOUR - 600, HELD)
    scene.time += jump
    scene.mono += abs(jump)
    assert stages(scene, 600, HELD) == []
    assert stages(scene, 20, HELD) == [("R3:k:1", "notify")]


def test_eight_gpus_with_sixty_four_processes_of_eight_kernels() -> None:
    seen = [device(*(context(64 * i + n + 1, GIB) for n in range(64)), index=i) for i in range(8)]
    holders = [Holder(pid=p + 1, start=1, whose="mine", by="tree", kernel=f"k{p // 64}") for p in range(512)]
    kernels = [KernelFact(id=f"k{i}", pid=9000 + i, busy=False, since=1.0) for i in range(8)]
    found = stages(Scene(), HOUR + 10, *seen, holders=holders, kernels=kernels)
    assert sorted(key for key, _ in found) == [f"R3:k{i}:1" for i in range(8)]


def test_one_process_at_work_is_enough_for_its_kernel() -> None:
    seen = device(context(1), context(2, utilisation=60))
    holders = [Holder(pid=pid, start=1, whose="mine", by="tree", kernel="k") for pid in (1, 2)]
    assert stages(Scene(), 3 * HOUR, seen, holders=holders) == []


def test_where_use_can_not_be_measured_people_are_asked_and_nothing_is_shut_down() -> None:
    instance = device(
        context(utilisation=None), context(2, utilisation=None), uuid="MIG-a", parent="GPU-0", utilisation=None
    )
    found = stages(Scene(), 3 * HOUR, instance)
    assert found == [("R3:k:1", "notify"), ("R3:k:2", "notify"), ("R3:k:3", "notify")]


def test_a_device_that_is_idle_as_a_whole_is_idle_for_each() -> None:
    shared = device(context(utilisation=None), context(2, utilisation=None))
    assert stages(Scene(), 2 * HOUR + 10, shared)[-1] == ("R3:k:3", "shutdown kernel")
    busy = device(context(utilisation=None), context(2, utilisation=None), utilisation=50)
    assert stages(Scene(), 2 * HOUR + 10, busy)[-1] == ("R3:k:3", "notify")


def test_an_extension_moves_the_limit() -> None:
    kept = KernelFact(id="k", pid=90, start=1, busy=False, since=1.0, cell="m1", kept_s=HOUR)
    scene = Scene()
    assert stages(scene, 2 * HOUR, HELD, kernels=[kept]) == []
    assert stages(scene, HOUR + 10, HELD, kernels=[kept])[-1] == ("R3:k:3", "shutdown kernel")


def test_limits_are_a_group_s_and_zero_is_no_limit() -> None:
    settings = Settings(
        groups={"short": IdleLimits(first_warning=1, second_warning=2, end=3), "free": IdleLimits(end=0)}
    )
    assert settings.idle_for(["short"]).end == 3
    assert settings.idle_for(["short", "free"]).end == 0
    assert settings.idle_for(["other"]).end == 120
    assert stages(Scene(limits=settings.idle_for(["short"])), 200, HELD)[-1][0] == "R3:k:3"
    assert stages(Scene(limits=settings.idle_for(["free"])), 4 * HOUR, HELD) == []


def test_a_leftover_of_the_kernel_is_not_the_kernel_s_hold() -> None:
    left = Holder(pid=100, start=1, whose="mine", by="before", kernel="k", leftover=True)
    scene = Scene()
    assert stages(scene, 5 * HOUR, HELD, holders=[left]) == []
    assert "R4" in raised(scene.alerts)


def test_the_site_decides_what_is_done() -> None:
    scene = Scene(settings=Settings(actions={"R3": "end session"}))
    assert stages(scene, 2 * HOUR + 10, HELD, holders=[MINE], kernels=[KERNEL])[-1] == ("R3:k:3", "end session")
