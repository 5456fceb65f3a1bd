"""The front door: floods and slow strangers are turned away and counted, and everybody else is served afterwards."""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import front
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.front import FrontDoor, listen_tcp
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.messages import ENROL, LANE
from jupyter_hpcsec.tunnel.tls import client_context, dial, server_context
from tests.tunnel.tlspair import NAME, descriptors, self_signed, settle

LIMITS = Limits(handshake_s=5.0)


class Door:
    """A front door whose handler keeps what comes, or does what a test says."""

    def __init__(self, limits: Limits, endpoint: str = "127.0.0.1:0") -> None:
        self.der, pem, key = self_signed()
        self.counters = Counters()
        self.served: list[tuple[str, TlsConnection, str]] = []
        self.handle: Callable[[], Any] = self._keep
        context = server_context(pem, key, [self.der])
        self.front = FrontDoor(
            [listen_tcp(endpoint, 64)],
            context=lambda: context,
            handler=self._handler,
            limits=limits,
            counters=self.counters,
            log=logging.getLogger("test.front"),
        )
        self.front.open()
        host, _, port = self.front.endpoints[0].rpartition(":")
        self.address = (host.strip("[]"), int(port))

    async def _keep(self) -> None:
        return

    async def _handler(self, protocol: str, tls: TlsConnection, address: str) -> None:
        self.served.append((protocol, tls, address))
        await self.handle()

    async def dial(self, protocol: str = LANE) -> TlsConnection:
        return await dial(self.address, client_context(protocol, self.der), NAME, timeout_s=5, dead_after_s=5)

    async def counted(self, rule: str, times: int) -> None:
        async with asyncio.timeout(60):
            while self.counters.snapshot().get(rule, 0) < times:
                await asyncio.sleep(0.01)
        assert self.counters.snapshot()[rule] == times

    def close(self) -> None:
        self.front.close()
        for _, tls, _ in self.served:
            tls.close()


@contextlib.asynccontextmanager
async def door(limits: Limits = LIMITS, endpoint: str = "127.0.0.1:0") -> AsyncIterator[Door]:
    made = Door(limits, endpoint)
    try:
        yield made
    finally:
        made.close()
        await settle()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:0", "[::1]:0"])
async def test_who_finishes_the_handshake_is_served(endpoint: str) -> None:
    async with door(endpoint=endpoint) as made:
        tls = await made.dial()
        async with asyncio.timeout(60):
            while not made.served:
                await asyncio.sleep(0.01)
        protocol, _, address = made.served[0]
        assert (protocol, address) == (LANE, endpoint.rpartition(":")[0].strip("[]"))
        tls.close()


def test_a_port_in_use_says_so() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        pytest.raises(Unavailable, match=r"can't listen on 127\.0\.0\.1:"),
    ):
        listen_tcp(f"127.0.0.1:{held.getsockname()[1]}", 1)


async def test_too_many_connections_a_second_from_one_address(caplog: pytest.LogCaptureFixture) -> None:
    async with door(replace(LIMITS, handshakes_per_second=0.001, handshake_burst=3)) as made:
        for _ in range(3):
            (await made.dial()).close()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await made.dial()
        await made.counted("port.rate", 2)
        assert not caplog.records  # a flood must not fill the log as well
        made.front._rate.rate = 1000.0
        await asyncio.sleep(0.01)
        (await made.dial()).close()


