"""Has a proposed policy compared with the one in force, in a process of its own: one at a time, for a bounded time."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

import msgspec

from jupyter_hpcsec.audit.text import clean
from jupyter_hpcsec.console.compare_worker import Answer, Order
from jupyter_hpcsec.console.workers import how_it_ended
from jupyter_hpcsec.errors import Refused, Unavailable

LIMIT_S = 120.0
LINE_LIMIT = 300
COMMAND = (sys.executable, "-I", "-m", "jupyter_hpcsec.console.compare_worker")

FAILED = "The policy could not be compared"


def _why(status: int, failed: bytes) -> str:
    """Why a worker that said nothing of use ended: its limits, or the last line of what it wrote to standard error."""
    last = clean(failed.decode("utf-8", "replace").strip().rpartition("\n")[2], LINE_LIMIT)
    if status == -signal.SIGXCPU or last.startswith("MemoryError"):
        return "it takes more time or memory than it may"
    return f"{how_it_ended(status)}{f', saying: {last}' if last else ''}"


class Comparing:
    """One comparison at a time."""

    def __init__(self, *, limit_s: float = LIMIT_S, command: Sequence[str] = COMMAND) -> None:
        self._limit_s, self._command = limit_s, command
        self._is_busy = False

    async def compare(self, order: Order) -> Answer:
        """The answer; ``Refused`` while somebody else compares, ``Unavailable`` where it can't be had in time."""
        if self._is_busy:
            raise Refused("policy.busy", "Somebody else compares a policy just now; try again in a moment.")
        self._is_busy = True
        try:
            return await self._ask(order)
        finally:
            self._is_busy = False

    async def _ask(self, order: Order) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._limit_s):
                said, failed = await process.communicate(msgspec.json.encode(order))
            return msgspec.json.decode(said, type=Answer)
        except TimeoutError as exc:
            raise Unavailable(f"{FAILED}: it takes longer than {self._limit_s:.0f} s.") from exc
        except msgspec.DecodeError as exc:
            raise Unavailable(f"{FAILED}: {_why(process.returncode or 0, failed)}.") from exc
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
