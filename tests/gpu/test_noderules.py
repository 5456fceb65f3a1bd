"""Root's R1, R2, R4: hit, miss, borderline, blind, flapping, driver restart, clock jump, gap, many processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from jupyter_hpcsec.gpu.alerts import Alert
from jupyter_hpcsec.gpu.noderules import NodeJudgement, NodeMemory, judge_node
from jupyter_hpcsec.gpu.samples import Allocation, Device, Process, Reading, Scan
from jupyter_hpcsec.gpu.settings import Settings
from tests.gpu.scenes import GIB, context, device, raised

TICK_S = 10.0
JOB_A = Allocation(job="17", devices=("GPU-0",), uid=1001)
JOB_B = Allocation(job="18", devices=("GPU-1",), uid=1002)
MAPS = {"17": JOB_A, "18": JOB_B}


def process(pid: int = 100, job: str = "17", uid: int = 1001) -> Process:
    cgroup = f"/slurm/uid_{uid}/job_{job}" if job else ""
    return Process(pid=pid, start=pid, uid=uid, cgroup=cgroup)


@dataclass
class Node:
    settings: Settings = field(default_factory=Settings)
    memory: NodeMemory = field(default_factory=NodeMemory)
    time: float = 1e6
    mono: float = 100.0
    alerts: list[Alert] = field(default_factory=list)
    last: NodeJudgement | None = None

    def step(
        self, *devices: Device, processes: tuple[Process, ...] = (), maps: Mapping[str, Allocation] = MAPS,
        state: str = "ok",
    ) -> list[Alert]:  # fmt: skip
        self.time += TICK_S
        self.mono += TICK_S
        reading = Reading(source="nvidia", state=state, devices=devices if state == "ok" else ())  # type: ignore[arg-type]
        scan = Scan(time=self.time, mono=self.mono, readings=(reading,), processes=processes, uid=-2)
        self.memory, self.last = judge_node(self.memory, scan, maps, self.settings)
        self.alerts += self.last.alerts
        return list(self.last.alerts)

    def steps(self, seconds: float, *devices: Device, **more: object) -> list[Alert]:
        return [alert for _ in range(int(seconds / TICK_S)) for alert in self.step(*devices, **more)]  # type: ignore[arg-type]

    @property
    def standing(self) -> set[str]:
        assert self.last is not None
        return {finding.rule for finding in self.last.standing}

    @property
    def blind(self) -> set[str]:
        assert self.last is not None
        return {each.rule for each in self.last.blind}


ON_0, ON_1, ON_2 = device(context()), device(context(), index=1), device(context(), index=2)
# rule: the device with the context, the process, the maps before, the maps now, seconds until it is an alert
HITS: dict[str, tuple[Device, Process, Mapping[str, Allocation], Mapping[str, Allocation], float]] = {
    "R1": (ON_0, process(job="18", uid=1002), MAPS, MAPS, 15.0),
    "R2": (ON_2, process(), MAPS, MAPS, 0.0),
    "R4": (ON_0, process(), MAPS, {"18": JOB_B}, 60.0),
}
only = pytest.mark.parametrize("rule", HITS)


def show(node: Node, rule: str, seconds: float) -> list[str]:
    seen, owner, before, now, _ = HITS[rule]
    if before is not now and node.last is None:
        node.step(maps=before)
    return [each for each in raised(node.steps(seconds, seen, processes=(owner,), maps=now)) if each == rule]


@only
def test_a_clear_hit_is_raised_once_and_cleared_once(rule: str) -> None:
    node = Node()
    assert show(node, rule, 300) == [rule]
    cleared = node.steps(120, device(), maps=HITS[rule][3])
    assert [(each.finding.rule, each.raised) for each in cleared if each.finding.rule == rule] == [(rule, False)]
    assert rule not in node.standing


def test_jobs_on_their_own_gpus_are_a_clear_miss() -> None:
    node = Node()
    assert node.steps(600, ON_0, processes=(process(),)) == []
    assert node.steps(600, ON_1, processes=(process(job="18", uid=1002),)) == []
    assert node.blind == set()


@only
def test_the_borderline(rule: str) -> None:
    needed = 1 + int(-(-HITS[rule][4] // 10))
    node = Node()
    assert show(node, rule, 10 * (needed - 1)) == []
    assert show(node, rule, 10) == [rule]


@pytest.mark.parametrize("state", ["refused", "error", "hung", "unsupported"])
def test_a_list_that_is_not_told_is_blind(state: str) -> None:
    node = Node()
    assert node.steps(300, device(contexts_state=state, memory_used=9 * GIB)) == []
    assert {"R1", "R4"} <= node.blind


def test_a_process_that_is_not_in_this_proc_is_blind() -> None:
    node = Node()
    assert node.steps(300, ON_0) == []
    assert "R1" in node.blind


def test_a_job_without_a_map_is_unverified_and_accused_of_nothing() -> None:
    node = Node()
    assert node.steps(300, ON_2, processes=(process(job="99", uid=1009),)) == []
    assert node.blind == {"R2"}


@only
def test_blind_times_neither_raise_nor_clear(rule: str) -> None:
    node = Node()
    assert show(node, rule, 300) == [rule]
    dark = device(state="error", contexts_state="error", index=HITS[rule][0].index)
    assert [each for each in node.steps(600, dark, maps=HITS[rule][3]) if each.finding.rule != "R7"] == []
    assert rule in node.standing
    assert show(node, rule, 60) == []


@only
def test_flapping_is_one_alert(rule: str) -> None:
    node = Node()
    seen, owner, before, now, _ = HITS[rule]
    node.step(maps=before)
    for _ in range(100):
        node.step(seen, processes=(owner,), maps=now)
        node.step(device(index=seen.index), maps=now)
    assert [(each.finding.rule, each.raised) for each in node.alerts if each.finding.rule == rule] == [(rule, True)]


@only
def test_a_driver_s_restart_changes_nothing(rule: str) -> None:
    node = Node()
    show(node, rule, 300)
    node.steps(600, state="lost", maps=HITS[rule][3])
    assert {"R7", rule} <= node.standing
    assert show(node, rule, 300) == []


@only
@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_wall_clock_changes_nothing(rule: str, jump: float) -> None:
    plain, jumped = Node(), Node()
    after = HITS[rule][4]
    for node in (plain, jumped):
        show(node, rule, after / 2)
    jumped.time += jump
    assert show(jumped, rule, after + 20) == show(plain, rule, after + 20)


@pytest.mark.parametrize("rule", ["R1", "R4"])
@pytest.mark.parametrize("jump", [-100.0, 1e6])
def test_a_gap_is_no_time_that_was_seen(rule: str, jump: float) -> None:
    node = Node()
    show(node, rule, 10)
    node.mono += jump
    assert show(node, rule, 10) == []


@only
def test_eight_gpus_with_sixty_four_processes_each(rule: str) -> None:
    _, owner, _, _, after = HITS[rule]
    wrong = [device(*(context(1000 + 64 * i + n, GIB) for n in range(64)), index=i) for i in range(8)]
    processes = tuple(
        Process(pid=1000 + n, start=n, uid=owner.uid, cgroup=owner.cgroup) for n in range(8 * 64)
    )  # fmt: skip
    everywhere = Allocation(job="17", devices=tuple(f"GPU-{i}" for i in range(8)), uid=1001)
    elsewhere = Allocation(job="17", devices=("GPU-9",), uid=1001)
    first = {"R1": {"17": everywhere, "18": JOB_B}, "R2": {"17": elsewhere}, "R4": {"17": everywhere}}[rule]
    then: Mapping[str, Allocation] = {} if rule == "R4" else first
    node = Node()
    node.step(maps=first)
    told = [
        each for each in node.steps(after + 60, *wrong, processes=processes, maps=then) if each.finding.rule == rule
    ]
    # the neighbour's own GPU is no foreign one
    expected = 7 * 64 if rule == "R1" else 8 * 64
    assert len({each.finding.key for each in told}) == len(told) == expected


def test_whoever_is_in_no_job_is_foreign_where_one_runs_and_out_of_place_where_none_does() -> None:
    visitor = process(job="", uid=1005)
    node = Node()
    assert raised(node.steps(60, ON_0, processes=(visitor,))) == ["R1"]
    node = Node()
    assert raised(node.steps(60, ON_2, processes=(visitor,))) == ["R2"]
    assert node.alerts[0].finding.evidence["whose"] == "of no job"


def test_root_s_daemons_are_nobody_s_foreign_processes_and_shared_gpus_are_shared() -> None:
    node = Node()
    assert node.steps(60, ON_0, processes=(process(job="", uid=0),)) == []
    node = Node(Settings(shared=True))
    assert "R1" not in raised(node.steps(60, ON_0, processes=(process(job="18", uid=1002),)))


def test_root_inside_a_job_is_the_job_s() -> None:
    node = Node()
    assert "R1" in raised(node.steps(60, ON_0, processes=(process(job="18", uid=0),)))


def test_without_cgroups_the_account_decides_and_a_job_that_is_over_is_remembered() -> None:
    bare = process(job="", uid=1001)
    node = Node()
    assert node.steps(60, ON_0, processes=(bare,)) == []
    told = node.steps(120, ON_0, processes=(bare,), maps={"18": JOB_B})
    assert raised(told) == ["R4"]
    assert told[0].finding.evidence["job"] == "17"


def test_memory_that_nobody_holds_on_a_gpu_that_nobody_has() -> None:
    node = Node()
    full = device(memory_used=2 * GIB - 1, index=2)
    assert raised(node.steps(120, full)) == ["R4"]
    node = Node()
    assert node.steps(120, device(memory_used=2 * GIB - 1)) == [], "the job's own: it may be starting"


def test_what_each_job_holds() -> None:
    node = Node()
    two = device(context(100, GIB), context(101, 2 * GIB))
    node.step(two, processes=(process(100), process(101)))
    assert node.last is not None
    (hold,) = node.last.holds["17"]
    assert (hold.device, hold.pids, hold.memory) == ("GPU-0", (100, 101), 3 * GIB)
    assert node.last.holds["18"] == ()


def test_nothing_is_shown_of_a_process_but_numbers() -> None:
    node = Node()
    told = node.steps(60, ON_0, processes=(process(job="18", uid=1002),))
    (foreign,) = [each.finding for each in told if each.finding.rule == "R1"]
    assert set(foreign.evidence) == {"whose", "on", "job", "pid", "uid", "memory"}


def test_what_is_followed_is_bounded() -> None:
    node = Node()
    for n in range(200):
        node.step(maps={str(n * 100 + i): Allocation(job=str(n * 100 + i)) for i in range(100)})
    assert len(node.memory.jobs) <= 4096 + 100
