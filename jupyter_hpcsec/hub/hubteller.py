"""The hub's telling: its events to the gateway's record, by the admin socket.

What is about to be granted is recorded first (``keep``) or not granted. What has happened already (``note``) waits in a
bounded queue until the gateway is there; what finds no room is counted, and the count is told.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from jupyter_hpcsec.audit.events import Event, kind_of
from jupyter_hpcsec.audit.kinds.hub import HubLost
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.tunnel.admin import AdminClient

TRIES, PAUSE_S = 10, 0.5
"""How often, and how far apart, a gateway that does not answer is asked to record what somebody waits for."""
AGAIN_S = 5.0
QUEUE = 1000


class Recorder(Protocol):
    """Of ``AdminClient``, what is needed."""

    async def hub_event(self, event: Event) -> None:
        """Have an event recorded."""


class HubTeller:
    """Tells one gateway. ``sleep`` is asyncio's but in tests."""

    def __init__(
        self, gateway: Recorder, *, most: int = QUEUE, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._gateway, self._most, self._sleep = gateway, most, sleep
        self._queue: deque[Event] = deque()
        self._lost: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def keep(self, event: Event) -> None:
        """On record when this returns; ``Unavailable`` where it can't be."""
        for left in reversed(range(TRIES)):
            try:
                return await self._gateway.hub_event(event)
            except Unavailable:
                if not left:
                    raise
            await self._sleep(PAUSE_S)
        raise AssertionError("BUG: neither recorded nor refused")

    def note(self, event: Event) -> None:
        """Have it recorded in its turn. Never blocks, never raises."""
        if len(self._queue) >= self._most:
            self._lost[kind_of(event)] += 1
            return
        self._queue.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tell_all())

    async def told(self) -> None:
        """Return once all that was noted is on record; the caller limits the time."""
        if self._task:
            await self._task

    async def _tell_all(self) -> None:
        while self._queue or self._lost:
            if self._lost:
                kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._lost.items()))
                self._queue.appendleft(HubLost(lost=self._lost.total(), kinds=kinds))
                self._lost.clear()
            try:
                await self._gateway.hub_event(self._queue[0])
            except Malformed:  # a gateway of another version, which will not know it later either
                self._lost[kind_of(self._queue.popleft())] += 1
                await self._sleep(AGAIN_S)
            except HpcsecError:
                await self._sleep(AGAIN_S)
            else:
                self._queue.popleft()


_tellers: dict[Path, HubTeller] = {}


def teller_for(socket: Path) -> HubTeller:
    """The one teller of this process for a gateway."""
    if socket not in _tellers:
        _tellers[socket] = HubTeller(AdminClient(socket))
    return _tellers[socket]
