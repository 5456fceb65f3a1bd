"""Through the real proxy and a real gateway: what the session's server takes for requests is what is on record.

Bytes as no browser sends them, on raw connections to the proxy's public port: each attack is either refused, or server
and record agree on it, request by request. The proxy may repair, refuse or pass on; none of it is relied on.
"""

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from jupyter_hpcsec.audit.tap.recording import Recording
from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.hub.auditor import Auditor
from jupyter_hpcsec.hub.recordings import Recordings
from jupyter_hpcsec.hub.route import socket_url
from jupyter_hpcsec.hub.tapping import Taps
from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any
from jupyter_hpcsec.ops.quickstart import find_proxy
from tests.e2e.site import Part
from tests.hub.deployment import Deployment
from tests.hub.test_auditor import Record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

IDLE_S, PATIENCE_S = 2.0, 60.0
"""How long an attack's connection may be silent before it ends; how long whatever must come may take."""
BASE = "/user/alice"
Took = tuple[str, str, int]
"""Method, path, bytes of the body."""
AT = f"{BASE}/00"
"""Where an attack is aimed; in its stead each has a place of its own, of the same length."""


def asked(line: str, *headers: str, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, *length, "", ""]).encode("latin-1") + body


HIDDEN = asked(f"DELETE {AT}/hidden")
CHUNKED = "Transfer-Encoding: chunked"
SIZE = f"Content-Length: {len(HIDDEN)}"
ATTACKS = {
    "CL.TE": asked(f"POST {AT}/a", "Content-Length: 4", CHUNKED) + b"0\r\n\r\n" + HIDDEN,
    "CL.TE, all of it": asked(f"POST {AT}/a", f"Content-Length: {5 + len(HIDDEN)}", CHUNKED) + b"0\r\n\r\n" + HIDDEN,
    "TE.CL": asked(f"POST {AT}/a", CHUNKED, "Content-Length: 4") + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
    "TE.TE": asked(f"POST {AT}/a", CHUNKED, "Transfer-Encoding: identity") + b"0\r\n\r\n" + HIDDEN,
    "TE.TE in a list": asked(f"POST {AT}/a", "Transfer-Encoding: identity, chunked") + b"0\r\n\r\n" + HIDDEN,
    "TE.TE the other way": asked(f"POST {AT}/a", "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + HIDDEN,
    "TE twice": asked(f"POST {AT}/a", CHUNKED, CHUNKED) + b"0\r\n\r\n" + HIDDEN,
    "TE in odd letters": asked(f"POST {AT}/a", "Transfer-Encoding: cHunked") + b"0\r\n\r\n" + HIDDEN,
    "TE behind a control": asked(f"POST {AT}/a", "Transfer-Encoding: \x0bchunked", SIZE) + HIDDEN,
    "TE with a space": asked(f"POST {AT}/a", "Transfer-Encoding : chunked", SIZE) + HIDDEN,
    "TE folded": asked(f"POST {AT}/a", "X: y\r\n Transfer-Encoding: chunked", SIZE) + HIDDEN,
    "CL.CL": asked(f"POST {AT}/a", "Content-Length: 0", SIZE) + HIDDEN,
    "CL with a sign": asked(f"POST {AT}/a", "Content-Length: +0") + HIDDEN,
    "CL on a GET": asked(f"GET {AT}/a", SIZE) + HIDDEN,
    "bare LF": b"GET /user/alice/00/a HTTP/1.1\nHost: x\n\n" + HIDDEN,
    "bare LF in a value": asked(f"GET {AT}/a", f"X: y\n{SIZE}") + HIDDEN,
    "bare LF ends a head": b"GET /user/alice/00/a HTTP/1.1\r\nHost: x\n\r\n" + HIDDEN,
    "bare LF behind a chunk": asked(f"POST {AT}/a", CHUNKED) + b"1\nx\n0\n\n" + HIDDEN,
    "bare CR": asked(f"GET {AT}/a", f"X: y\r{SIZE}") + HIDDEN,
    "a chunk's extension": asked(f"POST {AT}/a", CHUNKED) + b"1;a=\nb\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "a trailer that is a request": asked(f"POST {AT}/a", CHUNKED) + b"0\r\n" + HIDDEN,
    "a huge header": asked(f"GET {AT}/a", "X: " + "y" * 70_000) + HIDDEN,
    "many headers": asked(f"GET {AT}/a", *(f"X-{number}: y" for number in range(3000))) + HIDDEN,
    "a huge target": asked(f"GET {AT}/" + "a" * 70_000) + HIDDEN,
    "an upgrade that is refused": asked(f"GET {AT}/a", "Connection: Upgrade", "Upgrade: websocket") + HIDDEN,
    "an upgrade to HTTP/2": asked(f"GET {AT}/a", "Connection: Upgrade", "Upgrade: h2c") + HIDDEN,
    "headers of one hop": asked(f"POST {AT}/a", "Connection: close, content-length", SIZE) + HIDDEN,
    "a body that never comes": asked(f"PUT {AT}/a", "Content-Length: 5000") + HIDDEN,
    "HTTP/1.0": b"POST /user/alice/00/a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "an encoded line end": asked(f"GET {AT}/a%0d%0aX:%20y") + HIDDEN,
}
END = asked(f"GET {AT}/end", "Connection: close")
ORDINARY = {
    "pipelined": (asked(f"GET {AT}/a") + HIDDEN + END, 3),
    "behind an upload": (asked(f"PUT {AT}/a", body=b"x" * 300_000) + HIDDEN + END, 3),
    "behind an upload in chunks": (asked(f"PUT {AT}/a", CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n" + HIDDEN + END, 3),
    "in an upload": (asked(f"PUT {AT}/a", body=HIDDEN * 3) + END, 2),
}


@dataclass
class Server:
    """A tornado server, as jupyter_server's, that keeps what it took for requests."""

    took: list[Took] = field(default_factory=list)

    def answer(self, asked: httputil.HTTPServerRequest) -> None:
        self.took.append((asked.method or "", unquote((asked.uri or "").partition("?")[0]), len(asked.body)))
        assert asked.connection is not None
        line = httputil.ResponseStartLine("HTTP/1.1", 200, "OK")
        asked.connection.write_headers(line, httputil.HTTPHeaders({"Content-Length": "0"}))
        asked.connection.finish()


@dataclass
class Stack:
    port: int
    session: str
    server: Server
    record: Record
    stop: contextlib.AsyncExitStack


@pytest.fixture
async def stack(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    limits = Limits(heartbeat_s=10, dead_after_s=60, wait_for_lane_s=PATIENCE_S)
    record, server = Record(tmp_path), Server()
    deployment = Deployment(tmp_path_factory.mktemp("g"), limits=limits)
    async with contextlib.AsyncExitStack() as stop:
        stop.callback(record.log.close)
        auditor = Auditor(record.log, session=lambda known: deployment.store.get(known), clock=time.monotonic)
        deployment.observer = auditor
        plain = Recordings(Recording(), {})
        taps = Taps(auditor, recordings=plain, trusted=(), is_forwarded=True, clock=time.monotonic)
        deployment.tap = taps.tap
        await deployment.start()
        stop.push_async_callback(deployment.stop)
        registration = await deployment.register()
        http = HTTPServer(server.answer)
        http.add_socket(bind_unix_socket(str(deployment.server_socket(registration))))
        stop.push_async_callback(http.close_all_connections)
        stop.callback(http.stop)
        await stop.enter_async_context(deployment.running_agent(registration))
        port = await start_proxy(stop, tmp_path, registration.socket)
        yield Stack(port, registration.session, server, record, stop)


async def start_proxy(stop: contextlib.AsyncExitStack, directory: Path, target: Path) -> int:
    """Configurable-http-proxy with one route; its public port."""
    claims, token = [claim_any() for _ in range(2)], secrets.token_hex(16)
    for claim in claims:
        stop.callback(claim.close)
    public, api = (claim.port for claim in claims)
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    addresses = ["--ip", LOOPBACK, "--port", str(public), "--api-ip", LOOPBACK, "--api-port", str(api)]
    environment = {"PATH": path, "CONFIGPROXY_AUTH_TOKEN": token, "HOME": str(directory)}
    proxy = Part([*find_proxy(path), *addresses], environment, directory, directory / "proxy.log")
    proxy.start()
    stop.callback(proxy.end)
    async with httpx.AsyncClient(headers={"Authorization": f"token {token}"}, trust_env=False) as client:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                proxy.check()
                with contextlib.suppress(httpx.TransportError):
                    url = f"http://{LOOPBACK}:{api}/api/routes{BASE}"
                    assert (await client.post(url, json={"target": socket_url(target)})).status_code == 201
                    return public
                await asyncio.sleep(0.05)


async def send(port: int, data: bytes, idle_s: float) -> tuple[bytes, bool]:
    """All that comes back until the proxy ends the connection, or is silent for so long; whether it was the latter."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    said, was_silent = b"", False
    try:
        writer.write(data)
        await asyncio.wait_for(writer.drain(), PATIENCE_S)
        while more := await asyncio.wait_for(reader.read(65_536), idle_s):
            said += more
    except ConnectionError:
        pass
    except TimeoutError:
        was_silent = True
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return said, was_silent


def at(name: str) -> str:
    return f"{BASE}/{[*ATTACKS, *ORDINARY].index(name) + 1:02}"


def path_of(recorded: dict[str, Any]) -> str:
    """The path on record, also where it can't be shown as it is."""
    return bytes.fromhex(recorded["raw"]).decode() if "raw" in recorded else str(recorded["name"])


async def test_the_server_takes_no_request_that_is_not_on_record(stack: Stack) -> None:
    said: dict[str, tuple[bytes, bool]] = {}

    async def attack(name: str) -> None:
        said[name] = await send(stack.port, ATTACKS[name].replace(AT.encode(), at(name).encode()), IDLE_S)

    await asyncio.gather(*map(attack, ATTACKS))
    for name, (data, count) in ORDINARY.items():
        answers, _ = await send(stack.port, data.replace(AT.encode(), at(name).encode()), PATIENCE_S)
        assert answers.count(b"HTTP/1.1 200") == count, name
    await stack.stop.aclose()  # whatever was under way is over, and on record

    events = [event for event in stack.record.events() if event.get("session") == stack.session]
    of = {kind: [e for e in events if e["kind"] == kind] for kind in ("http.request", "http.begun")}
    told = [(e["method"], path_of(e["object"]), e.get("bytes_from_browser", 0)) for e in of["http.request"]]
    for name in (*ATTACKS, *ORDINARY):
        took, on_record = (
            Counter(each for each in them if each[1].startswith(at(name) + "/")) for them in (stack.server.took, told)
        )
        assert took <= on_record, f"{name}: the server took what is not on record: {took - on_record}"
        if name in ORDINARY:
            assert took == on_record and took.total() == ORDINARY[name][1], name
        elif took != on_record:  # it was refused, or never ended
            answers, was_silent = said[name]
            assert was_silent or b"HTTP/1.1 200" not in answers, f"{name}: {on_record - took} was answered"
    assert Counter(stack.server.took) <= Counter(told), "nor anything elsewhere"
    begun = {e["request"] for e in of["http.begun"]}
    assert all(e["request"] in begun for e in of["http.request"] if e["method"] not in ("GET", "HEAD", "OPTIONS"))
