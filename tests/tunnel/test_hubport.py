"""The node's socket for the Hub API: who may use it, how many at once, and that nothing is left of a failed dial."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel import hubport
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.frames import open_frame
from jupyter_hpcsec.tunnel.hubport import AT_ONCE, HubApiPort
from jupyter_hpcsec.tunnel.peer import PeerCredentials
from tests.tunnel.tlspair import descriptors, settle, tls_pair


class Made:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.gateways: list[TlsConnection] = []
        self.fails = False
        self.waits: asyncio.Event | None = None
        self.port = HubApiPort(path, dial=self.dial, pool=BufferPool(), log=logging.getLogger("test.hubport"))
        self.port.listen()

    async def dial(self) -> TlsConnection:
        if self.waits:
            await self.waits.wait()
        if self.fails:
            raise Unavailable("the gateway is away")
        client, server = tls_pair()
        self.gateways.append(server)
        return client

    async def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(str(self.path))
        await settle()
        return sock

    def close(self) -> None:
        self.port.close()
        for each in self.gateways:
            each.close()


@contextlib.asynccontextmanager
async def port(directory: Path) -> AsyncIterator[Made]:
    made = Made(directory / "hub.sock")
    try:
        yield made
    finally:
        made.close()
        await settle()


async def ended(sock: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), 60) == b""
    return True


async def test_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with port(tmp_path) as made:
        real = hubport.peer_credentials
        monkeypatch.setattr(
            hubport,
            "peer_credentials",
            lambda sock: real(sock) if sock is made.port._listener else PeerCredentials(1, 65534, 65534),
        )
        sock = await made.connect()
        assert await ended(sock)
        assert not made.gateways
        assert "[hub-api.peer]" in caplog.text
        sock.close()


async def test_each_connection_dials_a_lane_of_its_own(tmp_path: Path) -> None:
    async with port(tmp_path) as made:
        socks = [await made.connect() for _ in range(2)]
        for sock in socks:
            sock.send(b"GET / HTTP/1.1\r\n\r\n")
        await settle()
        view = memoryview(bytearray(65536))
        for gateway in made.gateways:
            got = bytes(view[: gateway.read_into(view)])
            assert got.startswith(open_frame("hub-api")) and got.endswith(b"GET / HTTP/1.1\r\n\r\n")
        made.gateways[0].close()
        assert await ended(socks[0])
        for sock in socks:
            sock.close()


async def test_too_many_at_once_and_a_place_is_free_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with port(tmp_path) as made:
        made.waits = asyncio.Event()
        held = [await made.connect() for _ in range(AT_ONCE)]
        refused = await made.connect()
        assert await ended(refused)
        assert "[hub-api.too-many]" in caplog.text
        made.waits.set()
        async with asyncio.timeout(60):
            while len(made.gateways) < AT_ONCE:
                await asyncio.sleep(0.01)
        made.gateways[0].close()
        async with asyncio.timeout(60):
            while made.port._held.held == AT_ONCE:
                await asyncio.sleep(0.01)
        held.append(await made.connect())
        await settle()
        assert len(made.gateways) == AT_ONCE + 1
        for sock in (*held, refused):
            sock.close()


async def test_a_gateway_that_is_away_and_a_close_in_between_leave_nothing(tmp_path: Path) -> None:
    before = descriptors()
    made = Made(tmp_path / "hub.sock")
    made.fails = True
    sock = await made.connect()
    assert await ended(sock)
    assert made.port._held.held == 0
    made.waits = asyncio.Event()
    waiting = await made.connect()
    made.close()
    await settle()
    assert await ended(waiting)
    for each in (sock, waiting):
        each.close()
    assert descriptors() == before


async def test_without_descriptors_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hubport, "PAUSE_S", 0.05)
    async with port(tmp_path) as made:
        real = made.port._listener
        assert real

        class Empty:
            def fileno(self) -> int:
                return real.fileno()

            def accept(self) -> None:
                raise OSError(24, "Too many open files")

        made.port._listener = Empty()  # type: ignore[assignment]
        began = asyncio.get_running_loop().time()
        sock = await made.connect()
        async with asyncio.timeout(60):
            while len(caplog.records) < 3:
                await asyncio.sleep(0.01)
        most = (asyncio.get_running_loop().time() - began) / hubport.PAUSE_S + 2
        assert len(caplog.records) <= most
        made.port._listener = real
        async with asyncio.timeout(60):
            while not made.gateways:
                await asyncio.sleep(0.01)
        sock.close()


async def test_the_gateway_can_open_nothing_on_these_lanes(tmp_path: Path) -> None:
    async with port(tmp_path) as made:
        sock = await made.connect()
        made.gateways[0].write(open_frame("server"))
        assert await ended(sock)
        assert made.port._held.held == 0
        sock.close()
