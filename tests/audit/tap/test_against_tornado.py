"""The tap and a real tornado server are given the same bytes: they see the same requests, or the lane is cut.

The server answers each request with what it took it for; the tap's list of answered requests is compared with the
server's own. Bytes pass to the server only as the lane would pass them: piece by piece, until the tap refuses one.
"""

import asyncio
import contextlib
import socket
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import Fed, pieces, request

Seen = list[tuple[str, str, int]]
"""Method, path, bytes of the body."""


class Server:
    """A tornado server that keeps what it took for requests."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.http = HTTPServer(self._answer)

    def _answer(self, asked: httputil.HTTPServerRequest) -> None:
        self.seen.append((asked.method or "", unquote((asked.uri or "").partition("?")[0]), len(asked.body)))
        connection = asked.connection
        assert connection is not None
        line = httputil.ResponseStartLine("HTTP/1.1", 200, "OK")
        connection.write_headers(line, httputil.HTTPHeaders({"Content-Length": "0"}))
        connection.finish()

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        self.http.handle_stream(IOStream(theirs), ("", 0))
        return ours


async def both(data: bytes, cuts: list[int]) -> tuple[Seen, Seen, bool]:
    """What the server and what the tap took for requests, and whether the tap cut the lane."""
    server, fed = Server(), Fed()
    loop, ours = asyncio.get_running_loop(), server.connect()
    is_cut = False
    try:
        for piece in pieces(data, cuts):
            fed.browser(bytes(piece))
            await loop.sock_sendall(ours, piece)
    except Refused:
        is_cut = True
    except OSError:
        pass  # the server has hung up
    with contextlib.suppress(OSError):
        ours.shutdown(socket.SHUT_WR)
        while answered := await loop.sock_recv(ours, 65_536):
            with contextlib.suppress(Refused):
                fed.server(answered)
    ours.close()
    told = [(each.method, each.object.name, each.bytes_from_browser) for each in fed.of("http.request") if each.status]
    return server.seen, told, is_cut


GET = request("GET /first")
HIDDEN = request("GET /hidden")
SMUGGLED = {
    "CL.TE": request("POST /a", "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE.CL": request("POST /a", "Transfer-Encoding: chunked", "Content-Length: 4") + b"5c\r\n" + HIDDEN,
    "TE.TE": request("POST /a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n" + HIDDEN,
    "TE in odd letters": request("POST /a", "Transfer-Encoding: Chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE with a tab": request("POST /a", "Transfer-Encoding:\tchunked") + b"0\r\n\r\n" + HIDDEN,
    "TE behind a control": request("POST /a", "Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n" + HIDDEN,
    "TE with a space": request("POST /a", "Transfer-Encoding : chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE with an underscore": request("POST /a", "Transfer_Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE folded": request("POST /a", "X: y\r\n Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "CL.CL": request("POST /a", "Content-Length: 0", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "CL as a list": request("POST /a", f"Content-Length: {len(HIDDEN)}, {len(HIDDEN)}") + HIDDEN,
    "CL with a sign": request("POST /a", "Content-Length: +0") + HIDDEN,
    "CL in other digits": request("POST /a", "Content-Length: \xb2") + HIDDEN,
    "CL with underscores": request("POST /a", "Content-Length: 0_0") + HIDDEN,
    "CL folded": request("POST /a", "Content-Length:\r\n 0") + HIDDEN,
    "CL on a GET": request("GET /a", f"Content-Length: {len(HIDDEN)}") + HIDDEN + GET,
    "bare LF": GET + b"GET /lf HTTP/1.1\nHost: x\n\n" + HIDDEN,
    "bare LF in a value": request("GET /a", "X: y\nContent-Length: 50") + HIDDEN,
    "bare LF ends a head": b"GET /a HTTP/1.1\r\nHost: x\n\r\n" + HIDDEN,
    "bare CR": request("GET /a", "X: y\rContent-Length: 50") + HIDDEN,
    "blank lines between": GET + b"\r\n\r\n" + HIDDEN,
    "one line end between": GET + b"\r\n" + HIDDEN,
    "a chunk with an extension": request("POST /a", "Transfer-Encoding: chunked") + b"1;a=b\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "a chunk's bare LF": request("POST /a", "Transfer-Encoding: chunked") + b"1\nx\n0\n\n" + HIDDEN,
    "a chunk in other digits": request("POST /a", "Transfer-Encoding: chunked") + b"0x0\r\n\r\n" + HIDDEN,
    "a trailer": request("POST /a", "Transfer-Encoding: chunked") + b"0\r\nX: y\r\n\r\n" + HIDDEN,
    "a trailer that is a request": request("POST /a", "Transfer-Encoding: chunked") + b"0\r\n" + HIDDEN,
    "a huge head": request("GET /a", "X: " + "y" * 70_000) + HIDDEN,
    "HTTP/1.0": b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /a\r\n\r\n" + HIDDEN,
    "no method": b" /a HTTP/1.1\r\n\r\n" + HIDDEN,
    "a tab for a space": b"GET\t/a\tHTTP/1.1\r\n\r\n" + HIDDEN,
    "after close": request("GET /a", "Connection: close") + HIDDEN,
    "after close among others": request("GET /a", "Connection: x, close") + HIDDEN,
    "an upgrade that is refused": request("GET /a", "Connection: Upgrade", "Upgrade: websocket") + HIDDEN,
    "NUL": request("GET /a", "X: \0") + HIDDEN,
    "an absolute target": request("GET http://y/a") + HIDDEN,
    "two hosts": request("GET /a", "Host: y") + HIDDEN,
    "no host": b"GET /a HTTP/1.1\r\n\r\n" + HIDDEN,
    "Expect": request("PUT /a", "Expect: 100-continue", body=b"x") + HIDDEN,
    "a body that is too short": request("PUT /a", "Content-Length: 5000") + HIDDEN,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_the_server_sees_no_request_that_the_tap_does_not(name: str) -> None:
    data = GET + SMUGGLED[name]
    for cuts in ([], [len(GET)], list(range(min(len(data), 400)))):
        took, told, is_cut = await both(data, cuts)
        assert took == told or (is_cut and took == told[: len(took)] and ("GET", "/hidden", 0) not in took), name


async def test_ordinary_requests_are_the_same_to_both() -> None:
    sent = [
        request("GET /a%20b?x=y", "Accept: */*"),
        request("PUT /b", body=b"x" * 100_000),
        request("POST /c", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n10000\r\n" + b"y" * 65536 + b"\r\n0\r\n\r\n",
        request("HEAD /d"),
        request("DELETE /e", "Cookie: a=\xe9", body=b"{}"),
    ]
    for cuts in ([], [1, 50, 99, 40_000], list(range(0, 600, 7))):
        took, told, is_cut = await both(b"".join(sent), cuts)
        assert not is_cut and len(took) == 5
        assert took == told
        assert [n for _, _, n in took] == [0, 100_000, 65_541, 0, 2]


LINES = [b"GET /x HTTP/1.1", b"POST /y HTTP/1.1", b"Host: x", b"Content-Length: 5", b"Content-Length: 0", b"\xff"]
LINES += [b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: keep-alive", b"Upgrade: websocket"]
BITS = [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b"0", b"5", b"\0", b"hello", b"\r\n\r\n", b"0\r\n\r\n"]
FRAGMENTS = st.sampled_from([*LINES, *BITS, b"5\r\nhello\r\n", GET, HIDDEN])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FRAGMENTS, max_size=14).map(b"".join), st.lists(st.integers(0, 600), max_size=5))
def test_whatever_is_sent(data: bytes, cuts: list[int]) -> None:
    took, told, is_cut = asyncio.run(both(data, cuts))
    assert took == told or (is_cut and took == told[: len(took)])
