"""Root's watch on a node: has a sampler kept running, judges all devices and jobs, tells; it changes nothing.

It waits for lines of the sampler alone, as a session's watch does: what hangs is that process. Nothing that it keeps
grows with time or with what users do: findings, jobs and processes that are followed are bounded (``noderules``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jupyter_hpcsec.gpu.alerts import Alert, Blind
from jupyter_hpcsec.gpu.keeper import INTERVAL_S, STALL_S, Keeper, WatchNote
from jupyter_hpcsec.gpu.noderules import Hold, NodeJudgement, NodeMemory, judge_node
from jupyter_hpcsec.gpu.samples import Allocation, Scan
from jupyter_hpcsec.gpu.settings import Settings

Told = Alert | WatchNote


@dataclass(frozen=True)
class NodeView:
    """What root sees of one job: what it holds, and which devices could not be judged."""

    job: str
    holds: tuple[Hold, ...]
    blind: tuple[str, ...]
    simulated: bool


@dataclass
class NodeWatch:
    """``maps`` is asked at each scan; ``tell`` gets alerts and the watch's own state, ``show`` each job's view."""

    maps: Callable[[], Mapping[str, Allocation]]
    tell: Callable[[Told], None]
    show: Callable[[NodeView], None] = lambda view: None
    settings: Settings = field(default_factory=Settings)
    stand_in: str = ""
    state: str = ""
    interval_s: float = INTERVAL_S
    stall_s: float = STALL_S
    _memory: NodeMemory = field(default_factory=NodeMemory)
    _blind: frozenset[Blind] = frozenset()
    _keeper: Keeper | None = None
    judgement: NodeJudgement = field(default_factory=lambda: NodeJudgement((), (), (), {}))
    devices: int = 0

    @property
    def sampler_pid(self) -> int:
        """The sampler's process, 0 while there is none."""
        return self._keeper.pid if self._keeper else 0

    async def run(self) -> None:
        """Watch until cancelled."""
        self._keeper = Keeper(
            ["--node"],
            take=self.take,
            note=self.tell,
            stand_in=self.stand_in,
            state=self.state,
            interval_s=self.interval_s,
            stall_s=self.stall_s,
        )
        try:
            await self._keeper.run()
        finally:
            self.tell(WatchNote("ended", "root's watch ends"))

    async def take(self, scan: Scan) -> None:
        """One scan: judge, tell, show."""
        self._memory, self.judgement = judge_node(self._memory, scan, self.maps(), self.settings)
        self.devices = sum(len(reading.devices) for reading in scan.readings)
        for alert in self.judgement.alerts:
            self.tell(alert)
        blind = frozenset(self.judgement.blind)
        if {each.device for each in blind} != {each.device for each in self._blind}:
            reason = "what can't be judged has changed" if blind else "everything can be judged"
            self.tell(WatchNote("blind", reason, self.judgement.blind[:32]))
        self._blind = blind
        dark = tuple(sorted({each.device for each in blind if each.device and each.why.startswith("not visible")}))
        simulated = any(reading.simulated for reading in scan.readings)
        if all(reading.state == "ok" for reading in scan.readings):
            for job, holds in self.judgement.holds.items():
                self.show(NodeView(job, holds, dark, simulated))