async def test_one_ipv6_network_counts_as_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses of a /64 are one host's; another network's has a count of its own."""
    async with door(replace(LIMITS, handshakes_per_second=0.001, handshake_burst=2)) as made:
        for number in range(4):
            raw, other = socket.socketpair()
            made.front._admit(raw, f"2001:db8::{number:x}")
            other.close()
        assert made.counters.snapshot()["port.rate"] == 2
        raw, other = socket.socketpair()
        made.front._admit(raw, "2001:db8:0:1::1")
        assert made.counters.snapshot()["port.rate"] == 2
        other.close()
        await settle()


async def test_unfinished_handshakes_of_one_address_and_of_all() -> None:
    async with door(replace(LIMITS, unfinished_handshakes=8, handshake_s=0.7)) as made:
        silent = [socket.create_connection(made.address) for _ in range(3)]
        await made.counted("port.unfinished-address", 1)
        with pytest.raises(Unavailable):
            await made.dial()
        for number in range(7):
            raw, other = socket.socketpair()
            made.front._admit(raw, f"10.0.0.{number}")
            silent.append(other)
        await made.counted("port.unfinished", 1)
        await made.counted("tls.timeout", 2)  # the slow ones are cut, and their places are free again
        (await made.dial()).close()
        for sock in silent:
            sock.close()


async def test_a_handshake_byte_by_byte_is_cut_in_time() -> None:
    async with door(replace(LIMITS, handshake_s=0.4)) as made:
        _reader, writer = await asyncio.open_connection(*made.address)
        with contextlib.suppress(OSError):
            for byte in b"\x16\x03\x01\x02\x00\x01" + bytes(200):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.01)
        await made.counted("tls.timeout", 1)
        writer.close()


async def test_strangers_who_want_to_enrol_keep_their_place_until_they_are_answered() -> None:
    """Without a certificate a handshake proves nothing: whoever says nothing after it must not pile up."""
    async with door(replace(LIMITS, unfinished_handshakes=4)) as made:
        release = asyncio.Event()
        made.handle = release.wait
        first = await made.dial(ENROL)
        with pytest.raises(Unavailable):
            await made.dial(ENROL)
        await made.counted("port.unfinished-address", 1)
        release.set()
        async with asyncio.timeout(60):
            while made.front._unfinished.held:
                await asyncio.sleep(0.01)
        second = await made.dial(ENROL)
        for each in (first, second):
            each.close()


async def test_lanes_give_their_place_back_after_the_handshake() -> None:
    async with door(replace(LIMITS, unfinished_handshakes=4)) as made:
        release = asyncio.Event()
        made.handle = release.wait
        held = [await made.dial(LANE) for _ in range(6)]
        release.set()
        for each in held:
            each.close()


@pytest.mark.parametrize(
    ("error", "rule"),
    [(Refused("x.y", "no"), "x.y"), (Malformed("what?"), "port.malformed"), (Unavailable("gone"), "port.cut")],
)
async def test_each_refusal_of_the_handler_has_a_rule(
    error: HpcsecError, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse() -> None:
        raise error

    async with door() as made:
        made.handle = refuse
        (await made.dial()).close()
        await made.counted(rule, 1)
        line = f"refused a connection from 127.0.0.1: {error.reason} [{rule}]"
        assert [record.getMessage() for record in caplog.records] == [line]


async def test_what_nobody_foresaw_is_logged_with_its_trace_and_the_port_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("BUG")

    async with door() as made:
        made.handle = fail
        (await made.dial()).close()
        await made.counted("port.bug", 1)
        assert caplog.records[-1].exc_info
        assert made.front._unfinished.held == 0
        made.handle = made._keep
        (await made.dial()).close()


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_a_closed_door_leaves_no_descriptor() -> None:
    before = descriptors()
    made = Door(LIMITS)
    half = socket.create_connection(made.address)
    await settle()
    late = socket.create_connection(made.address)
    made.front._accept(made.front._listeners[0])  # accepted, and its task has not taken its first step
    assert len(made.front._tasks) == 2
    made.close()
    await settle()
    for sock in (half, late):
        sock.setblocking(True)
        sock.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
        sock.close()
    assert descriptors() == before


async def test_a_door_that_rests_and_is_closed_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "PAUSE_S", 0.01)
    made = Door(LIMITS)
    made.front._rest(made.front._listeners[0], OSError(24, "Too many open files"))
    assert made.counters.snapshot() == {"port.no-descriptor": 1}
    made.close()
    await asyncio.sleep(0.05)


def test_without_descriptors_it_rests_and_then_serves_on() -> None:
    """In a process of its own: its limit is lowered to what it has, and then raised again."""
    program = """
        import asyncio, os, resource, socket
        from jupyter_hpcsec.tunnel.front import PAUSE_S
        from tests.tunnel.test_front import Door, LIMITS

        async def main():
            made = Door(LIMITS)
            (await made.dial()).close()
            used = max(map(int, os.listdir("/proc/self/fd"))) + 1
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            clients = [socket.socket() for _ in range(3)]
            for client in clients:
                client.setblocking(False)
                client.connect_ex(made.address)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(c.fileno() for c in clients) + 1, hard))
            filler = []
            try:
                while True:
                    filler.append(os.dup(0))
            except OSError:
                pass
            await made.counted("port.no-descriptor", 1)
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(0.5)
            count = made.counters.snapshot()["port.no-descriptor"]
            assert count <= (asyncio.get_running_loop().time() - began) / PAUSE_S + 3, count
            for each in filler:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in clients:
                client.close()
            (await made.dial()).close()
            made.close()
            print("served again")

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "served again\n", done.stderr
