"""Samples made by hand: a scene is stepped, and the judge keeps its memory between the steps."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jupyter_hpcsec.gpu.alerts import Alert
from jupyter_hpcsec.gpu.judge import Judgement, Memory, judge
from jupyter_hpcsec.gpu.samples import Allocation, Context, Device, Holder, KernelFact, Reading, Sample
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings

GIB = 1 << 30
TICK_S = 10.0
MINE = Holder(pid=100, start=1, whose="mine", by="tree", kernel="k")
KERNEL = KernelFact(id="k", pid=90, start=1, path="a.ipynb", busy=False, since=1.0, cell="m1")


def device(*contexts: Context, index: int = 0, **changes: object) -> Device:
    used = sum(context.memory or 0 for context in contexts)
    given: dict[str, object] = {
        "uuid": f"GPU-{index}", "index": index, "memory_total": 80 * GIB, "memory_used": used, "utilisation": 0,
        "power_mw": 60_000, "power_limit_mw": 700_000, "contexts": contexts, **changes,
    }  # fmt: skip
    return Device(**given)  # type: ignore[arg-type]


def context(pid: int = 100, memory: int | None = 4 * GIB, utilisation: int | None = 0) -> Context:
    return Context(pid=pid, memory=memory, utilisation=utilisation)


OURS = Allocation(job="17", devices=tuple(f"GPU-{i}" for i in range(8)))


@dataclass
class Scene:
    settings: Settings = field(default_factory=Settings)
    limits: IdleLimits | None = None
    memory: Memory = field(default_factory=Memory)
    time: float = 1_000_000.0
    mono: float = 100.0
    alerts: list[Alert] = field(default_factory=list)
    last: Judgement | None = None

    def step(
        self,
        *devices: Device,
        holders: Iterable[Holder] = (MINE,),
        kernels: Iterable[KernelFact] = (KERNEL,),
        state: str = "ok",
        allocation: Allocation | None = OURS,
        tick_s: float = TICK_S,
        **more: object,
    ) -> list[Alert]:
        """One sample; the alerts of this step."""
        self.time += tick_s
        self.mono += tick_s
        reading = Reading(source="nvidia", state=state, devices=devices if state == "ok" else ())  # type: ignore[arg-type]
        sample = Sample(
            time=self.time, mono=self.mono, readings=(reading,), holders=tuple(holders), kernels=tuple(kernels),
            allocation=allocation, **more,  # type: ignore[arg-type]
        )  # fmt: skip
        self.memory, self.last = judge(self.memory, sample, self.settings, self.limits)
        self.alerts += self.last.alerts
        return list(self.last.alerts)

    def steps(self, seconds: float, *devices: Device, **more: object) -> list[Alert]:
        """Samples for so long; all alerts of that time."""
        found = []
        for _ in range(int(seconds / TICK_S)):
            found += self.step(*devices, **more)  # type: ignore[arg-type]
        return found

    @property
    def standing(self) -> set[str]:
        assert self.last is not None
        return {finding.rule for finding in self.last.standing}

    @property
    def blind(self) -> set[str]:
        assert self.last is not None
        return {each.rule for each in self.last.blind}


def raised(alerts: Iterable[Alert]) -> list[str]:
    """Rules of the alerts that were raised."""
    return [alert.finding.rule for alert in alerts if alert.raised]
