"""R1, R2, R4, R6, R7: hit, miss, borderline, blind, flapping, driver restart, clock jump, many processes."""

from collections.abc import Callable

import pytest

from jupyter_hpcsec.gpu.samples import Allocation, Device, Holder, KernelFact, Posture, Reading, Sample
from jupyter_hpcsec.gpu.settings import Settings
from tests.gpu.scenes import GIB, KERNEL, MINE, OURS, Scene, context, device, raised

FOREIGN = Holder(pid=100, start=1, whose="foreign", by="cgroup")
LEFT = Holder(pid=100, start=1, whose="mine", by="before", kernel="old", leftover=True)
LOOSE = Holder(pid=100, start=1, whose="mine", by="cgroup")
OTHERS = Allocation(job="17", devices=("GPU-7",))
ONE = device(context())

Step = Callable[[Scene], list[str]]
HITS: dict[str, tuple[Holder, Allocation | None, float]] = {
    # rule: what is seen, the allocation, seconds until it is an alert
    "R1": (FOREIGN, OURS, 15.0),
    "R2": (MINE, OTHERS, 0.0),
    "R4": (LEFT, OURS, 60.0),
    "R6": (LOOSE, OURS, 60.0),
}
only = pytest.mark.parametrize("rule", HITS)


def show(scene: Scene, rule: str, seconds: float, seen: Device = ONE) -> list[str]:
    holder, allocation, _ = HITS[rule]
    return [
        each for each in raised(scene.steps(seconds, seen, holders=[holder], allocation=allocation)) if each == rule
    ]


@only
def test_a_clear_hit_is_raised_once_and_cleared_once(rule: str) -> None:
    scene = Scene()
    assert show(scene, rule, 300) == [rule]
    assert rule in scene.standing
    cleared = scene.steps(120, device(), holders=[])
    assert [(alert.finding.rule, alert.raised) for alert in cleared if alert.finding.rule == rule] == [(rule, False)]
    assert rule not in scene.standing


@only
def test_a_session_s_own_work_on_its_own_gpu_is_a_clear_miss(rule: str) -> None:
    scene = Scene()
    assert scene.steps(600, ONE) == []


