"""What must pass the tunnel unchanged: every kind of stream that a browser and a notebook server exchange."""

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve

from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.tunnel.admin import Registration
from tests.hub.deployment import Deployment, connect
from tests.hub.test_tunnel import until_ready

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """A deployment with one running session; a test brings the server."""

    def __init__(self, deployment: Deployment, registration: Registration) -> None:
        self.deployment, self.registration = deployment, registration
        self.front, self.back = registration.socket, deployment.server_socket(registration)

    @contextlib.asynccontextmanager
    async def serving(self, serve: Serve, backlog: int = 512) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(serve, str(self.back), backlog=backlog)
        try:
            await until_ready(self.deployment, self.registration.session)
            yield
        finally:
            server.close()


@pytest.fixture(params=["127.0.0.1", "[::1]"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with running(tmp_path, request.param) as made:
        yield made


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path, "127.0.0.1", Limits(heartbeat_s=1, dead_after_s=5, lanes_per_session=256)) as made:
        yield made


@contextlib.asynccontextmanager
async def running(directory: Path, host: str, limits: Limits | None = None) -> AsyncIterator[Site]:
    deployment = Deployment(directory, limits=limits)
    deployment.listen = (f"{host}:0",)
    await deployment.start()
    registration = await deployment.register()
    async with deployment.running_agent(registration, endpoints=deployment.gateway.endpoints):
        yield Site(deployment, registration)
    await deployment.stop()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        return await reader.read()


# HTTP


async def request_head(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    return {b"": lines[0]} | {name.lower(): value for name, _, value in (x.partition(b": ") for x in lines[1:-2])}


async def chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


async def serve_upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await request_head(reader)
    if b"transfer-encoding" in head:
        body = await chunked(reader)
    else:
        body = await reader.readexactly(int(head[b"content-length"]))
    digest = hashlib.sha256(body).hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\nConnection: close\r\n\r\n" + digest)
    writer.close()


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_large_uploads(site: Site, is_chunked: bool) -> None:
    body = os.urandom(10 << 20)
    async with site.serving(serve_upload):
        reader, writer = await connect(site.front)
        if is_chunked:
            writer.write(b"PUT /f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 100_003):
                piece = body[start : start + 100_003]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await read_all(reader)).endswith(hashlib.sha256(body).hexdigest().encode())
        writer.close()


async def test_an_event_arrives_before_the_response_ends(site: Site) -> None:
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            writer.write(b"data: %d\n\n" % number)
            await go_on.wait()  # the next is sent only after this one was seen at the other end
            go_on.clear()
        writer.close()

    async with site.serving(serve):
        reader, writer = await connect(site.front)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for number in range(5):
            assert await asyncio.wait_for(reader.readuntil(b"\n\n"), 60) == b"data: %d\n\n" % number
            go_on.set()
        assert await read_all(reader) == b""
        writer.close()


async def test_pipelined_requests_are_answered_in_order(one: Site) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                path = (await request_head(reader))[b""].split()[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
        writer.close()

    async with one.serving(serve):
        reader, writer = await connect(one.front)
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100)))
        writer.write_eof()
        answers = (await read_all(reader)).split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"/%d" % number for number in range(100)]
        writer.close()


async def test_an_upgrade_turns_into_a_stream_of_bytes(one: Site) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: rot\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(1000):
            writer.write(data[::-1])
        writer.close()

    async with one.serving(serve):
        reader, writer = await connect(one.front)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: rot\r\nConnection: Upgrade\r\n\r\n")
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        for data in (b"\x00\xff\x16\x03\x01", b"abc"):
            writer.write(data)
            assert await asyncio.wait_for(reader.readexactly(len(data)), 60) == data[::-1]
        writer.close()


# Websockets


async def test_websockets_with_every_kind_of_frame(site: Site) -> None:
    pings = asyncio.Queue[bytes]()

    async def serve(connection: ServerConnection) -> None:
        await (await connection.ping(b"from the server"))
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in connection:
                if message == "close with 4321":
                    await connection.close(4321, "as asked")
                else:
                    await connection.send(message)

    large = os.urandom(10 << 20)
    async with unix_serve(serve, str(site.back), max_size=None):
        await until_ready(site.deployment, site.registration.session)
        async with unix_connect(str(site.front), "ws://x/kernel", max_size=None, compression=None) as client:
            await asyncio.wait_for(await client.ping(b"from the browser"), 60)
            for message in ("text ✓", b"\x00binary", "", b"", large):
                await client.send(message)
                assert await asyncio.wait_for(client.recv(), 30) == message
            await client.send(iter(["frag", "ment", "ed"]))
            assert await asyncio.wait_for(client.recv(), 60) == "fragmented"
            await client.send("close with 4321")
            with pytest.raises(websockets.ConnectionClosedError):
                await asyncio.wait_for(client.recv(), 60)
            assert (client.close_code, client.close_reason) == (4321, "as asked")
    assert pings.empty()


