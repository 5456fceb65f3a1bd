"""The pump: bytes, ends and resets pass unchanged both ways, lanes are used again, and nothing is kept."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from jupyter_hpcsec.tunnel import buffers
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.frames import EOF_FRAME, data_header, open_frame
from jupyter_hpcsec.tunnel.lane import Lane
from jupyter_hpcsec.tunnel.stream import Side, StreamState
from tests.tunnel.tlspair import tls_pair


class Owner:
    """Records what lanes say; serves opened streams with ``server``."""

    def __init__(self, serve: Callable[[Lane, str], None] | None = None) -> None:
        self.serve = serve
        self.idle: asyncio.Queue[Lane] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.targets: list[str] = []

    def lane_idle(self, lane: Lane) -> None:
        self.idle.put_nowait(lane)

    def lane_opened(self, lane: Lane, target: str) -> None:
        self.targets.append(target)
        if self.serve:
            self.serve(lane, target)

    def lane_closed(self, lane: Lane, reason: str) -> None:
        self.closed.put_nowait(reason)


class Ends:
    """A gateway lane and an agent lane, joined; ``server`` gets the agent's end of each stream."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.agent_tls, self.gateway_tls = tls_pair()
        self.gateway_owner = Owner()
        self.agent_owner = Owner(self._serve)
        self.pool = BufferPool()
        self.gateway = Lane(
            self.gateway_tls,
            loop=loop,
            owner=self.gateway_owner,
            pool=self.pool,
            state=StreamState(local=Side.IDLE, remote=Side.NEW),
        )
        self.agent = Lane(
            self.agent_tls,
            loop=loop,
            owner=self.agent_owner,
            pool=self.pool,
            state=StreamState(local=Side.NEW, remote=Side.IDLE),
        )
        self.agent.announce()

    def _serve(self, lane: Lane, target: str) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        lane.attach(ours)
        self.accepted.put_nowait(theirs)

    async def stream(self) -> tuple[socket.socket, socket.socket]:
        """A stream over the lane once it is idle: (the browser's end, the server's end)."""
        lane = await self.gateway_owner.idle.get()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        lane.open("server", ours)
        return theirs, await self.accepted.get()

    def close(self) -> None:
        self.gateway.close("test over")
        self.agent.close("test over")


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    pair = Ends()
    yield pair
    pair.close()


async def read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    parts = []
    while data := await loop.sock_recv(sock, 1 << 16):
        parts.append(data)
    return b"".join(parts)


async def test_a_stream_passes_both_ways_with_half_closes(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    browser, server = await ends.stream()
    await loop.sock_sendall(browser, b"question")
    browser.shutdown(socket.SHUT_WR)
    assert await read_all(server) == b"question"
    await loop.sock_sendall(server, b"answer after the half-close")
    server.shutdown(socket.SHUT_WR)
    assert await read_all(browser) == b"answer after the half-close"
    assert ends.agent_owner.targets == ["server"]


async def test_a_server_may_speak_first(ends: Ends) -> None:
    browser, server = await ends.stream()
    await asyncio.get_running_loop().sock_sendall(server, b"220 hello")
    assert await asyncio.get_running_loop().sock_recv(browser, 100) == b"220 hello"


async def test_a_lane_is_used_again_and_keeps_no_byte(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    for number in range(50):
        browser, server = await ends.stream()
        message = f"stream {number}".encode()
        await loop.sock_sendall(browser, message)
        assert await loop.sock_recv(server, 100) == message
        (browser if number % 2 else server).close()
        assert await read_all(server if number % 2 else browser) == b""
        (server if number % 2 else browser).close()
    assert len(ends.agent_owner.targets) == 50
    assert ends.gateway_owner.closed.empty()


@pytest.mark.parametrize("to_server", [True, False])
async def test_many_bytes_pass_unchanged_to_a_slow_reader(ends: Ends, to_server: bool) -> None:
    loop = asyncio.get_running_loop()
    browser, server = await ends.stream()
    source, sink = (browser, server) if to_server else (server, browser)
    data = os.urandom(8 << 20)

    async def send() -> None:
        await loop.sock_sendall(source, data)
        source.shutdown(socket.SHUT_WR)

    sending = asyncio.create_task(send())
    digest, size = hashlib.sha256(), 0
    while chunk := await loop.sock_recv(sink, 100_000):
        digest.update(chunk)
        size += len(chunk)
        if size % 7 == 0:
            await asyncio.sleep(0.001)
    await sending
    assert size == len(data)
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_both_directions_at_once(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    browser, server = await ends.stream()
    up, down = os.urandom(4 << 20), os.urandom(4 << 20)

    async def send(sock: socket.socket, data: bytes) -> None:
        await loop.sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)

    _, _, got_down, got_up = await asyncio.gather(
        send(browser, up), send(server, down), read_all(browser), read_all(server)
    )
    assert got_up == up
    assert got_down == down


async def test_a_reader_that_goes_away_stops_the_sender_and_frees_the_lane(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    browser, server = await ends.stream()
    sending = asyncio.create_task(loop.sock_sendall(server, bytes(64 << 20)))
    await loop.sock_recv(browser, 1000)
    browser.close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        await sending
    server.close()
    again, other = await ends.stream()
    await loop.sock_sendall(again, b"next")
    assert await loop.sock_recv(other, 100) == b"next"


async def test_a_refused_stream_ends_the_connection_and_frees_the_lane(ends: Ends) -> None:
    ends.agent_owner.serve = lambda lane, _target: lane.refuse("no such target")
    lane = await ends.gateway_owner.idle.get()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    lane.open("app/x", ours)
    assert await read_all(theirs) == b""
    assert await ends.gateway_owner.idle.get() is lane


async def test_a_cut_lane_ends_its_stream_at_both_ends(ends: Ends) -> None:
    browser, server = await ends.stream()
    ends.gateway.close("revoked")
    assert await read_all(browser) == b""
    assert await read_all(server) == b""
    assert ends.gateway_owner.closed.get_nowait() == "revoked"


@pytest.mark.parametrize(
    "wrong",
    [
        open_frame("server") + open_frame("server"),
        EOF_FRAME,
        data_header(4) + b"data",
        b"\x09\x00\x00\x00\x00",
        b"\x02\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x09localhost",
    ],
    ids=["open-twice", "eof-while-idle", "data-while-idle", "unknown-type", "huge", "host-as-target"],
)
async def test_a_peer_that_breaks_the_protocol_loses_the_lane(ends: Ends, wrong: bytes) -> None:
    ends.agent.close("taken over by the attacker")  # closes agent's TLS socket as well, so a new pair is needed
    attacker, victim_tls = tls_pair()
    owner = Owner(ends._serve)
    Lane(
        victim_tls,
        loop=asyncio.get_running_loop(),
        owner=owner,
        pool=BufferPool(),
        state=StreamState(),
    )
    attacker.write(wrong)
    reason = await owner.closed.get()
    assert reason
    attacker.close()


async def test_an_idle_lane_holds_no_buffer(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    made = 0
    real = buffers.aligned_buffer

    def counted(size: int) -> memoryview:
        nonlocal made
        made += 1
        return real(size)

    monkeypatch.setattr(buffers, "aligned_buffer", counted)
    for _ in range(20):
        browser, server = await ends.stream()
        await loop.sock_sendall(browser, b"x" * 1000)
        await loop.sock_recv(server, 1000)
        browser.close()
        server.close()
    await ends.gateway_owner.idle.get()
    assert made <= 2
    assert ends.gateway._held_in is None
