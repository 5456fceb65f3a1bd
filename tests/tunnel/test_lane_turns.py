"""A lane's turns on the event loop: one at a time, also when there is always more; and lanes that wait for a socket."""

import asyncio
import socket

import pytest

from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.frames import DONE_FRAME, EOF_FRAME, data_header, open_frame, reset_frame
from jupyter_hpcsec.tunnel.lane import EVENTS, Lane
from jupyter_hpcsec.tunnel.stream import StreamState
from tests.tunnel.test_lane import Owner, read_all
from tests.tunnel.tlspair import settle, tls_pair


def frame(data: bytes) -> bytes:
    return data_header(len(data)) + data


async def test_there_is_one_turn_to_come_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = tls_pair()
    turns: list[Lane] = []
    monkeypatch.setattr(Lane, "_receive", lambda lane: turns.append(lane))
    lane = Lane(server, loop=asyncio.get_running_loop(), owner=Owner(), pool=BufferPool(), state=StreamState())
    for _ in range(10):
        lane._go_on_soon()
    await settle()
    assert turns == [lane]
    lane._go_on_soon()
    await settle()
    assert turns == [lane, lane]
    lane.close("test over")
    client.close()


async def test_a_turn_is_short_however_small_the_frames() -> None:
    client, server = tls_pair()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    owner = Owner(lambda lane, _target: lane.attach(ours))
    lane = Lane(server, loop=asyncio.get_running_loop(), owner=owner, pool=BufferPool(), state=StreamState())
    number = 20 * EVENTS
    before = lane.bytes_in
    client.write(open_frame("server") + frame(b"x") * number + EOF_FRAME)
    sizes = []
    async with asyncio.timeout(60):
        got = 0
        while got < number:
            await asyncio.sleep(0)
            sizes.append(lane.bytes_in - before)
            before = lane.bytes_in
            try:
                got += len(theirs.recv(1 << 20))
            except BlockingIOError:
                client.flush()
    assert sum(sizes) == number
    assert max(sizes) <= 3 * EVENTS  # a few callbacks may fall between two looks, not all of the frames
    assert await read_all(theirs) == b""
    lane.close("test over")
    for each in (client, theirs):
        each.close()


@pytest.mark.parametrize("is_refused", [True, False])
async def test_a_held_stream_keeps_every_byte_until_its_socket_is_there(is_refused: bool) -> None:
    client, server = tls_pair()
    owner = Owner(lambda lane, _target: lane.hold())
    lane = Lane(server, loop=asyncio.get_running_loop(), owner=owner, pool=BufferPool(), state=StreamState())
    client.write(open_frame("server") + frame(b"question") + EOF_FRAME)
    await settle()
    assert lane.bytes_in == 0
    view = memoryview(bytearray(65536))
    if is_refused:
        lane.refuse("server busy")
        client.write(reset_frame("") + DONE_FRAME)
    else:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        lane.attach(ours)
        assert await asyncio.wait_for(read_all(theirs), 60) == b"question"
        theirs.close()
        client.write(DONE_FRAME)
    await asyncio.wait_for(owner.idle.get(), 60)
    assert client.read_into(view)
    assert lane.is_idle and not lane.is_faulty and lane._held_in is None
    lane.close("test over")
    client.close()


async def test_a_held_lane_may_be_cut() -> None:
    client, server = tls_pair()
    owner = Owner(lambda lane, _target: lane.hold())
    lane = Lane(server, loop=asyncio.get_running_loop(), owner=owner, pool=BufferPool(), state=StreamState())
    client.write(open_frame("server") + frame(b"question"))
    await settle()
    lane.close("revoked")
    await settle()
    assert owner.closed.get_nowait() == "revoked"
    client.close()
