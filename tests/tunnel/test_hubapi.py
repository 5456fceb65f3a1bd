import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel import hubapi
from jupyter_hpcsec.tunnel.hubapi import AT_ONCE, BURST, RESPONSE_LIMIT, HubApiProxy, HubUpstream
from jupyter_hpcsec.tunnel.hubrules import BODY_LIMIT
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.peer import bind_unix

AT = "2026-01-01T00:00:00.000000Z"
ACTIVITY = json.dumps({"servers": {"": {"last_activity": AT}}, "last_activity": AT}).encode()


class FakeHub(RequestHandler):
    """Notes each request and answers as it was told to."""

    asked: list[tuple[str, str, dict[str, str], bytes]]
    behave: Callable[["FakeHub"], Any] | None

    def prepare(self) -> None:
        request = self.request
        self.asked.append((request.method or "", request.uri or "", dict(request.headers), request.body))

    async def get(self) -> None:
        self.set_header("X-JupyterHub-Version", "6.1.1")
        self.set_header("Set-Cookie", "hub=secret")
        self.set_header("X-Internal", "secret")
        behave = type(self).behave
        if behave is not None:
            await behave(self)
        else:
            self.finish({"name": "alice"})

    post = get


@pytest.fixture
def hub() -> type[FakeHub]:
    return type("Hub", (FakeHub,), {"asked": [], "behave": None})


@pytest.fixture
async def url(hub: type[FakeHub]) -> AsyncIterator[str]:
    server = HTTPServer(Application([(r".*", hub)]))
    sock, port = bind_unused_port()
    server.add_socket(sock)
    yield f"http://127.0.0.1:{port}/hub/api"
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def counters() -> Counters:
    return Counters()


def proxy_to(
    upstream: HubUpstream,
    counters: Counters,
    base_path: str = "/hub/api",
    user: str = "alice",
    clock: Callable[[], float] = time.monotonic,
) -> HubApiProxy:
    log = logging.getLogger("test-hub-api")
    return HubApiProxy(upstream, base_path=base_path, user=user, server="", counters=counters, log=log, clock=clock)


@pytest.fixture
async def proxy(url: str, counters: Counters) -> AsyncIterator[HubApiProxy]:
    upstream = HubUpstream(url)
    proxy = proxy_to(upstream, counters)
    yield proxy
    await proxy.close()
    upstream.close()


