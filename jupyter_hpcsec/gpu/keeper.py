"""Keeps a sampler running: starts it, takes its lines, notices one that hangs or was killed, starts the next.

Who keeps it waits for lines of it alone: a driver that hangs hangs that process, and one that the kernel holds in the
driver stays there while nobody waits for it.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from jupyter_hpcsec.gpu.alerts import Blind
from jupyter_hpcsec.gpu.sampler import READY
from jupyter_hpcsec.gpu.samples import Reading, Scan

INTERVAL_S = 10.0
START_S = 120.0
"""Until the sampler's first word, which it says before it asks a driver: on a busy node Python takes its time."""
STALL_S = 15.0
"""Beyond the interval, without a line, once it has begun: the driver hangs."""
KILL_AFTER = 4
"""Waits in vain after which the sampler is killed. One that the kernel holds stays, and no second one is started."""
LINE_LIMIT = 16 << 20
RESTART_S, RESTART_LIMIT_S = 1.0, 60.0
END_S = 5.0


@dataclass(frozen=True)
class WatchNote:
    """The watch's own state: ``started``, ``stopped`` (someone ended the sampler), ``hung``, ``ended``; ``seeing``
    another number of the job's ``devices`` than before.
    """

    state: str
    reason: str
    blind: tuple[Blind, ...] = ()
    devices: int = 0


@dataclass
class Keeper:
    """``take`` gets every scan, and one that says that nothing can be seen where there is none; ``note`` the rest.

    ``arguments`` are the sampler's; ``stand_in`` and ``state`` are of simulated GPUs.
    """

    arguments: Sequence[str]
    take: Callable[[Scan], Awaitable[None]]
    note: Callable[[WatchNote], None]
    stand_in: str = ""
    state: str = ""
    interval_s: float = INTERVAL_S
    stall_s: float = STALL_S
    start_s: float = START_S
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The sampler's process, 0 while there is none."""
        return self._process.pid if self._process else 0

    async def run(self) -> None:
        """Until cancelled. A sampler that ends is told, and started again."""
        wait_s = RESTART_S
        while True:
            started = time.monotonic()
            status = await self._one_sampler()
            if time.monotonic() - started > RESTART_LIMIT_S:
                wait_s = RESTART_S
            self.note(WatchNote("stopped", f"the sampler ended with status {status}; it is started again"))
            await self._take_nothing("error", "the sampler ended")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RESTART_LIMIT_S)

    async def _one_sampler(self) -> int:
        command = [sys.executable, "-I", "-m", "jupyter_hpcsec.gpu.sampler", "--ready"]
        command += ["--interval", str(self.interval_s)]
        if self.stand_in:
            command += ["--stand-in", self.stand_in]
        process = await asyncio.create_subprocess_exec(
            *command, *self.arguments,
            # nothing of the session's environment: it could name a library that lies (LD_PRELOAD, LD_LIBRARY_PATH)
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HPCSEC_STANDIN_STATE": self.state},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_LIMIT,
        )  # fmt: skip
        self._process = process
        self.note(WatchNote("started", f"the sampler is process {process.pid}"))
        try:
            if await self._begins(process):
                await self._follow(process)
            return await process.wait()
        finally:
            self._process = None
            await _end(process)

    async def _begins(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for its first word. One that says none, or another one, is killed."""
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            async with asyncio.timeout(self.start_s):
                first = await process.stdout.readline()
        except TimeoutError:
            self.note(WatchNote("hung", f"the sampler did not start in {self.start_s:g} s"))
            first = b""
        if first != READY:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return first == READY

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Take its lines until it ends."""
        assert process.stdout is not None  # noqa: S101 - for the type checker
        in_vain = 0
        while True:
            try:
                async with asyncio.timeout(self.interval_s + self.stall_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                in_vain += 1
                if in_vain == 1:
                    self.note(WatchNote("hung", "the driver does not answer"))
                if in_vain == KILL_AFTER:
                    process.kill()
                await self._take_nothing("hung", "the driver does not answer")
                continue
            if not line:
                return
            in_vain = 0
            await self.take(msgspec.json.decode(line, type=Scan))

    async def _take_nothing(self, state: str, detail: str) -> None:
        """A sample that says that nothing can be seen."""
        reading = msgspec.convert({"source": "watch", "state": state, "detail": detail}, Reading)
        simulated = msgspec.structs.replace(reading, simulated=bool(self.stand_in))
        await self.take(Scan(time=time.time(), mono=time.monotonic(), readings=(simulated,)))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it and wait, but not for one that the kernel holds in a driver's call."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.wait()
