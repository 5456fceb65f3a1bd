"""One session's socket and lanes at the gateway: who may connect, who waits, who is turned away."""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel import session_port
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.frames import DONE_FRAME, open_frame
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.readiness import Poller
from jupyter_hpcsec.tunnel.session_port import HUB_API_STREAMS, SessionPort, sorry
from tests.nobody import NOBODY
from tests.tunnel.tlspair import descriptors, settle, tls_pair

LIMITS = Limits(wait_for_lane_s=30.0)


class Made:
    """A port, what it asked of its owner, and the agent's ends of its lanes."""

    def __init__(self, directory: Path, limits: Limits = LIMITS, uids: Collection[int] | None = None) -> None:
        self.counters = Counters()
        self.demands: list[int] = []
        self.hub_api: list[socket.socket] = []
        self.agents: list[TlsConnection] = []
        self.port = SessionPort(
            "0" * 32,
            directory / "s.sock",
            limits=limits,
            pool=BufferPool(),
            counters=self.counters,
            allowed_uids={os.geteuid()} if uids is None else uids,
            serve_hub_api=self.hub_api.append,
            demand=self.demands.append,
            log=logging.getLogger("test.port"),
        )
        self.port.listen(None)

    async def lane(self, first: bytes = DONE_FRAME) -> TlsConnection:
        client, server = tls_pair()
        self.agents.append(client)
        self.port.add_lane(server)
        client.write(first)
        await settle()
        return client

    async def counted(self, rule: str, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.counters.snapshot().get(rule, 0) < times:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        self.port.close("test over")
        for each in [*self.agents, *self.hub_api]:
            each.close()


@contextlib.asynccontextmanager
async def port(directory: Path, limits: Limits = LIMITS, uids: Collection[int] | None = None) -> AsyncIterator[Made]:
    made = Made(directory, limits, uids)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)


async def browser(made: Made) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    sock.connect(str(made.port.path))
    await settle()
    return sock


async def answer(sock: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65536), 60):
            got += data
    sock.close()
    return got


def test_a_sorry_is_a_complete_answer() -> None:
    head, _, body = sorry("Später.").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head


# Who


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_a_process_of_another_uid_even_if_the_file_lets_it(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        async with port(directory) as made:
            program = (
                "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(60); "
                f"s.connect({str(made.port.path)!r}); s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); print(s.recv(100))"
            )
            outsider = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]

            async def attempt() -> subprocess.CompletedProcess[str]:
                return await asyncio.to_thread(
                    subprocess.run, [*outsider, sys.executable, "-c", program],
                    capture_output=True, text=True, check=False, cwd="/",
                )  # fmt: skip

            directory.chmod(0o755)
            assert "PermissionError" in (await attempt()).stderr  # the mode is the first wall
            made.port.path.chmod(0o666)
            done = await attempt()
            assert done.stdout in ("b''\n", "") and "PermissionError" not in done.stderr
            await made.counted("socket.peer")
            assert f"uid {NOBODY}" in caplog.records[-1].getMessage()
            assert made.port.facts()["streams"] == 0
            own = await browser(made)
            assert made.port.facts()["waiting"] == 1
            own.close()


async def test_an_allowed_uid_is_needed_even_by_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with port(tmp_path, uids={NOBODY}) as made:
        assert await answer(await browser(made)) == b""
        assert made.counters.snapshot() == {"socket.peer": 1}


async def test_a_peer_that_the_kernel_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_sock: socket.socket) -> None:
        raise Unavailable("not known")

    async with port(tmp_path) as made:
        monkeypatch.setattr(session_port, "peer_credentials", unknown)
        assert await answer(await browser(made)) == b""
        assert made.counters.snapshot() == {"socket.peer": 1}


# Waiting


async def test_who_waits_too_long_is_told_in_the_order_of_arrival(tmp_path: Path) -> None:
    async with port(tmp_path, replace(LIMITS, wait_for_lane_s=0.5)) as made:
        silent, asking = await browser(made), await browser(made)
        asking.send(b"GET / HTTP/1.1\r\n\r\n")
        for sock in (silent, asking):  # also the one that has said nothing yet
            assert (await answer(sock)).startswith(b"HTTP/1.1 503 ")
        assert made.counters.snapshot() == {"socket.no-lane": 2}
        assert made.port.facts()["waiting"] == 0


