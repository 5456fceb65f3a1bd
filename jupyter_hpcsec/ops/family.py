"""The processes of one quickstart: starts the parts, sees when one ends, and ends all of them and their descendants.

This process becomes a subreaper, so that whatever the parts start stays its descendant and nothing is left behind. It
may signal only its own descendants, and each is signalled by a pid that it, as the one who reaps, still holds.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.processes import become_subreaper, descendants, kill_descendants, processes, signal_process
from jupyter_hpcsec.ops import child
from jupyter_hpcsec.ops.ports import Claim, claim_any

TICK_S = 0.05
TAIL_LINES = 15
KILL_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Part:
    """One program that was started here; its output is in ``log``."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def tail(self) -> str:
        """The last lines of its log."""
        return tail(self.log)


def tail(log: Path) -> str:
    """The last lines of a log."""
    with log.open(errors="replace") as lines:
        return "".join(deque(lines, maxlen=TAIL_LINES))


class Family:
    """The parts by name, and everything below them. ``logs`` is an existing directory."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._claims: list[Claim] = []
        self.parts: dict[str, Part] = {}
        become_subreaper()

    def start(self, name: str, argv: Sequence[str], *, environment: Mapping[str, str], directory: Path) -> Part:
        """Start a part in a session of its own: a Ctrl-C in the terminal reaches only us, who end it in order."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                child.command(os.getpid(), argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
            )
        self.parts[name] = Part(name, process, log)
        return self.parts[name]

    def port(self) -> int:
        """A free port for a part to listen on; nobody else gets it until ``end``."""
        self._claims.append(claim_any())
        return self._claims[-1].port

    def check(self) -> None:
        """``Unavailable`` when a part has ended by itself; its log says why."""
        for part in self.parts.values():
            if not part.is_running:
                raise Unavailable(f"The {part.name} ended by itself (status {part.process.returncode}).")

    def reap_orphans(self) -> None:
        """Ask after ended descendants whose parent has gone; others wait for our own children's exit status."""
        own = {part.process.pid for part in self.parts.values()}
        for process in processes().values():
            if process.parent == os.getpid() and process.is_zombie and process.pid not in own:
                _reap_if_stranger(process.pid)

    async def stop(self, name: str, patience_s: float, hurry: asyncio.Event) -> bool:
        """Ask a part to end and wait for ``patience_s`` at most, or until ``hurry``. Says whether it has ended."""
        part = self.parts.get(name)
        if part is None:
            return True
        if part.is_running:
            part.process.terminate()
        end = time.monotonic() + patience_s
        while part.is_running and time.monotonic() < end and not hurry.is_set():
            self.reap_orphans()
            await asyncio.sleep(TICK_S)
        return not part.is_running

    def living(self) -> list[int]:
        """Pids of all descendants that have not ended."""
        table = processes()
        return [pid for pid in descendants(os.getpid(), table) if not table[pid].is_zombie]

    async def end(self, patience_s: float, hurry: asyncio.Event) -> list[int]:
        """End every descendant: SIGTERM, then after ``patience_s`` (or ``hurry``) SIGKILL. Pids that had to be killed.

        ``Unavailable`` when one is still there: it hangs in the kernel, and the pids are named.
        """
        for pid in self.living():
            signal_process(pid, signal.SIGTERM)
        end = time.monotonic() + patience_s
        while self.living() and time.monotonic() < end and not hurry.is_set():
            self.reap_orphans()
            await asyncio.sleep(TICK_S)
        killed = self.living()
        for part in self.parts.values():
            part.process.poll()
        if not kill_descendants(patience_s=KILL_PATIENCE_S):
            raise Unavailable(f"These processes could not be ended: {self.living()}. They hang in the kernel.")
        while self._claims:
            self._claims.pop().close()
        return killed


def _reap_if_stranger(pid: int) -> None:
    """An orphan comes from a part, and each part has a session of its own; what we ourselves run shares ours."""
    try:
        if os.getsid(pid) != os.getsid(0):
            os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        return
