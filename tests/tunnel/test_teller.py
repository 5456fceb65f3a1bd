"""The agent's telling: numbered without a gap, sent in order, kept until acknowledged, what has no room is counted."""

import asyncio
import contextlib
import os
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.audit.kinds.node import NodeLost, NodeTerminalOpened
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.spool import Spool
from jupyter_hpcsec.tunnel.teller import Teller


class Wire:
    """A control connection that keeps what is sent on it."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.sent: list[m.Events] = []
        self.came = asyncio.Event()
        self.breaks = breaks

    async def send(self, message: Any) -> None:
        if self.breaks:
            raise Unavailable("gone")
        m.decode_from_agent(m.encode(message)[m.PREFIX :])
        self.sent.append(message)
        self.came.set()

    async def next(self) -> m.Events:
        async with asyncio.timeout(60):
            await self.came.wait()
        self.came.clear()
        return self.sent[-1]


def make(size: int = 1 << 20, most: int = 1000) -> Teller:
    async def no_pause(_: float) -> None:
        await asyncio.sleep(0)

    return Teller(
        Spool(os.memfd_create("test"), size, most), clock_ns=lambda: 1_700_000_000_000_000_000, sleep=no_pause
    )


@contextlib.asynccontextmanager
async def sending(teller: Teller, wire: Wire) -> Any:
    task = asyncio.create_task(teller.send(wire))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def opened(message: m.Events) -> list[str]:
    return [msgspec.json.decode(item.event)["terminal"] for item in message.events]


async def test_what_has_no_room_is_counted_and_told_as_soon_as_there_is() -> None:
    teller = make(most=3)
    for number in range(10):
        teller.tell(NodeTerminalOpened(terminal=str(number)))
    assert (teller.told, teller.lost) == (3, 7)
    wire = Wire()
    async with sending(teller, wire):
        first = await wire.next()
        assert opened(first) == ["0", "1", "2"]
        teller.heard(m.EventsAcked(boot=first.boot, seq=3))
        second = await wire.next()
    (item,) = second.events
    lost = msgspec.json.decode(item.event, type=NodeLost)
    assert (item.seq, lost.lost, lost.kinds) == (4, 7, "node.terminal-opened 7")


async def test_many_kinds_of_loss_fit_into_a_sentence() -> None:
    teller = make(most=1)
    teller.tell(NodeTerminalOpened())
    for number in range(500):
        teller.lose(f"kind.{number}")
    teller.heard(m.EventsAcked(boot=teller._boot, seq=1))
    (record,) = teller._spool.first(10, 10**6)
    item = msgspec.json.decode(record, type=m.Item)
    assert msgspec.json.decode(item.event, type=NodeLost).lost == 500


async def test_what_was_not_acknowledged_is_sent_again_on_the_next_connection() -> None:
    teller = make()
    for number in range(3):
        teller.tell(NodeTerminalOpened(terminal=str(number)))
    first, second = Wire(), Wire()
    async with sending(teller, first):
        before = await first.next()
    async with sending(teller, second):
        assert (await second.next()).events == before.events
        teller.heard(m.EventsAcked(boot=before.boot, seq=2))
        again = await second.next()
        assert [item.seq for item in again.events] == [3]
        teller.heard(m.EventsAcked(boot=before.boot, seq=3))
        async with asyncio.timeout(60):
            await teller.emptied()


async def test_an_answer_to_what_was_never_sent_changes_nothing() -> None:
    teller = make()
    teller.tell(NodeTerminalOpened(terminal="0"))
    for boot, seq in ((teller._boot, 5), (teller._boot + 1, 1)):
        teller.heard(m.EventsAcked(boot=boot, seq=seq))
    assert teller.acked == 0


async def test_a_batch_fits_into_a_message() -> None:
    teller = make()
    for _ in range(200):
        teller.tell(NodeTerminalOpened(terminal="\U0001f600" * 255, reason="\U0001f600" * 400))
    wire, got = Wire(), 0
    async with sending(teller, wire):
        while got < 200:
            message = await wire.next()
            assert len(message.events) <= m.MAX_EVENTS
            assert [item.seq for item in message.events] == list(range(got + 1, got + 1 + len(message.events)))
            got += len(message.events)
            teller.heard(m.EventsAcked(boot=message.boot, seq=got))


async def test_a_lost_connection_ends_the_sending_quietly() -> None:
    teller = make()
    teller.tell(NodeTerminalOpened())
    async with asyncio.timeout(60):
        await teller.send_over(Wire(breaks=True))  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await teller.send(Wire(breaks=True))  # type: ignore[arg-type]
    teller.close()
