"""One verification of the record at a time, in a process of its own: begun by somebody, watched by all, and on record.

That it begins is an event before it does, and so is its outcome, in the name of who began it.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.kinds.oversight import AuditVerified, AuditVerifyBegun
from jupyter_hpcsec.console.verify_worker import Order, Outcome, Progress
from jupyter_hpcsec.console.views.integrity import Wrong, percent, summary, wrong
from jupyter_hpcsec.console.workers import how_it_ended
from jupyter_hpcsec.errors import HpcsecError, Refused

LIMIT_S = 3600.0
"""A verification that takes longer is ended, and says so."""
LINE_LIMIT = 1 << 20
COMMAND = (sys.executable, "-I", "-m", "jupyter_hpcsec.console.verify_worker")
NONE_YET = Outcome()

State = Literal["running", "held", "wrong", "failed", "stopped"]
Tell = Callable[[Event, str], Awaitable[None]]
"""``tell(event, on_behalf)``: durable when it returns; ``HpcsecError``."""


@dataclass(frozen=True)
class Verification:
    """The one that runs, or the last one. Times are Unix seconds; ``unrecorded`` says why its outcome is no event."""

    by: str
    began: float
    state: State
    done: int = 0
    of: int = 0
    ended: float = 0.0
    outcome: Outcome = NONE_YET
    findings: tuple[Wrong, ...] = ()
    unrecorded: str = ""

    @property
    def percent(self) -> int:
        """How far it is."""
        return percent(self.done, self.of)


class Verifying:
    """``tell`` records events in somebody's name."""

    def __init__(
        self, tell: Tell, log: logging.Logger, *, limit_s: float = LIMIT_S, command: Sequence[str] = COMMAND
    ) -> None:
        self._tell, self._log, self._limit_s, self._command = tell, log, limit_s, command
        self._task: asyncio.Task[None] | None = None
        self._starting = False
        self.last: Verification | None = None

    @property
    def is_running(self) -> bool:
        """Whether one runs."""
        return self._starting or (self._task is not None and not self._task.done())

    async def begin(self, order: Order, by: str, size: int) -> None:
        """Begin one. ``Refused`` while another one runs; ``Unavailable`` where it can't be recorded."""
        if self.is_running:
            raise Refused("verify.running", "The record is being verified already: watch that one.")
        self._starting = True
        try:
            await self._tell(AuditVerifyBegun(size=size), by)
            self.last = Verification(by, time.time(), "running", of=size)
            self._task = asyncio.create_task(self._run(order))
            await asyncio.sleep(0)  # its first step: one that is cancelled before would have no end on record
        finally:
            self._starting = False

    async def stop(self) -> None:
        """End the one that runs, if one does. Its outcome is ``stopped``."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _now(self) -> Verification:
        if self.last is None:
            raise TypeError("BUG: a verification that nobody began")
        return self.last

    async def _run(self, order: Order) -> None:
        state: State = "stopped"
        outcome = Outcome(error="It was stopped before it was done.")
        try:
            async with asyncio.timeout(self._limit_s):
                outcome = await self._work(order)
            state = "failed" if outcome.error else "wrong" if outcome.total else "held"
        except TimeoutError:
            outcome = Outcome(error=f"It took longer than {self._limit_s:.0f} s and was ended.")
        except OSError as error:
            state, outcome = "failed", Outcome(error=f"It could not be started: {error}")
        finally:
            found = tuple(
                wrong(each.what, each.where, each.sentence, each.first, each.last) for each in outcome.findings
            )
            done = replace(self._now(), state=state, ended=time.time(), outcome=outcome, findings=found)
            # on record first, then shown
            self.last = replace(done, unrecorded=await asyncio.shield(self._record(done)))

    async def _record(self, done: Verification) -> str:
        """That it is over; why not, where that can't be recorded."""
        first = done.findings[0] if done.findings else None
        event = AuditVerified(
            state=done.state,
            size=done.outcome.size,
            root=done.outcome.root,
            checkpoints=done.outcome.checkpoints,
            findings=done.outcome.total,
            first=(first.first or 0) if first else 0,
            last=(first.last or first.first or 0) if first else 0,
            reason=summary(done.findings, done.outcome.total) or done.outcome.error,
        )
        try:
            await self._tell(event, done.by)
        except HpcsecError as error:
            self._log.warning("the outcome of a verification is not on record: %s (%s)", error, event)
            return str(error)
        return ""

    async def _work(self, order: Order) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101 - for the type checker
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
            while (line := await process.stdout.readline()).endswith(b"\n"):  # else it ended, be it in mid-line
                if not line.startswith(b'{"done":'):
                    return msgspec.json.decode(line, type=Outcome)
                at = msgspec.json.decode(line, type=Progress)
                self.last = replace(self._now(), done=at.done, of=at.of)
            return Outcome(
                error=f"{how_it_ended(await process.wait())} before it was done; the console's log says more."
            )
        except (ValueError, msgspec.DecodeError, ConnectionError) as error:
            return Outcome(error=f"Its answer can't be read: {error}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