# Streams


async def test_a_half_closed_stream_still_carries_the_answer(site: Site) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # until the other side has ended
        writer.write(hashlib.sha256(data).digest())
        writer.write_eof()

    async with site.serving(serve):
        data = os.urandom(3_000_001)
        reader, writer = await connect(site.front)
        writer.write(data)
        writer.write_eof()
        assert await read_all(reader) == hashlib.sha256(data).digest()
        writer.close()


async def test_a_server_that_ends_first_still_gets_the_rest(one: Site) -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"that is all from me")
        writer.write_eof()
        got.set_result(await reader.read())
        writer.close()

    async with one.serving(serve):
        reader, writer = await connect(one.front)
        assert await read_all(reader) == b"that is all from me"
        data = os.urandom(1_000_000)
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(got, 60) == data
        writer.close()


async def test_streams_of_no_bytes(one: Site) -> None:
    seen = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(await reader.read())
        writer.close()

    async with one.serving(serve):
        for _ in range(10):
            reader, writer = await connect(one.front)
            writer.write_eof()
            assert await read_all(reader) == b""
            assert await asyncio.wait_for(seen.get(), 60) == b""
            writer.close()


async def test_a_server_may_speak_first(one: Site) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        assert await reader.readline() == b"QUIT\r\n"
        writer.close()

    async with one.serving(serve):
        reader, writer = await connect(one.front)
        assert await asyncio.wait_for(reader.readline(), 60) == b"220 ready\r\n"
        writer.write(b"QUIT\r\n")
        assert await read_all(reader) == b""
        writer.close()


async def test_two_hundred_streams_at_once(one: Site) -> None:
    everybody = asyncio.Barrier(200)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(20_000)
        await everybody.wait()  # so that all of them are open at the same time
        writer.write(data[::-1])
        writer.close()

    async def exchange() -> bool:
        data = os.urandom(20_000)
        reader, writer = await connect(one.front)
        writer.write(data)
        answer = await read_all(reader)
        writer.close()
        return answer == data[::-1]

    async with one.serving(serve):
        assert all(await asyncio.gather(*(exchange() for _ in range(200))))


async def test_a_server_whose_queue_is_full_is_tried_again(one: Site) -> None:
    """A busy server accepts late; a unix socket then says EAGAIN at once instead of waiting."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(one.back))
    listener.listen(0)
    listener.setblocking(False)
    await until_ready(one.deployment, one.registration.session)
    ends = [await connect(one.front) for _ in range(4)]
    for number, (_, writer) in enumerate(ends):
        writer.write(b"%d" % number)
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    for _ in ends:
        accepted, _ = await asyncio.wait_for(loop.sock_accept(listener), 60)
        accepted.setblocking(False)
        data = await asyncio.wait_for(loop.sock_recv(accepted, 100), 60)
        await loop.sock_sendall(accepted, b"you are " + data)
        accepted.close()
    for number, (reader, writer) in enumerate(ends):
        assert await read_all(reader) == b"you are %d" % number
        writer.close()
    listener.close()


async def test_slow_readers_and_writers_in_both_directions(site: Site) -> None:
    up, down = os.urandom(4 << 20), os.urandom(4 << 20)

    async def pour(writer: asyncio.StreamWriter, data: bytes, piece: int) -> None:
        for number, start in enumerate(range(0, len(data), piece)):
            writer.write(data[start : start + piece])
            await writer.drain()
            if number % 20 == 0:
                await asyncio.sleep(0.001)
        writer.write_eof()

    async def sip(reader: asyncio.StreamReader, piece: int) -> bytes:
        digest, number = hashlib.sha256(), 0
        while data := await reader.read(piece):
            digest.update(data)
            number += 1
            if number % 20 == 0:
                await asyncio.sleep(0.001)
        return digest.digest()

    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, digest = await asyncio.gather(pour(writer, down, 30_011), sip(reader, 20_021))
        got.set_result(digest)
        writer.close()

    async with site.serving(serve):
        reader, writer = await connect(site.front)
        _, digest = await asyncio.gather(pour(writer, up, 40_009), sip(reader, 10_007))
        assert digest == hashlib.sha256(down).digest()
        assert await asyncio.wait_for(got, 30) == hashlib.sha256(up).digest()
        writer.close()
