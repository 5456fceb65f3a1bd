"""One request to an app and its answer: streamed both ways, at the pace of the slower side, nothing held in memory."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any, Protocol

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import Resolver
from tornado.tcpclient import TCPClient

from jupyter_hpcsec.errors import Unavailable

CONNECT_S = 5.0
HEAD_S = 600.0
"""Seconds from the end of a request to the head of its answer: an app may compute."""
HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 1 << 40
"""Bytes of one body: bounded, but no bound of the memory, through which only chunks pass."""
CHUNK = 64 * 1024
BUFFER_LIMIT = 1024 * 1024


class Loopback(Resolver):
    """The only addresses that are ever dialled, whatever the name."""

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """127.0.0.1, and ::1 for what listens there alone."""
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]


class Answer(Protocol):
    """Takes an answer as it comes. Its awaitables end when the browser has taken what they carry."""

    def begin(self, status: int, headers: HTTPHeaders) -> Awaitable[None]:
        """The head."""

    def body(self, chunk: bytes) -> Awaitable[None]:
        """A part of the body."""

    def end(self, *, complete: bool) -> None:
        """Nothing more comes; called once, after ``begin``."""


async def dial(port: int) -> IOStream:
    """Connect to what listens on ``port``; ``Unavailable`` when nothing does."""
    try:
        return await TCPClient(resolver=Loopback()).connect(
            "localhost", port, max_buffer_size=BUFFER_LIMIT, timeout=CONNECT_S
        )
    except (OSError, StreamClosedError, TimeoutError) as error:
        raise Unavailable(f"nothing listens on port {port} yet") from error


class Exchange(HTTPMessageDelegate):
    """The app's side of one request. To be called: ``begin``, ``send`` each chunk, ``finish_request``; ``close``."""

    def __init__(self, stream: IOStream, answer: Answer) -> None:
        parameters = HTTP1ConnectionParameters(
            no_keep_alive=True, chunk_size=CHUNK, max_header_size=HEAD_LIMIT, max_body_size=BODY_LIMIT
        )
        self._stream, self._answer = stream, answer
        self._connection = HTTP1Connection(stream, is_client=True, params=parameters)
        self._begun, self._complete = False, False
        self._head, self._over = asyncio.Event(), asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def begin(self, method: str, target: str, headers: HTTPHeaders) -> None:
        """Send the head, and listen for the answer from now on: an app may refuse a body before it has it all."""
        self._stream.set_nodelay(True)
        await self._connection.write_headers(RequestStartLine(method, target, "HTTP/1.1"), headers)
        self._reading = asyncio.create_task(self._read())

    async def send(self, chunk: bytes) -> None:
        """Send a part of the body; dropped when the app has closed already, whose answer, if any, is on its way."""
        if not self._stream.closed():
            try:
                await self._connection.write(chunk)
            except StreamClosedError:
                return

    async def finish_request(self) -> None:
        """The request is whole: wait for its answer's end. ``Unavailable`` if the app gave none, late or at all."""
        if not self._stream.closed():
            self._connection.finish()
        try:
            async with asyncio.timeout(HEAD_S):
                await self._head.wait()
        except TimeoutError as error:
            self.close()
            raise Unavailable(f"the app did not answer within {HEAD_S:g} s") from error
        await self._over.wait()
        if not self._begun:
            raise Unavailable("the app closed the connection without an answer that could be understood")

    def close(self) -> None:
        """Let the app go, whatever it still has to say."""
        self._connection.close()

    async def _read(self) -> None:
        try:
            await self._connection.read_response(self)
        except StreamClosedError:
            self._complete = False
        finally:
            self._settle()

    def _settle(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._head.set()
        self._connection.close()
        if self._begun:
            self._answer.end(complete=self._complete)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Called by the connection for each head, interim ones included (RFC 9110, 15.2)."""
        assert isinstance(start_line, ResponseStartLine), "BUG: a client reads answers"  # noqa: S101
        if 100 <= start_line.code < 200:
            return None
        if not 200 <= start_line.code < 600:
            raise HTTPInputError("no status of HTTP")
        self._begun = True
        self._head.set()
        return self._passed(self._answer.begin(start_line.code, headers))

    def data_received(self, chunk: bytes) -> Awaitable[None]:
        """Called by the connection, which waits for us before it reads on."""
        return self._passed(self._answer.body(chunk))

    def finish(self) -> None:
        """Called by the connection when the answer is whole."""
        self._complete = True
        self._settle()

    def on_connection_close(self) -> None:
        """Called by the connection when the answer was cut."""
        self._settle()

    async def _passed(self, passing: Awaitable[None]) -> None:
        try:
            await passing
        except StreamClosedError:  # the browser left
            self.close()
