"""What one tick of the GPU watch costs: 8 simulated GPUs, and 5,000 processes on the node.

The 5,000 are real ones: one process forks children that only wait (they share its memory). The tick is the sampler's
own: driver (the stand-in), ``/proc``, and besides it the joining and judging that the server does.
"""

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.gpu import sessions, standin
from jupyter_hpcsec.gpu.judge import Memory, judge
from jupyter_hpcsec.gpu.nvml import Nvml
from jupyter_hpcsec.gpu.processes import Processes, Sweep
from jupyter_hpcsec.gpu.sampler import INTERVAL_S, SWEEP_TICKS, Sampler
from jupyter_hpcsec.gpu.settings import Settings

GPUS = 8
BOUND_S = 1e-3
SHARE_BOUND = 0.002
"""Of a core, on average."""


@dataclass(frozen=True)
class TickCost:
    """CPU seconds, medians. ``share``: of a core at the usual interval, with the seldom look at all processes."""

    processes: int
    contexts: int
    sample_s: float
    judge_s: float
    sweep_s: float

    @property
    def share(self) -> float:
        """Of one core."""
        return (self.sample_s + self.judge_s + self.sweep_s / SWEEP_TICKS) / INTERVAL_S

    @property
    def holds(self) -> bool:
        """Whether tick and share are within their bounds."""
        return self.sample_s + self.judge_s <= BOUND_S and self.share <= SHARE_BOUND


@contextmanager
def crowd(count: int) -> Iterator[list[int]]:
    """``count`` processes that wait."""
    pids: list[int] = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    signal.pause()
                finally:
                    os._exit(0)
            pids.append(pid)
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def measure(*, processes: int = 5000, per_gpu: int = 1, ticks: int = 200) -> TickCost:
    """Medians over ``ticks``."""
    with tempfile.TemporaryDirectory() as place, crowd(processes) as pids:
        directory = Path(place)
        library = standin.build(directory)
        busy = pids[: GPUS * per_gpu]
        lines = [standin.Gpu(index, used=standin.GIB, utilisation=50).line() for index in range(GPUS)]
        lines += [standin.process(n % GPUS, pid, standin.GIB, 50) for n, pid in enumerate(busy)]
        standin.write_state(directory / "state", lines)
        os.environ[standin.STATE_VARIABLE] = str(directory / "state")
        looked = Processes(os.getuid())
        source = Nvml(str(library))
        sampler = Sampler([source], looked, os.getpid())
        samples, judged = [], []
        bonds, memory, settings = sessions.Memory(), Memory(), Settings()
        for tick in range(ticks):
            start = time.process_time()
            scan = sampler.tick(1e9 + 10 * tick, 10.0 * tick)
            middle = time.process_time()
            sample, bonds = sessions.join(scan, (), bonds)
            memory, _ = judge(memory, sample, settings)
            samples.append(middle - start)
            judged.append(time.process_time() - middle)
        sweep = Sweep(looked)
        start = time.process_time()
        sweep.look(0.0)
        sweep_s = time.process_time() - start
        source.close()
    return TickCost(processes, len(busy), statistics.median(samples), statistics.median(judged), sweep_s)


def as_text(cost: TickCost) -> str:
    """One line for people."""
    verdict = "held" if cost.holds else "NOT HELD"
    return (
        f"{GPUS} GPUs, {cost.contexts} processes on them, {cost.processes} on the node: {1e3 * cost.sample_s:.2f} ms"
        f" to sample and {1e3 * cost.judge_s:.2f} ms to judge (at most {1e3 * BOUND_S:g} together), a look at all"
        f" processes {1e3 * cost.sweep_s:.0f} ms every {SWEEP_TICKS * INTERVAL_S / 60:g} minutes:"
        f" {100 * cost.share:.3f} % of a core: {verdict}"
    )
