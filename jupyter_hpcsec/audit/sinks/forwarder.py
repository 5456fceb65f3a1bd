"""Sends the record's events to one sink: at least once, in order, from its cursor on, for as long as it takes.

The cursor moves after the receiver has acknowledged and never before; what was sent and not acknowledged is sent again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from tenacity.wait import wait_base

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks import cursor as cursors
from jupyter_hpcsec.audit.sinks.items import FULL_LOOKS, Item, Rejected, Source, Target
from jupyter_hpcsec.errors import HpcsecError, printable

POLL_S = 0.5
WAIT = wait_random_exponential(multiplier=1, max=60)
"""Between attempts, in seconds: random, up to 1, 2, 4 ... 60."""
LAST_S = 20.0
"""What a stop gives a step that is on its way, and then the receiver to acknowledge what was sent."""


class Forwarder:
    """Serves the sink ``name``. ``clock`` gives monotonic seconds, ``now`` Unix seconds."""

    def __init__(
        self,
        name: str,
        target: Target,
        source: Source,
        state: Path,
        *,
        batch: int,
        with_values: bool,
        log: logging.Logger,
        wait: wait_base = WAIT,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._target, self._source = name, target, source
        self._path, self._aside = cursors.path_of(state, name), state / f"{name}.rejected.jsonl"
        self._batch, self._with_values, self._log, self._wait = batch, with_values, log, wait
        self._clock, self._now = clock, now
        self._cursor: cursors.Cursor | None = None
        self._at = 0
        self._since = 0.0
        self._seen: object = None
        self._looks = 0

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            while True:
                async for attempt in AsyncRetrying(
                    wait=self._wait, retry=retry_if_exception_type(HpcsecError), before_sleep=self._failed
                ):
                    with attempt:
                        await self._whole_step()
        finally:
            await self._stop()

    async def _whole_step(self) -> None:
        """A step that a stop does not cut at once: what was just acknowledged shall not be sent again."""
        step = asyncio.ensure_future(self._step())
        try:
            await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.wait({step}, timeout=LAST_S)
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
            raise

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(LAST_S):
                if self._cursor is not None and self._at > self._cursor.next:
                    await self._confirm()
        except (HpcsecError, TimeoutError) as error:
            self._log.warning("sink %s: the last events are sent again at the next start: %s", self.name, error)
        finally:
            await self._target.close()

    async def _step(self) -> None:
        """One batch, or one look that found nothing."""
        try:
            if self._cursor is None:
                self._cursor = await asyncio.to_thread(self._take_up)
                self._at = self._cursor.next
            items = await self._next()
            if items:
                self._note_missing(items[0].leaf - self._at)
                self._since = self._since or self._clock()
                self._set_aside(await self._target.send(items))
                self._at = items[-1].leaf + 1
            await self._confirm_in_time()
        except HpcsecError:
            self._at, self._since = self._cursor.next if self._cursor else 0, 0.0
            self._seen = None
            await self._target.close()
            raise
        if not items:
            await asyncio.sleep(POLL_S)

    def _take_up(self) -> cursors.Cursor:
        cursor = cursors.take_up(self._path, str(self._source.verifier), self._source.first(), self._source.durable())
        cursors.save(self._path, cursor)  # from here on its lag is seen, sent or not
        return cursor

    async def _next(self) -> list[Item]:
        state = await asyncio.to_thread(self._source.state)
        if state == self._seen and self._looks < FULL_LOOKS:
            self._looks += 1
            return []
        self._looks = 0
        items = await asyncio.to_thread(self._source.take, self._at, self._batch, with_values=self._with_values)
        self._seen = None if items else state
        return items

    async def _confirm_in_time(self) -> None:
        assert self._cursor is not None  # noqa: S101 - for the type checker
        waiting = self._at - self._cursor.next
        is_due = self._clock() - self._since >= self._target.settle_s
        if waiting and (waiting >= self._target.window or is_due):
            await self._confirm()

    async def _confirm(self) -> None:
        assert self._cursor is not None  # noqa: S101 - for the type checker
        at = self._at
        await self._target.confirm()
        if self._cursor.error:
            self._log.info("sink %s goes on", self.name)
        self._save(replace(self._cursor, next=at, error="", since=0))
        self._since = 0.0

    def _note_missing(self, number: int) -> None:
        """The next event is not the one that was due: retention was faster than this sink."""
        if number and self._cursor is not None:
            self._log.error("sink %s: %d events were removed from the record before they were sent", self.name, number)
            self._save(replace(self._cursor, next=self._at + number, missed=self._cursor.missed + number))

    def _set_aside(self, rejected: list[Rejected]) -> None:
        """What the receiver will never take is kept beside the cursor; the rest goes on."""
        if not rejected or self._cursor is None:
            return
        with files.translated(self._aside):
            files.append(self._aside, b"".join(each.item.data + b"\n" for each in rejected))
        first = rejected[0]
        self._log.error(
            "sink %s refuses %d events, the first is %d: %s; they are in %s",
            self.name,
            len(rejected),
            first.item.leaf,
            printable(first.reason),
            self._aside,
        )
        self._save(replace(self._cursor, rejected=self._cursor.rejected + len(rejected)))

    def _failed(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        reason = error.reason if isinstance(error, HpcsecError) else str(error)
        pause = attempt.next_action.sleep if attempt.next_action else 0.0
        if self._cursor is None or self._cursor.error != reason:
            self._log.error("sink %s waits, and tries again in %.0f s at first: %s", self.name, pause, reason)
        if self._cursor is None:
            return
        since = self._cursor.since or int(self._now())
        try:
            self._save(replace(self._cursor, error=reason, since=since))
        except HpcsecError as exc:  # a full disk; the log has it, and the lag shows
            self._log.error("sink %s: its cursor can't be written: %s", self.name, exc)

    def _save(self, cursor: cursors.Cursor) -> None:
        cursors.save(self._path, cursor)
        self._cursor = cursor
