"""The agent's telling: events of the node are numbered, spooled, sent in batches, and forgotten once acknowledged.

One batch is on its way at a time, one a second at most: whoever floods fills the spool and nothing else. What finds no
room is counted, and the count is told as soon as there is room. It decides nothing about what an event may say; the
gateway does (``ear``).
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from jupyter_hpcsec.audit.events import Told, kind_of
from jupyter_hpcsec.audit.kinds.node import NodeLost
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.spool import Spool
from jupyter_hpcsec.tunnel.tls import MessageStream

BATCH_BYTES = m.MAX_MESSAGE - 4096
EVENT_LIMIT = BATCH_BYTES - 1024
"""Bytes of one event; what a type lets in is far less, but for the texts of the widest ones."""
LINGER_S = 1.0
"""Between two batches."""
AGAIN_S = 5.0
"""Until a batch that the gateway could not record is sent again."""

By = Literal["agent", "server"]


class Teller:
    """Tells the gateway. ``clock_ns`` is the node's wall clock, of which nobody believes anything.

    ``told`` and ``lost`` count events since the start; ``is_sending``: there is a gateway to hear them.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spool, self._clock_ns, self._sleep = spool, clock_ns, sleep
        self._boot = max(1, clock_ns() // 1000)
        self._seq = self.acked = 0
        self._uncounted: Counter[str] = Counter()
        self.lost = 0
        self.is_sending = False
        self._seen: m.Seen | None = None
        self._more, self._answered, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room = asyncio.Event()
        self._empty.set()
        self._room.set()

    @property
    def told(self) -> int:
        """The number of the last event."""
        return self._seq

    def tell(self, event: Told, by: By = "agent") -> None:
        """Have an event told. Never blocks, never raises; what finds no room is counted."""
        self._tell_lost()
        if self._uncounted or not self._put(event, by):
            self.lose(kind_of(event))

    def show(self, seen: m.Seen) -> None:
        """Have the gateway see what a watch sees now. It is not recorded; one that comes later replaces it."""
        self._seen = msgspec.structs.replace(seen, job="")
        self._more.set()

    def lose(self, kind: str, count: int = 1) -> None:
        """So many events of a kind can't be told; that they were there is."""
        known = kind if kind in self._uncounted or len(self._uncounted) < 16 else "others"  # kinds fit into a sentence
        self._uncounted[known] += count
        self.lost += count
        self._tell_lost()

    def _tell_lost(self) -> None:
        if self._uncounted:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._uncounted.items()))
            if self._put(NodeLost(lost=self._uncounted.total(), kinds=kinds), "agent"):
                self._uncounted.clear()

    def _put(self, event: Told, by: By) -> bool:
        encoded = msgspec.json.encode(event)
        at = min(max(0, self._clock_ns() // 1_000_000), m.LAST_MILLISECOND)
        item = msgspec.json.encode(m.Item(seq=self._seq + 1, at=at, by=by, event=msgspec.Raw(encoded)))
        if len(encoded) > EVENT_LIMIT or not self._spool.append(self._seq + 1, item):
            return False
        self._seq += 1
        self._empty.clear()
        if self._spool.is_crowded:
            self._room.clear()
        self._more.set()
        return True

    async def send(self, stream: MessageStream) -> None:
        """Send what is there and what comes, until cancelled or the connection is lost (``HpcsecError``)."""
        while True:
            await self._more.wait()
            if self._seen is not None:
                seen, self._seen = self._seen, None
                await stream.send(seen)
            items = self._spool.first(m.MAX_EVENTS, BATCH_BYTES)
            if not items:
                self._more.clear()
                continue
            before = self.acked
            self._answered.clear()
            decoded = [msgspec.json.decode(item, type=m.Item) for item in items]
            await stream.send(m.Events(boot=self._boot, events=decoded))
            await self._answered.wait()
            await self._sleep(LINGER_S if self.acked > before else AGAIN_S)

    def heard(self, message: m.EventsAcked) -> None:
        """The gateway has them."""
        if message.boot != self._boot or not self.acked <= message.seq <= self._seq:
            return  # an answer to what this agent never said
        self.acked = message.seq
        self._spool.drop(message.seq)
        self._tell_lost()
        if not len(self._spool):
            self._empty.set()
        if not self._spool.is_crowded:
            self._room.set()
        self._answered.set()

    async def room(self) -> None:
        """Return once so little waits that who can wait need not."""
        await self._room.wait()

    async def emptied(self) -> None:
        """Return once the gateway has all that was told; the caller limits the time."""
        await self._empty.wait()

    async def send_over(self, stream: MessageStream) -> None:
        """As ``send``; a connection that is lost ends it, which whoever reads from it tells."""
        self.is_sending = True
        try:
            with contextlib.suppress(HpcsecError):
                await self.send(stream)
        finally:
            self.is_sending = False

    def close(self) -> None:
        """Give the spool up."""
        self._spool.close()
