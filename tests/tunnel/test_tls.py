"""Contexts, message streams and dialling: what is not accepted, not waited for, not leaked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.messages import LANE, MAX_MESSAGE, Heartbeat, Report, encode
from jupyter_hpcsec.tunnel.tls import (
    MessageStream,
    client_context,
    dial,
    handshake,
    parse_endpoint,
    server_context,
    tune,
)
from tests.tunnel.tlspair import NAME, descriptors, self_signed, settle, tls_pair


@pytest.fixture
async def pair() -> AsyncIterator[tuple[MessageStream, MessageStream]]:
    client, server = tls_pair()
    streams = MessageStream(client), MessageStream(server)
    yield streams
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("text", ["host", ":1", "host:", "host:x", "host:65536", "host:-1", "::1:443", "host:٣", ""])
def test_endpoints_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [("hub:8443", ("hub", 8443)), ("[::1]:1", ("::1", 1)), ("10.0.0.1:0", ("10.0.0.1", 0))],
)
def test_endpoints(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint


def test_contexts_speak_tls_1_3_only_and_give_no_tickets() -> None:
    der, pem, key = self_signed()
    for context in (server_context(pem, key, [der]), client_context(LANE, der)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.options & ssl.OP_NO_TICKET
    assert server_context(pem, key, [der]).num_tickets == 0
    assert server_context(pem, key, [der]).verify_mode is ssl.CERT_OPTIONAL
    assert client_context(LANE, der).verify_mode is ssl.CERT_REQUIRED


def test_keys_leave_no_descriptor_behind() -> None:
    der, pem, key = self_signed()
    before = descriptors()
    with pytest.raises(ssl.SSLError):
        server_context(pem, b"no key", [der])
    server_context(pem, key, [der])
    assert descriptors() == before


async def test_messages_pass_in_order_however_many_come_at_once(pair: tuple[MessageStream, MessageStream]) -> None:
    client, server = pair
    for number in range(200):
        await client.send(Heartbeat(now=number))
    for number in range(200):
        assert await server.receive(MAX_MESSAGE) == encode(Heartbeat(now=number))[4:]


async def test_an_oversize_message_is_refused_before_it_is_read(pair: tuple[MessageStream, MessageStream]) -> None:
    client, server = pair
    client._tls.write((MAX_MESSAGE + 1).to_bytes(4, "big"))
    with pytest.raises(Malformed):
        await asyncio.wait_for(server.receive(MAX_MESSAGE), 60)


async def test_half_a_message_is_none(pair: tuple[MessageStream, MessageStream]) -> None:
    client, server = pair
    client._tls.write(encode(Heartbeat(now=1))[:-1])
    client.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(server.receive(MAX_MESSAGE), 60)


async def test_a_peer_that_reads_nothing_does_not_hold_its_sender(pair: tuple[MessageStream, MessageStream]) -> None:
    client, _ = pair
    large = Report(state="ready", message="", facts={str(n): "x" * 900 for n in range(60)})

    async def flood() -> None:
        while True:
            await client.send(large, timeout_s=0.2)

    with pytest.raises(Unavailable, match=r"took no message"):
        await asyncio.wait_for(flood(), 60)
    assert client.is_closed
    with pytest.raises(Unavailable, match=r"closed at this end"):
        await client.send(large)


async def test_a_close_wakes_whoever_waits(pair: tuple[MessageStream, MessageStream]) -> None:
    client, _ = pair
    waiting = asyncio.create_task(client.receive(MAX_MESSAGE))
    await asyncio.sleep(0)
    client.close()
    client.close()
    with pytest.raises(Unavailable, match=r"closed at this end"):
        await asyncio.wait_for(waiting, 60)


async def test_a_close_does_not_deafen_the_next_socket_of_that_number(
    pair: tuple[MessageStream, MessageStream],
) -> None:
    """The waiting reader wakes after the close; by then its descriptor's number may be another socket's."""
    loop = asyncio.get_running_loop()
    client, _ = pair
    number = client._tls.fileno()
    waiting = asyncio.create_task(client.receive(MAX_MESSAGE))
    await settle()
    client.close()
    spare: list[socket.socket] = []
    while not any(sock.fileno() == number for sock in spare):
        spare += socket.socketpair()
        assert len(spare) < 100
    theirs = next(sock for sock in spare if sock.fileno() == number)
    heard = loop.create_future()
    loop.add_reader(number, lambda: heard.done() or heard.set_result(None))
    with pytest.raises(Unavailable):
        await waiting
    index = spare.index(theirs)
    spare[index ^ 1].send(b"x")
    await asyncio.wait_for(heard, 60)
    loop.remove_reader(number)
    for sock in spare:
        sock.close()


async def test_a_cancelled_wait_leaves_no_reader(pair: tuple[MessageStream, MessageStream]) -> None:
    client, _ = pair
    waiting = asyncio.create_task(client.receive(MAX_MESSAGE))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not asyncio.get_running_loop().remove_reader(client._tls.fileno())


async def test_a_silent_peer_is_not_waited_for() -> None:
    left, right = socket.socketpair()
    left.setblocking(False)
    tls = TlsConnection(left, client_context(LANE, self_signed()[0]), server_name=NAME)
    with pytest.raises(Refused) as refusal:
        await handshake(tls, 0.1)
    assert refusal.value.rule == "tls.timeout"
    right.close()
    with pytest.raises((Unavailable, Refused)):
        await handshake(tls, 0.1)
    tls.close()


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid", "127.0.0.1"])
async def test_hosts_that_do_not_answer(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    before = descriptors()
    with pytest.raises(Unavailable):
        await dial((host, port), client_context(LANE, self_signed()[0]), NAME, timeout_s=5, dead_after_s=5)
    assert descriptors() == before


async def test_dialling_finishes_the_handshake_over_ipv4_and_ipv6() -> None:
    der, pem, key = self_signed()
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listener = socket.create_server((address, 0), family=family)
        listener.setblocking(False)

        async def serve(listener: socket.socket = listener) -> TlsConnection:
            raw, _ = await asyncio.get_running_loop().sock_accept(listener)
            tune(raw, 5)
            tls = TlsConnection(raw, server_context(pem, key, [der]))
            await handshake(tls, 5)
            return tls

        endpoint = (address, listener.getsockname()[1])
        server, client = await asyncio.gather(
            serve(), dial(endpoint, client_context(LANE, der), NAME, timeout_s=5, dead_after_s=5)
        )
        assert client.protocol == server.protocol == LANE
        for each in (server, client, listener):
            each.close()