async def test_equal_waits_all_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers of the same instant fire in any order; each must end its own connection."""
    async with port(tmp_path, replace(LIMITS, wait_for_lane_s=0.05)) as made:
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            frozen = loop.time()
            patch.setattr(loop, "time", lambda: frozen)
            socks = []
            for _ in range(9):
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                sock.connect(str(made.port.path))
                socks.append(sock)
            made.port._accept()
        for sock in socks:
            assert (await answer(sock)).startswith(b"HTTP/1.1 503 ")


async def test_too_many_wait(tmp_path: Path) -> None:
    async with port(tmp_path, replace(LIMITS, waiting_connections=2)) as made:
        held = [await browser(made) for _ in range(2)]
        assert b"too many connections wait" in await answer(await browser(made))
        assert made.counters.snapshot() == {"socket.too-many": 1}
        agent = await made.lane()  # whoever waited longest gets it
        held[0].send(b"first")
        await settle()
        view = memoryview(bytearray(65536))
        size = agent.read_into(view)
        assert bytes(view[:size]).endswith(b"first")
        for sock in held:
            sock.close()


async def test_without_descriptors_the_socket_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listening socket stays readable while nothing can be accepted: that must not be a busy loop."""
    monkeypatch.setattr(session_port, "PAUSE_S", 0.05)
    async with port(tmp_path) as made:
        real = made.port._listener

        class Empty:
            def fileno(self) -> int:
                assert real
                return real.fileno()

            def accept(self) -> None:
                raise OSError(24, "Too many open files")

        made.port._listener = Empty()  # type: ignore[assignment]
        began = asyncio.get_running_loop().time()
        sock = await browser(made)
        await made.counted("socket.accept", 3)
        most = (asyncio.get_running_loop().time() - began) / session_port.PAUSE_S + 2
        assert made.counters.snapshot()["socket.accept"] <= most
        made.port._listener = real
        async with asyncio.timeout(60):
            while not made.port.facts()["waiting"]:
                await asyncio.sleep(0.01)
        sock.close()


# Lanes


async def test_a_stream_of_the_node_on_a_lane_of_ours(tmp_path: Path) -> None:
    async with port(tmp_path) as made:
        agent = await made.lane()
        assert made.port.facts()["idle_lanes"] == 1
        agent.write(open_frame("hub-api"))
        await made.counted("lane.direction")
        assert made.port.facts()["lanes"] == made.port.facts()["idle_lanes"] == 0
        sock = await browser(made)  # and nobody is given that lane
        assert made.port.facts()["waiting"] == 1
        sock.close()


async def test_hub_api_streams_are_few_and_come_on_top_of_the_lanes(tmp_path: Path) -> None:
    async with port(tmp_path, replace(LIMITS, lanes_per_session=2)) as made:
        for _ in range(HUB_API_STREAMS):
            await made.lane(open_frame("hub-api"))
        assert len(made.hub_api) == HUB_API_STREAMS
        await made.lane(open_frame("hub-api"))
        await made.counted("lane.hub-api-streams")
        assert len(made.hub_api) == HUB_API_STREAMS
        await made.lane()
        with pytest.raises(Refused, match=r"which is its limit"):
            await made.lane()
        assert made.port._wanted() <= 2  # the agent's own lanes are not among those that it is asked for


async def test_without_descriptors_a_hub_api_stream_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with port(tmp_path) as made:
        client, server = tls_pair()
        made.agents.append(client)
        made.port.add_lane(server)

        def none() -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(socket, "socketpair", none)
        client.write(open_frame("hub-api"))
        await made.counted("lane.no-descriptor")
        assert made.hub_api == []


async def test_a_lane_that_was_idle_for_long_is_not_cut_as_soon_as_it_is_used(tmp_path: Path) -> None:
    async with port(tmp_path, replace(LIMITS, stream_idle_s=60)) as made:
        await made.lane()
        (lane,) = made.port._lanes
        lane.last_active -= 61
        made.port.sweep()
        assert made.port.facts()["lanes"] == 1  # idle lanes may be silent
        sock = await browser(made)
        made.port.sweep()
        assert made.port.facts()["lanes"] == 1
        lane.last_active -= 61
        made.port.sweep()
        assert made.counters.snapshot() == {"lane.stream-idle": 1}
        assert await answer(sock) == b""


async def test_surplus_lanes_go_and_grown_ones_are_replaced(tmp_path: Path) -> None:
    async with port(tmp_path, replace(LIMITS, idle_lanes=1)) as made:
        for _ in range(4):
            await made.lane()
        made.port.sweep()
        assert made.port.facts()["lanes"] == 1
        next(iter(made.port._lanes)).bytes_in = 2 << 20
        made.port.sweep()
        assert made.port.facts()["lanes"] == 0
        assert made.port.facts()["bytes_from_node"] == 2 << 20


async def test_lanes_are_asked_for_once_and_anew_after_a_reconnect(tmp_path: Path) -> None:
    async with port(tmp_path) as made:
        socks = [await browser(made) for _ in range(3)]
        assert made.demands == sorted(set(made.demands))
        made.port.connected()
        assert made.demands[-2] == made.demands[-1] >= 4
        for sock in socks:
            sock.close()


# The end


async def read_on(agent: TlsConnection) -> None:
    async with asyncio.timeout(60):
        while True:
            agent.read_into(memoryview(bytearray(65536)))
            await asyncio.sleep(0.01)


async def test_a_close_cuts_everything_even_if_the_file_can_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poller.of(asyncio.get_running_loop())  # a descriptor of the loop's own, which stays
    before = descriptors()
    made = Made(tmp_path)
    agent = await made.lane()
    served, waiting = await browser(made), await browser(made)

    def fail(_self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        made.port.close("the user stopped the server")
    assert await answer(served) == b""
    assert b"the user stopped the server" in await answer(waiting)
    with pytest.raises(OSError, match=r"."):
        await read_on(agent)
    agent.close()
    made.port.close("again")
    await settle()
    assert descriptors() == before
