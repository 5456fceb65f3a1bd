"""What the GPU watch does to a kernel's latency: the same kernel, asked in turns with the watch beside it and without.

The watch runs as in a session: judging in the event loop that the kernel's client uses, too, the sampler in a process
of its own; but a tick a second instead of one in ten, so that what it costs shows ten times as often.
"""

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.gpu import standin
from jupyter_hpcsec.gpu.processes import Processes
from jupyter_hpcsec.gpu.samples import KernelFact, Sample
from jupyter_hpcsec.gpu.watch import Watch

GPUS = 8
INTERVAL_S = 1.0
BOUND = 1.05
"""Of the medians, with the watch : without."""
READY_S = 120.0


@dataclass(frozen=True)
class Latency:
    """Seconds from the request to the reply, as they came."""

    without: tuple[float, ...]
    beside: tuple[float, ...]
    ticks: int

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.beside) / statistics.median(self.without)

    @property
    def ratio_p99(self) -> float:
        """Of the 99th percentiles."""
        return _p99(self.beside) / _p99(self.without)

    @property
    def holds(self) -> bool:
        """Whether the medians' ratio is within its bound."""
        return self.ratio <= BOUND


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def measure(*, rounds: int = 10, round_s: float = 3.0) -> Latency:
    """``rounds`` pairs of turns of ``round_s`` seconds each, the first of a pair in turn with the watch and without."""
    return asyncio.run(_measure(rounds, round_s))


async def _measure(rounds: int, round_s: float) -> Latency:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        library = standin.build(directory)
        from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415 - it takes a second to be imported

        manager = AsyncKernelManager(kernel_name="python3")
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=READY_S)
            pid = int(getattr(manager.provisioner, "pid", 0) or 0)
            lines = [standin.Gpu(index, used=standin.GIB, utilisation=50).line() for index in range(GPUS)]
            lines += [standin.process(index, pid, standin.GIB, 50) for index in range(GPUS)]
            standin.write_state(directory / "state", lines)
            found: dict[bool, list[float]] = {True: [], False: []}
            ticks = 0
            await _turn(client, min(1.0, round_s))  # warm
            for number in range(rounds):
                for is_beside in (number % 2 == 0, number % 2 != 0):
                    watch = _watch(library, directory / "state", pid) if is_beside else None
                    async with _beside(watch) as seen:
                        found[is_beside] += await _turn(client, round_s)
                    ticks += len(seen)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)
    return Latency(tuple(found[False]), tuple(found[True]), ticks)


@contextlib.asynccontextmanager
async def _beside(watch: Watch | None) -> AsyncIterator[list[Sample]]:
    """The watch from its first sample on, whose start is the session's and not the kernel's; what it samples."""
    seen: list[Sample] = []
    if watch is None:
        yield seen
        return
    watch.record = seen.append
    task = asyncio.create_task(watch.run())
    try:
        await watch.changed()
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _watch(library: Path, state: Path, pid: int) -> Watch:
    stat = Processes(-1).stat(pid)
    fact = KernelFact(id="bench", pid=pid, start=stat.start if stat else 0, busy=False)

    async def kernels() -> list[KernelFact]:
        return [fact]

    async def nothing(_: object) -> None:
        """No action is taken."""

    return Watch(
        kernels=kernels,
        tell=lambda word: None,
        act=nothing,
        stand_in=str(library),
        state=str(state),
        interval_s=INTERVAL_S,
    )


async def _turn(client: Any, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        await client.execute("pass", silent=True, reply=True)
        times.append(time.perf_counter() - start)
    return times


def as_text(latency: Latency) -> str:
    """One line for people."""
    medians = [1e3 * statistics.median(each) for each in (latency.without, latency.beside)]
    p99s = [1e3 * _p99(each) for each in (latency.without, latency.beside)]
    return (
        f"a kernel's echo, {len(latency.without)} times without the watch and {len(latency.beside)} times beside it"
        f" ({latency.ticks} ticks, one a second): median {medians[0]:.2f} ms and {medians[1]:.2f} ms, ratio"
        f" {latency.ratio:.2f} (at most {BOUND:g}): {'held' if latency.holds else 'NOT HELD'};"
        f" p99 {p99s[0]:.2f} ms and {p99s[1]:.2f} ms, ratio {latency.ratio_p99:.2f}"
    )
