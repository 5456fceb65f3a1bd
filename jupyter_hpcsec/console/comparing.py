"""Has a proposed policy compared with the one in force, in a process of its own: one at a time, for a bounded time."""

import asyncio
import contextlib
import sys

import msgspec

from jupyter_hpcsec.console.compare_worker import Answer, Order
from jupyter_hpcsec.errors import Refused, Unavailable

LIMIT_S = 120.0
MODULE = "jupyter_hpcsec.console.compare_worker"


class Comparing:
    """One comparison at a time."""

    def __init__(self, *, limit_s: float = LIMIT_S, module: str = MODULE) -> None:
        self._limit_s, self._module = limit_s, module
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
            *(sys.executable, "-I", "-m", self._module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._limit_s):
                said, _ = await process.communicate(msgspec.json.encode(order))
            return msgspec.json.decode(said, type=Answer)
        except (TimeoutError, msgspec.DecodeError) as exc:
            raise Unavailable("The policy could not be compared: it takes more time or memory than it may.") from exc
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