class Node:
    """The node's end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, proxy: HubApiProxy) -> "Node":
        ours, theirs = socket.socketpair()
        proxy.serve(theirs)
        return cls(*await asyncio.open_unix_connection(sock=ours))

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: %2Frun%2Fhub.sock"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        body = b"" if head else await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return int(start.split()[1]), headers, body

    async def ask(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        self.send(method, target, body, **headers)
        return await self.answer(head=method == "HEAD")


def refusal(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    status, headers, body = answer
    assert headers["Content-Type"] == "application/json"
    value = json.loads(body)
    assert set(value) == {"message", "rule"}
    return status, value["rule"]


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "rule"),
    [
        (("GET", "/hub/api/users/bob"), "hub-api.user"),
        (("POST", "/hub/api/users/bob/activity"), "hub-api.user"),
        (("GET", "/hub/api/users/%61lice/activity"), "hub-api.form"),
        (("GET", "/hub//api/user"), "hub-api.form"),
        (("GET", "/hub/api/../api/user"), "hub-api.form"),
        (("GET", "/hub/api/user?token=x"), "hub-api.query"),
        (("GET", "http://127.0.0.1/hub/api/user"), "hub-api.target"),
        (("CONNECT", "hub:8081"), "hub-api.target"),
        (("TRACE", "/hub/api/user"), "hub-api.method"),
        (("DELETE", "/hub/api/user"), "hub-api.method"),
        (("GET", "/hub/api/shutdown"), "hub-api.path"),
    ],
)
async def test_a_refusal_is_answered_counted_logged_and_never_reaches_the_hub(
    proxy: HubApiProxy,
    hub: type[FakeHub],
    caplog: pytest.LogCaptureFixture,
    request_line: tuple[str, str],
    rule: str,
) -> None:
    method, target = request_line
    node = await Node.of(proxy)
    assert refusal(await node.ask(method, target)) == (403, rule)
    assert hub.asked == []
    assert proxy.counters.snapshot() == {rule: 1}
    assert f"of 'alice' refused [{rule}]" in caplog.text
    assert (await node.ask("GET", "/hub/api/user"))[0] == 200, "the connection goes on"


async def test_head_is_refused_without_a_body(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    node = await Node.of(proxy)
    assert (await node.ask("HEAD", "/hub/api/user"))[0] == 403
    assert (await node.ask("GET", "/hub/api/user"))[0] == 200
    assert len(hub.asked) == 1


async def test_bodies_are_checked(proxy: HubApiProxy, hub: type[FakeHub], counters: Counters) -> None:
    node = await Node.of(proxy)
    path = "/hub/api/users/alice/activity"
    other = json.dumps({"servers": {"gpu": {"last_activity": AT}}}).encode()
    big = json.dumps({"last_activity": "x" * BODY_LIMIT}).encode()
    assert refusal(await node.ask("POST", path, other, Content_Type="application/json")) == (403, "hub-api.server")
    assert refusal(await node.ask("POST", path, big, Content_Type="application/json")) == (403, "hub-api.body")
    assert refusal(await node.ask("POST", path, b"x" * 10**6, Content_Type="application/json")) == (403, "hub-api.body")
    assert refusal(await node.ask("POST", path, ACTIVITY, Content_Type="text/plain")) == (403, "hub-api.body")
    assert refusal(await node.ask("GET", "/hub/api/user", b"x")) == (403, "hub-api.body")
    assert hub.asked == []
    assert counters.snapshot() == {"hub-api.body": 4, "hub-api.server": 1}
    assert (await node.ask("POST", path, ACTIVITY, Content_Type="application/json"))[0] == 200
    assert hub.asked[0][3] == ACTIVITY


async def test_a_header_that_stands_twice_is_refused(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    node = await Node.of(proxy)
    twice = await node.ask("GET", "/hub/api/user", Authorization="token a\r\nAuthorization: token b")
    assert refusal(twice) == (403, "hub-api.header")
    assert hub.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET /hub/api/user HTTP/2.0\r\n\r\n",
        b"GET /hub/api/user HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /hub/api/user HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"POST /hub/api/oauth2/token HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /hub/api/oauth2/token HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /hub/api/oauth2/token HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
    ],
)
async def test_what_is_not_http_ends_the_connection(proxy: HubApiProxy, hub: type[FakeHub], raw: bytes) -> None:
    node = await Node.of(proxy)
    node.writer.write(raw)
    assert await node.reader.read() in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert hub.asked == []


async def test_a_session_that_asks_too_often_has_to_wait(url: str, hub: type[FakeHub], counters: Counters) -> None:
    now = 0.0
    upstream = HubUpstream(url)
    proxy = proxy_to(upstream, counters, clock=lambda: now)
    node = await Node.of(proxy)
    for _ in range(BURST):
        await node.ask("GET", "/hub/api/nothing")
    assert refusal(await node.ask("GET", "/hub/api/user")) == (429, "hub-api.rate")
    assert hub.asked == []
    now = 1.0
    assert (await node.ask("GET", "/hub/api/user"))[0] == 200
    await proxy.close()
    upstream.close()


async def test_a_session_has_few_requests_under_way(
    proxy: HubApiProxy, hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, here, gone = asyncio.Event(), asyncio.Semaphore(0), asyncio.Event()
    release = proxy.under_way.release

    def released() -> None:
        release()
        gone.set()

    monkeypatch.setattr(proxy.under_way, "release", released)

    async def slow(handler: FakeHub) -> None:
        here.release()
        await go.wait()
        handler.finish({})

    hub.behave = slow
    nodes = [await Node.of(proxy) for _ in range(AT_ONCE + 1)]
    for node in nodes[:-1]:
        node.send("GET", "/hub/api/user")
        await here.acquire()
    assert refusal(await nodes[-1].ask("GET", "/hub/api/user")) == (429, "hub-api.busy")
    nodes[0].writer.close()
    await gone.wait()
    go.set()
    assert (await nodes[-1].ask("GET", "/hub/api/user"))[0] == 200, "who goes away makes room"
    for node in nodes[1:-1]:
        assert (await node.answer())[0] == 200
    assert proxy.under_way.held == 0


# -- what comes through -------------------------------------------------------------------------------------------


async def test_few_headers_pass_either_way(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    node = await Node.of(proxy)
    status, headers, body = await node.ask(
        "GET",
        "/hub/api/user",
        Authorization="token t0ken",
        Accept="application/json",
        Accept_Encoding="gzip, deflate",
        Cookie="a=b",
        X_Forwarded_For="192.0.2.1",
        X_Forwarded_Host="evil",
        X_Real_IP="192.0.2.1",
        X_Scheme="https",
        Referer="http://evil/",
        Origin="http://evil",
        Upgrade="websocket",
        User_Agent="Python/3.11 aiohttp/3.14",
    )
    assert (status, json.loads(body)) == (200, {"name": "alice"})
    assert set(headers) == {"Content-Type", "Date", "X-Jupyterhub-Version", "Content-Length"}
    assert headers["X-Jupyterhub-Version"] == "6.1.1"
    method, target, sent, _ = hub.asked[0]
    assert (method, target) == ("GET", "/hub/api/user")
    assert sent.pop("Host").startswith("127.0.0.1:")
    assert sent == {
        "Authorization": "token t0ken",
        "Accept": "application/json",
        "User-Agent": "Python/3.11 aiohttp/3.14",
        "Connection": "close",
    }


async def test_the_login_step_passes_its_form(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    form = b"client_id=jupyterhub-user-alice&code=x"
    node = await Node.of(proxy)
    answer = await node.ask("POST", "/hub/api/oauth2/token", form, Content_Type="application/x-www-form-urlencoded")
    assert answer[0] == 200
    assert (hub.asked[0][1], hub.asked[0][3]) == ("/hub/api/oauth2/token", form)


async def test_a_chunked_body_is_put_together(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    node = await Node.of(proxy)
    node.send("POST", "/hub/api/users/alice/activity", Content_Type="application/json", Transfer_Encoding="chunked")
    for part in (ACTIVITY[:10], ACTIVITY[10:], b""):
        node.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    assert (await node.answer())[0] == 200
    assert hub.asked[0][3] == ACTIVITY
    assert hub.asked[0][2]["Content-Length"] == str(len(ACTIVITY))


async def test_the_hub_gets_our_spelling(url: str, hub: type[FakeHub], counters: Counters) -> None:
    upstream = HubUpstream(url + "/")
    proxy = proxy_to(upstream, counters, user="o'neil", base_path="/jupyter/hub/api")
    node = await Node.of(proxy)
    for target in ("/jupyter/hub/api/users/o'neil/activity", "/jupyter/hub/api/users/o%27neil/activity"):
        assert (await node.ask("POST", target, ACTIVITY, Content_Type="application/json"))[0] == 200
    assert (await node.ask("GET", "/jupyter/hub/api/"))[0] == 200
    assert [request[1] for request in hub.asked] == [*["/hub/api/users/o%27neil/activity"] * 2, "/hub/api"]
    await proxy.close()
    upstream.close()


@pytest.mark.parametrize("status", [204, 401, 403, 404, 503, 599, 799])
async def test_the_hubs_own_answers_pass(proxy: HubApiProxy, hub: type[FakeHub], status: int) -> None:
    async def answer(handler: FakeHub) -> None:
        handler.set_status(status, "x")
        handler.finish(None if status == 204 else b"{}")

    hub.behave = answer
    node = await Node.of(proxy)
    for _ in range(2):
        got, headers, body = await node.ask("GET", "/hub/api/user")
        assert (got, body) == (status, b"" if status == 204 else b"{}")
        assert headers["X-Jupyterhub-Version"] == "6.1.1"


# -- a hub that is away -------------------------------------------------------------------------------------------


async def test_a_hub_that_is_away_is_503_and_comes_back(
    tmp_path: Path, hub: type[FakeHub], counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "hub.sock"
    upstream = HubUpstream(f"http+unix://{quote(str(path), safe='')}/hub/api")
    proxy = proxy_to(upstream, counters)
    node = await Node.of(proxy)
    status, _, body = await node.ask("GET", "/hub/api")
    assert status == 503
    assert "can't reach JupyterHub" in json.loads(body)["message"]
    assert counters.snapshot() == {"hub-api.away": 1}
    assert "can't reach JupyterHub" in caplog.text
    server = HTTPServer(Application([(r".*", hub)]))
    server.add_socket(bind_unix(path))
    assert (await node.ask("GET", "/hub/api"))[0] == 200
    assert hub.asked[0][1] == "/hub/api"
    server.stop()
    await proxy.close()
    upstream.close()


async def test_a_hub_that_hangs_is_503(proxy: HubApiProxy, hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(handler: FakeHub) -> None:
        await asyncio.Event().wait()

    hub.behave = hang
    monkeypatch.setattr(hubapi, "REQUEST_TIMEOUT_S", 0.1)
    status, _, body = await (await Node.of(proxy)).ask("GET", "/hub/api")
    assert status == 503
    assert "in time" in json.loads(body)["message"]


async def test_a_redirect_is_not_followed(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    async def redirect(handler: FakeHub) -> None:
        handler.redirect("/hub/login")

    hub.behave = redirect
    status, headers, _ = await (await Node.of(proxy)).ask("GET", "/hub/api")
    assert status == 502
    assert "Location" not in headers
    assert len(hub.asked) == 1


async def test_an_answer_that_is_too_large_is_502(proxy: HubApiProxy, hub: type[FakeHub]) -> None:
    async def large(handler: FakeHub) -> None:
        handler.finish(b"x" * (RESPONSE_LIMIT + 1))

    hub.behave = large
    assert (await (await Node.of(proxy)).ask("GET", "/hub/api"))[0] == 502


async def test_a_fault_of_our_own_ends_the_connection_and_is_logged(
    proxy: HubApiProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*args: object, **settings: object) -> None:
        raise KeyError("fault")

    monkeypatch.setattr(hubapi, "check_body", fault)
    node = await Node.of(proxy)
    node.send("GET", "/hub/api")
    assert await node.reader.read() == b""
    assert "BUG: a Hub API request of 'alice' was dropped" in caplog.text


async def test_close_ends_open_connections(proxy: HubApiProxy) -> None:
    node = await Node.of(proxy)
    assert (await node.ask("GET", "/hub/api"))[0] == 200
    await proxy.close()
    assert await node.reader.read() == b""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hub",
        "/hub/api",
        "ftp://hub/hub/api",
        "http:///hub/api",
        "http://a:b@hub/hub/api",
        "http://hub/?x",
        "http://hub/#x",
    ],
)
async def test_a_hub_url_has_few_forms(url: str) -> None:
    with pytest.raises(Malformed):
        HubUpstream(url)


async def test_whose_a_token_is_passes_by_and_nothing_else(url: str, hub: type[FakeHub], counters: Counters) -> None:
    heard: list[bytes] = []
    upstream = HubUpstream(url)
    log = logging.getLogger("test-hub-api")
    proxy = HubApiProxy(upstream, user="alice", server="", counters=counters, log=log, identified=heard.append)
    node = await Node.of(proxy)
    await node.ask("GET", "/hub/api/")
    await node.ask("POST", "/hub/api/users/alice/activity", ACTIVITY, Content_Type="application/json")
    assert (await node.ask("GET", "/hub/api/users/bob"))[0] == 403
    assert heard == []

    async def refuse(handler: FakeHub) -> None:
        handler.set_status(403)
        handler.finish({"name": "mallory"})

    hub.behave = refuse
    assert (await node.ask("GET", "/hub/api/user"))[0] == 403
    assert heard == [], "a token that the hub does not know is nobody's"
    hub.behave = None
    assert (await node.ask("GET", "/hub/api/user", Authorization="token x"))[0] == 200
    assert heard == [b'{"name": "alice"}']
    await proxy.close()
    upstream.close()
