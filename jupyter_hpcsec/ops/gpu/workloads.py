"""Legitimate work on GPUs, generated: how often does each rule accuse somebody who did nothing wrong?

The shapes are our own, not recorded ones: no real GPU was at hand. They are there to compare rules and thresholds with
each other, and are no statement about a site. The same seed gives the same samples.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jupyter_hpcsec.gpu.judge import Memory, judge
from jupyter_hpcsec.gpu.samples import Allocation, Context, Device, Holder, KernelFact, Reading, Sample
from jupyter_hpcsec.gpu.settings import Settings

GIB = 1 << 30
TICK_S = 10.0
HOURS = 8
RULES = ("R1", "R2", "R3", "R4", "R5", "R6", "R7")


@dataclass(frozen=True)
class Moment:
    """What one tick shows. ``workers``: further processes of the kernel. ``marks``: cells executed so far."""

    busy: bool
    use: int
    memory: int = 20 * GIB
    workers: int = 0
    marks: int = 0
    signs: tuple[str, ...] = ()
    in_kernel: bool = True


def training(chance: random.Random, ticks: int) -> Iterator[Moment]:
    """One long cell: full use, a pause for validation and a checkpoint every few minutes, metrics sent to a service."""
    for tick in range(ticks):
        pause = tick % 60 > 56
        yield Moment(
            True, chance.randint(0, 30) if pause else chance.randint(88, 100), 60 * GIB, 4, signs=("connection",)
        )


def loading(chance: random.Random, ticks: int) -> Iterator[Moment]:
    """A cell that waits for data most of the time; workers come and go."""
    for _ in range(ticks):
        yield Moment(True, chance.choice((0, 0, 0, 2, 10, 40)), 12 * GIB, chance.randint(0, 8))


def interactive(chance: random.Random, ticks: int) -> Iterator[Moment]:
    """Short cells, thinking in between, once a day a meal of 30 to 75 minutes, memory held all the time."""
    meal = chance.randrange(ticks // 4, ticks // 2)
    until, busy_until, marks, rest = 0, 0, 0, 6 * chance.randint(30, 75)
    for tick in range(ticks):
        if tick == meal:
            until = tick + rest
        if tick >= until:
            marks += 1
            busy_until = tick + chance.randint(0, 6)
            until = busy_until + min(6 * 40, int(chance.lognormvariate(2.5, 1.2)) + 1)
        busy = tick < busy_until
        yield Moment(busy, chance.randint(20, 100) if busy else 0, 8 * GIB, marks=marks)


def serving(chance: random.Random, ticks: int) -> Iterator[Moment]:
    """A model that a background thread serves: the kernel is idle, use comes in bursts, seldom for long."""
    left = 0
    for tick in range(ticks):
        left = left - 1 if left > 0 else (chance.randint(1, 30) if chance.random() < 0.05 else 0)
        yield Moment(tick < 6, chance.randint(30, 100) if left else 0, 30 * GIB, signs=("connection",))


def terminal(chance: random.Random, ticks: int) -> Iterator[Moment]:
    """Training from a terminal: full use for hours, and no cell."""
    for _ in range(ticks):
        yield Moment(False, chance.randint(90, 100), 60 * GIB, 4, signs=("connection",), in_kernel=False)


Workload = Callable[[random.Random, int], Iterator[Moment]]
WORKLOADS: dict[str, Workload] = {
    "training": training, "data loading": loading, "interactive": interactive, "inference server": serving,
    "training in a terminal": terminal,
}  # fmt: skip


def sample(moment: Moment, tick: int) -> Sample:
    """As the watch would have seen it."""
    pids = range(100, 101 + moment.workers)
    kernel = "k" if moment.in_kernel else ""
    contexts = tuple(
        Context(pid=pid, memory=moment.memory if pid == 100 else GIB // 2, utilisation=moment.use if pid == 100 else 0)
        for pid in pids
    )
    device = Device(
        uuid="GPU-0", index=0, memory_total=80 * GIB, memory_used=sum(each.memory or 0 for each in contexts),
        utilisation=moment.use, power_mw=60_000 + 6_000 * moment.use, power_limit_mw=700_000, contexts=contexts,
    )  # fmt: skip
    return Sample(
        time=1e9 + TICK_S * tick,
        mono=TICK_S * tick,
        readings=(Reading(source="nvidia", devices=(device,)),),
        holders=tuple(
            Holder(pid=pid, start=1, whose="mine", by="tree", kernel=kernel, signs=moment.signs) for pid in pids
        ),
        kernels=(KernelFact(id="k", pid=90, start=1, busy=moment.busy, since=float(moment.marks)),),
        allocation=Allocation(job="1", devices=("GPU-0",)),
    )


def false_alarms(sessions: int, seed: int = 1, settings: Settings | None = None) -> dict[str, Counter[str]]:
    """For each workload, in how many of its ``sessions`` each rule raised an alert; ``R3 limit``: a kernel ended."""
    found = {}
    for name, work in WORKLOADS.items():
        accused: Counter[str] = Counter()
        for number in range(sessions):
            accused.update(_one(work, random.Random(f"{seed} {name} {number}"), settings or Settings()))  # noqa: S311
        found[name] = accused
    return found


def _one(work: Workload, chance: random.Random, settings: Settings) -> set[str]:
    memory = Memory()
    accused: set[str] = set()
    for tick, moment in enumerate(work(chance, int(HOURS * 3600 / TICK_S))):
        memory, judgement = judge(memory, sample(moment, tick), settings)
        for alert in judgement.alerts:
            if alert.raised:
                accused.add(alert.finding.rule)
                if alert.finding.action != "notify":
                    accused.add("R3 limit")
    return accused


def as_table(found: dict[str, Counter[str]], sessions: int) -> str:
    """Percent of the sessions, in Markdown."""
    columns = [*RULES, "R3 limit"]
    lines = [f"| {sessions} sessions of {HOURS} h each | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name, accused in found.items():
        cells = [f"{100 * accused[column] / sessions:.0f} %" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
