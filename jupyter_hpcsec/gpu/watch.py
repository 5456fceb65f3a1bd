"""The watch in a session: has the sampler kept running, joins, judges, tells, and answers what the panel asks.

It runs in the notebook server's event loop and waits for lines of the sampler alone: a driver that hangs hangs that
process. What becomes of alerts is its caller's: ``tell`` gets what is to be recorded, ``act`` what is to be done.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.gpu import sessions, use
from jupyter_hpcsec.gpu.alerts import Alert, Finding
from jupyter_hpcsec.gpu.judge import GAP_S, Judgement, Memory, judge
from jupyter_hpcsec.gpu.keeper import INTERVAL_S, STALL_S, Keeper, WatchNote
from jupyter_hpcsec.gpu.panel import panel
from jupyter_hpcsec.gpu.rules import View
from jupyter_hpcsec.gpu.samples import Allocation, KernelFact, Sample, Scan
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings

REPORT_S = 600.0
"""Seconds between two reports of use."""


@dataclass(frozen=True)
class Report:
    """What one kernel used (empty id: something of the session that is below no kernel)."""

    kernel: str
    notebook: str
    use: use.Use


Word = Alert | WatchNote | Report


def _count(sample: Sample) -> int:
    """How many devices are the job's: by root's word, or else those that can be seen; a GPU in parts is its parts."""
    if sample.allocation is not None:
        return len(set(sample.allocation.devices))
    seen = sample.devices()
    return len({device.uuid for device in seen} - {device.parent for device in seen})


@dataclass
class Watch:
    """One session's watch. ``kernels`` is asked at each sample; ``stand_in`` and ``state``: of simulated GPUs."""

    kernels: Callable[[], Awaitable[Iterable[KernelFact]]]
    tell: Callable[[Word], None]
    act: Callable[[Finding], Awaitable[None]]
    settings: Settings = field(default_factory=Settings)
    limits: IdleLimits | None = None
    allocation: Callable[[], Allocation | None] = lambda: None
    stand_in: str = ""
    state: str = ""
    interval_s: float = INTERVAL_S
    stall_s: float = STALL_S
    record: Callable[[Sample], None] = lambda sample: None
    _bonds: sessions.Memory = field(default_factory=sessions.Memory)
    _memory: Memory = field(default_factory=Memory)
    _judgement: Judgement = field(default_factory=lambda: Judgement((), (), ()))
    _sample: Sample | None = None
    _devices: int = 0
    _kept: dict[str, float] = field(default_factory=dict)
    _use: dict[str, use.Use] = field(default_factory=dict)
    _reported: float | None = None
    _keeper: Keeper | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def idle_limits(self) -> IdleLimits:
        """This user's."""
        return self.limits or self.settings.idle

    @property
    def sampler_pid(self) -> int:
        """The sampler's process, 0 while there is none."""
        return self._keeper.pid if self._keeper else 0

    async def run(self) -> None:
        """Watch until cancelled."""
        self._keeper = Keeper(
            ["--server", str(os.getpid())],
            take=self.take,
            note=self._note,
            stand_in=self.stand_in,
            state=self.state,
            interval_s=self.interval_s,
            stall_s=self.stall_s,
        )
        reason = "the server ends"
        try:
            await self._keeper.run()
        except Exception as error:
            reason = f"the watch failed ({type(error).__name__})"
            raise
        finally:
            self._report(everything=True)
            self._note(WatchNote("ended", reason))

    async def take(self, scan: Scan) -> None:
        """One scan: join, judge, tell, act."""
        kernels = [self._with_kept(kernel) for kernel in await self.kernels()]
        sample, self._bonds = sessions.join(scan, kernels, self._bonds, self.allocation())
        self.record(sample)
        if (devices := _count(sample)) not in (0, self._devices):
            self._devices = devices
            self._note(WatchNote("seeing", f"{devices} GPU{'' if devices == 1 else 's'}"))
        before = self._memory.mono
        clocks = self._memory.clocks
        self._memory, self._judgement = judge(self._memory, sample, self.settings, self.idle_limits)
        self._sample = sample
        for kernel_id in list(self._kept):  # an extension ends with the idle time that it was for
            clock, was = self._memory.clocks.get(kernel_id), clocks.get(kernel_id)
            if clock is None or (was is not None and clock.idle_s < was.idle_s):
                del self._kept[kernel_id]
        passed = scan.mono - before if before is not None else 0.0
        if 0 < passed <= GAP_S:
            self._use = use.add(View.of(sample, self.settings), self._use, passed)
        self._report()
        for alert in self._judgement.alerts:
            self.tell(alert)
        self._changed.set()
        self._changed = asyncio.Event()
        for alert in self._judgement.alerts:
            if alert.raised and alert.finding.action != "notify":
                await self.act(alert.finding)

    def _note(self, note: WatchNote) -> None:
        self.tell(replace(note, devices=self._devices))

    def idle_s(self, kernel: str) -> float:
        """For how long a kernel has held GPU memory idle."""
        clock = self._memory.clocks.get(kernel)
        return clock.idle_s if clock else 0.0

    def _with_kept(self, kernel: KernelFact) -> KernelFact:
        return msgspec.structs.replace(kernel, kept_s=self._kept.get(kernel.id, 0.0))

    def _report(self, *, everything: bool = False) -> None:
        if self._sample is None:
            return
        if self._reported is None:
            self._reported = self._sample.mono
        if not everything and 0 <= self._sample.mono - self._reported < REPORT_S:
            return
        self._reported = self._sample.mono
        paths = {kernel.id: kernel.path for kernel in self._sample.kernels}
        sums, self._use = self._use, {}
        for kernel, each in sums.items():
            self.tell(Report(kernel, paths.get(kernel, ""), each))

    def panel(self) -> dict[str, Any]:
        """What the owner is shown; ``state`` is ``starting`` before the first sample."""
        if self._sample is None:
            return {"state": "starting", "simulated": bool(self.stand_in), "devices": [], "kernels": [], "alerts": []}
        sample = self._sample
        sample = msgspec.structs.replace(sample, kernels=tuple(self._with_kept(kernel) for kernel in sample.kernels))
        return panel(sample, self._memory, self._judgement, self.settings, self.idle_limits)

    async def changed(self) -> None:
        """Return at the next sample."""
        await self._changed.wait()

    def keep(self, kernel_id: str, minutes: int) -> float:
        """Extend a kernel's idle limit; the seconds that it is extended by in all. ``Refused`` beyond the limits."""
        limits = self.idle_limits
        if self._sample is None or kernel_id not in {kernel.id for kernel in self._sample.kernels}:
            raise Refused("gpu.kernel", "There is no such kernel in this session.")
        if not limits.end:
            raise Refused("gpu.no-limit", "Kernels of this session have no limit that could be extended.")
        if not 0 < minutes <= limits.extend_by:
            raise Refused("gpu.extend", f"A kernel can be kept for 1 to {limits.extend_by} minutes more at a time.")
        kept_s = self._kept.get(kernel_id, 0.0) + 60.0 * minutes
        if kept_s > 60 * limits.extend_in_all:
            raise Refused("gpu.extend-in-all", f"A kernel can be kept for {limits.extend_in_all} minutes more in all.")
        self._kept[kernel_id] = kept_s
        return kept_s