@only
def test_the_borderline(rule: str) -> None:
    after = HITS[rule][2]
    scene = Scene()
    ticks_needed = 1 + int(-(-after // 10))  # the first sample has seen no time yet
    assert show(scene, rule, 10 * (ticks_needed - 1)) == []
    assert show(scene, rule, 10) == [rule]


@pytest.mark.parametrize("contexts_state", ["refused", "error", "hung", "unsupported"])
def test_a_list_that_is_not_told_is_blind_and_neither_hit_nor_fine(contexts_state: str) -> None:
    scene = Scene()
    assert scene.steps(300, device(contexts_state=contexts_state, memory_used=9 * GIB)) == []
    assert {"R1", "R4"} <= scene.blind


def test_a_pid_namespace_is_blind() -> None:
    scene = Scene()
    scene.step(device(memory_used=9 * GIB))
    assert "R1" in scene.blind
    scene.step(device(memory_used=1 * GIB))
    assert "R1" not in scene.blind
    scene.step(ONE, holders=[Holder(pid=100)])
    assert "R1" in scene.blind


def test_without_a_map_the_second_rule_is_unverified() -> None:
    scene = Scene()
    assert scene.steps(300, ONE, allocation=None) == []
    assert scene.blind == {"R2"}


@only
def test_blind_times_neither_raise_nor_clear(rule: str) -> None:
    scene = Scene()
    assert show(scene, rule, 300) == [rule]
    dark = device(state="error", contexts_state="error")
    while_dark = scene.steps(600, dark, holders=[], allocation=HITS[rule][1])
    assert [alert for alert in while_dark if alert.finding.rule != "R7"] == []
    assert rule in scene.standing
    assert show(scene, rule, 60) == []


@only
def test_flapping_is_one_alert(rule: str) -> None:
    scene = Scene()
    holder, allocation, _ = HITS[rule]
    for _ in range(100):
        scene.step(ONE, holders=[holder], allocation=allocation)
        scene.step(device(), holders=[], allocation=allocation)
    assert [(alert.finding.rule, alert.raised) for alert in scene.alerts if alert.finding.rule == rule] == [
        (rule, True)
    ]


@only
def test_a_driver_s_restart_changes_nothing(rule: str) -> None:
    scene = Scene()
    show(scene, rule, 300)
    scene.steps(600, state="lost", holders=[])
    assert "R7" in scene.standing
    assert rule in scene.standing
    assert show(scene, rule, 300) == []


@only
@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_wall_clock_changes_nothing(rule: str, jump: float) -> None:
    plain, jumped = Scene(), Scene()
    after = HITS[rule][2]
    for scene in (plain, jumped):
        show(scene, rule, after / 2)
    jumped.time += jump
    assert show(jumped, rule, after + 10) == show(plain, rule, after + 10)


@pytest.mark.parametrize("rule", ["R1", "R4", "R6"])
@pytest.mark.parametrize("jump", [-100.0, 1e6])
def test_a_gap_between_samples_is_no_time_that_was_seen(rule: str, jump: float) -> None:
    scene = Scene()
    show(scene, rule, 10)
    scene.mono += jump
    assert show(scene, rule, 10) == []


@only
def test_eight_gpus_with_sixty_four_processes_each(rule: str) -> None:
    holder, allocation, _ = HITS[rule]
    seen = [device(*(context(1000 + 64 * i + n, GIB) for n in range(64)), index=i) for i in range(7)]
    holders = [
        Holder(pid=1000 + n, start=n, whose=holder.whose, by=holder.by, kernel=holder.kernel, leftover=holder.leftover)
        for n in range(7 * 64)
    ]
    scene = Scene()
    alerts = scene.steps(300, *seen, holders=holders, allocation=allocation)
    assert raised(alerts).count(rule) == 7 * 64
    assert len({alert.finding.key for alert in alerts if alert.finding.rule == rule}) == 7 * 64


def test_what_is_shown_of_a_foreign_process_is_its_pid_alone() -> None:
    scene = Scene()
    [alert] = scene.steps(60, ONE, holders=[Holder(pid=100, start=1, whose="foreign", name="secret-project")])
    assert set(alert.finding.evidence) == {"whose", "pid", "memory", "allocation"}
    assert "secret" not in str(alert)


@pytest.mark.parametrize(
    ("by", "allocation", "sure"), [("cgroup", OURS, "high"), ("", OURS, "medium"), ("cgroup", None, "low")]
)
def test_confidence_follows_the_evidence(by: str, allocation: Allocation | None, sure: str) -> None:
    [alert] = Scene().steps(60, ONE, holders=[Holder(pid=100, start=1, whose="foreign", by=by)], allocation=allocation)  # type: ignore[arg-type]
    assert alert.finding.confidence == sure


def test_root_s_daemons_and_shared_gpus_are_no_foreign_processes() -> None:
    assert Scene().steps(300, ONE, holders=[Holder(pid=100, whose="system")]) == []
    assert Scene(settings=Settings(shared=True)).steps(300, ONE, holders=[FOREIGN]) == []


def test_a_neighbour_on_a_gpu_that_is_not_ours_is_not_our_matter() -> None:
    assert "R1" not in raised(Scene().steps(300, ONE, holders=[FOREIGN], allocation=OTHERS))


def test_a_mig_instance_is_allocated_by_itself_or_with_its_gpu() -> None:
    whole = device(context(), split=True)
    mine = device(context(), index=1, uuid="MIG-a", parent="GPU-0", utilisation=None)
    for devices in (("MIG-a",), ("GPU-0",)):
        assert raised(Scene().steps(60, whole, mine, allocation=Allocation(job="17", devices=devices))) == []
    assert "R2" in raised(Scene().steps(60, whole, mine, allocation=Allocation(job="17", devices=("MIG-b",))))


def test_after_the_job_everything_of_it_is_left_over_at_once() -> None:
    assert raised(Scene().step(ONE, holders=[FOREIGN], job_over=True)) == ["R4"]
    assert raised(Scene().step(device(memory_used=3 * GIB), holders=[], job_over=True)) == ["R4"]
    assert raised(Scene().step(device(memory_used=GIB - 1), holders=[], job_over=True)) == []
    assert raised(Scene().step(ONE, holders=[Holder(pid=100, whose="system")], job_over=True)) == []
    assert raised(Scene().step(ONE, holders=[FOREIGN], job_over=True, allocation=OTHERS)) == []


BUSY = KernelFact(id="k", pid=90, start=1, busy=True, since=5.0, cell="m2")


def test_a_context_that_a_cell_made_stays_explained() -> None:
    scene = Scene()
    scene.steps(100, device())
    scene.step(ONE, kernels=[BUSY])
    assert scene.steps(3600, ONE) == []


def test_one_that_appears_while_the_kernel_is_idle_is_not() -> None:
    scene = Scene()
    scene.steps(100, device(), holders=[])
    assert raised(scene.steps(100, ONE)) == ["R6"]


def test_a_cell_between_two_samples_explains_it() -> None:
    scene = Scene()
    scene.steps(100, device(), holders=[])
    after = KernelFact(id="k", pid=90, start=1, busy=False, since=50.0, cell="m2")
    assert scene.steps(300, ONE, kernels=[after]) == []


def test_the_grace_after_a_cell_ends() -> None:
    for quiet, expected in ((30, []), (50, ["R6"])):
        scene = Scene()
        scene.step(device(), holders=[], kernels=[BUSY])
        scene.steps(quiet, device(), holders=[])
        assert raised(scene.steps(100, ONE)) == expected


@pytest.mark.parametrize(
    ("posture", "what"),
    [
        (Posture(profiling_open=True), "profiling"),
        (Posture(library_trusted=False, library="/home/eve/libnvidia-ml.so.1"), "library"),
        (Posture(preloaded=("/home/eve/x.so",)), "preloaded"),
    ],
)
def test_posture(posture: Posture, what: str) -> None:
    from jupyter_hpcsec.gpu.judge import Memory, judge

    reading = Reading(source="nvidia", posture=posture, devices=(ONE,))
    sample = Sample(time=1.0, mono=1.0, readings=(reading,), holders=(MINE,), kernels=(KERNEL,), allocation=OURS)
    _, judged = judge(Memory(), sample, Settings())
    assert [alert.finding.key for alert in judged.alerts] == [f"R7:nvidia:{what}:"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"xid": 79}, "xid"), ({"ecc_uncorrected": 1}, "ecc"), ({"state": "lost", "contexts_state": "lost"}, "state")],
)
def test_an_ill_device(changes: dict[str, object], what: str) -> None:
    [alert] = Scene().steps(60, device(**changes), holders=[])
    assert alert.finding.key == f"R7:{what}:GPU-0"


def test_more_gpus_than_allocated() -> None:
    seen = [device(index=0), device(index=1)]
    [alert] = Scene().steps(60, *seen, holders=[], allocation=Allocation(job="17", devices=("GPU-0",)))
    assert alert.finding.key == "R7:unconstrained:"
    assert Scene().steps(60, *seen, holders=[], allocation=None) == []
