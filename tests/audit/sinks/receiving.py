"""What the tests of sinks share: a record that is written to, a target that fails as told, waiting for what is true."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from tenacity import wait_none

from jupyter_hpcsec.audit.kinds.connections import ConnectionRefused
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.sinks import cursor as cursors
from jupyter_hpcsec.audit.sinks.forwarder import Forwarder
from jupyter_hpcsec.audit.sinks.items import Item, Rejected, Source, Target
from jupyter_hpcsec.errors import Unavailable

LIMIT_S = 60.0


class MemoryTarget:
    """Keeps what it is sent. ``fails`` is asked before each call: a sentence makes that call fail."""

    def __init__(self, window: int = 1, settle_s: float = 0.0) -> None:
        self.window, self.settle_s = window, settle_s
        self.got: list[Item] = []
        self.confirmed = 0
        self.fails: Callable[[str], str] = lambda call: ""
        self.refuses: set[int] = set()

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        self._check("send")
        self.got += [item for item in items if item.leaf not in self.refuses]
        return [Rejected(item, "no") for item in items if item.leaf in self.refuses]

    async def confirm(self) -> None:
        self._check("confirm")
        self.confirmed = len(self.got)

    async def close(self) -> None:
        pass

    def _check(self, call: str) -> None:
        if why := self.fails(call):
            raise Unavailable(why)


def add(log: Log, number: int, first: int = 0) -> None:
    receipts = [
        log.record(ConnectionRefused(source="10.0.0.1", reason=f"number {first + i}"), "gateway") for i in range(number)
    ]
    for receipt in receipts:
        receipt.result(LIMIT_S)


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """Which of ``add``'s events these are."""
    words = [str(event.get("reason", "")) for event in events]
    return [int(word.removeprefix("number ")) for word in words if word.startswith("number ")]


async def until(holds: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0.02)
    assert holds(), what


def forwarder(target: Target, source: Source, state: Path, *, batch: int = 10, with_values: bool = False) -> Forwarder:
    return Forwarder(
        "test",
        target,
        source,
        state,
        batch=batch,
        with_values=with_values,
        log=logging.getLogger("test"),
        wait=wait_none(),
    )


@contextlib.asynccontextmanager
async def running(forwarder: Forwarder) -> AsyncIterator[None]:
    task = asyncio.create_task(forwarder.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def cursor(state: Path) -> cursors.Cursor:
    found = cursors.load(cursors.path_of(state, "test"))
    assert found is not None
    return found
