"""A walk over all routes of the extension, as a real server has them: none answers without a login."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access.values import Right
from tests.hub.jupyter_client import BASE
from tests.server.realserver import RealServer, rules

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
LISTING = '''
import json, pathlib
from tornado.web import RequestHandler

class Open(RequestHandler):
    """What the walk must find."""
    def get(self):
        self.finish("open")

Open.__module__ = "jupyter_hpcsec.made_up"

def found(router):
    for rule in router.rules:
        if hasattr(rule.target, "rules"):
            yield from found(rule.target)
        else:
            yield getattr(getattr(rule.matcher, "regex", None), "pattern", ""), rule.target

def _jupyter_server_extension_points():
    return [{"module": "zz_routes"}]

def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [(app.base_url + "hpcsec/open", Open)])
    ours = [
        [pattern, target.__qualname__]
        for router in (app.web_app.wildcard_router, app.web_app.default_router)
        for pattern, target in found(router)
        if getattr(target, "__module__", "").startswith("jupyter_hpcsec.")
    ]
    pathlib.Path(__file__).with_name("routes.json").write_text(json.dumps(ours))
'''
CONFIG = "import sys; sys.path.insert(0, {home!r}); c.ServerApp.jpserver_extensions = {{'zz_routes': True}}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealServer]:
    made = RealServer(tmp_path)
    (made.home / "zz_routes.py").write_text(LISTING)
    try:
        await made.start(rules(made.home, (made.home / "ro", Right.READ)), config=CONFIG.format(home=str(made.home)))
        yield made
    finally:
        made.stop()


def sample(pattern: str) -> str:
    """A path that a route's pattern matches."""
    path = re.sub(r"\(\?P<path>/\.\*\)\??", "/x.txt", pattern.removesuffix("$"))
    path = path.replace("(.*)", "x.txt").replace(".+", "8765/")
    assert re.fullmatch(pattern, path), f"a pattern that the walk can't fill: {pattern}"
    return path


async def ask(server: RealServer, method: str, path: str, more: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request with these headers more."""
    reader, writer = await asyncio.open_unix_connection(server.socket)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{more}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = b"" if method == "HEAD" else await reader.read(int(headers.get("content-length", "0")))
    writer.close()
    return int(head[0].split()[1]), headers, body


async def answers(server: RealServer, path: str, login: str) -> list[str]:
    """What a route answers to whoever logs in so that is no refusal, and what of it lacks the headers of a page."""
    found = []
    for method, more in [*((method, "") for method in METHODS), ("GET", UPGRADE)]:
        status, headers, body = await ask(server, method, path, login + (more or "Connection: close\r\n"))
        is_refused = status in (403, 405) or (status == 302 and headers["location"].startswith(f"{BASE}/login"))
        is_empty = method == "OPTIONS" and not body  # asked before a request, and without a login by what it is for
        if not is_refused and not is_empty:
            found.append(f"{method} {path}: {status}")
        elif "frame-ancestors" not in headers.get("content-security-policy", "") and status != 405:
            found.append(f"{method} {path}: {status} without a policy")
    return found


async def test_no_route_answers_without_a_login(server: RealServer) -> None:
    routes = {sample(pattern): name for pattern, name in json.loads((server.home / "routes.json").read_text())}
    assert {"SessionHandler", "UploadHandler", "AppHandler", "SilentEventsSocket"} <= set(routes.values())
    (server.home / "x.txt").write_text("a file")
    for login in ("", "Authorization: token wrong\r\n"):
        walked = await asyncio.gather(*(answers(server, path, login) for path in routes))
        found = [each for answered in walked for each in answered]
        made_up = [each for each in found if "/hpcsec/open" in each]
        assert [each for each in found if each not in made_up] == [], login
        assert f"GET {BASE}/hpcsec/open: 200" in made_up, "the walk does not see what is open"
    status, _, body = await ask(server, "GET", f"{BASE}/files/x.txt", f"Authorization: token {server.client.token}\r\n")
    assert (status, body) == (200, b"a file")
