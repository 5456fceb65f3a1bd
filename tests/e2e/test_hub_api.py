"""A real JupyterHub and a real single-user server, with nothing but the gateway's Hub API proxy between them.

The hub listens on a unix socket and has no proxy of its own; the server's only way to it is the socket that stands for
the node's end of the tunnel.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from jupyter_hpcsec.tunnel.hubapi import HubApiProxy, HubUpstream
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.peer import bind_unix

pytestmark = pytest.mark.e2e

ADMIN = "admin-token-of-the-test-0123456789"

HUB_CONFIG = f"""
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {{}}

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.hub_bind_url = "http+unix://" + __import__("os").environ["HUB_SOCKET"].replace("/", "%2F")
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = "cookie_secret"
c.JupyterHub.services = [{{"name": "test", "api_token": {ADMIN!r}}}]
c.JupyterHub.load_roles = [{{
    "name": "test", "services": ["test"],
    "scopes": ["admin:users", "admin:servers", "tokens", "users:activity", "access:servers"],
}}]
"""


@dataclass
class Processes:
    """What the test starts, with its output in files; all of it is gone at the end."""

    directory: Path
    running: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, name: str, *argv: str, env: dict[str, str], ready: str) -> None:
        """Start it and wait until its output says so."""
        output = self.directory / f"{name}.log"
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=self.directory, env=os.environ | env, stdout=file, stderr=asyncio.subprocess.STDOUT
            )
        self.running.append(process)
        ended = asyncio.ensure_future(process.wait())
        while ready not in output.read_text():
            await asyncio.wait([ended], timeout=0.05)
            assert not ended.done(), output.read_text()

    async def stop(self) -> None:
        for process in self.running:
            if process.returncode is None:
                process.terminate()
        for process in self.running:
            await process.wait()


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    await processes.stop()


def over(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), base_url="http://hub")


async def asked(session: aiohttp.ClientSession, method: str, target: str, **settings: Any) -> tuple[int, Any]:
    async with session.request(method, target, **settings) as response:
        text = await response.text()
        return response.status, json.loads(text) if text else None


async def listening(path: Path) -> None:
    """The server says that it runs shortly before it does."""
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


@pytest.fixture
async def hub(processes: Processes, tmp_path: Path) -> Path:
    path = tmp_path / "hub.sock"
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(HUB_CONFIG)
    argv = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    await processes.start("hub", *argv, env={"HUB_SOCKET": str(path)}, ready="JupyterHub is now running")
    return path


@pytest.fixture
async def tokens(hub: Path) -> dict[str, str]:
    """API tokens of alice and bob with all that their owners may do, given by the hub itself."""
    admin = {"Authorization": f"token {ADMIN}"}
    tokens = {}
    async with over(hub) as session:
        for name in ("alice", "bob"):
            assert (await asked(session, "POST", f"/hub/api/users/{name}", headers=admin))[0] == 201
            status, model = await asked(session, "POST", f"/hub/api/users/{name}/tokens", headers=admin)
            assert status == 201
            tokens[name] = model["token"]
    return tokens


class Spy(HubApiProxy):
    """Notes the request lines that were let through."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.let_through: list[tuple[str, str]] = []

    def admit(self, method: str, target: str, headers: Any) -> Any:
        route = super().admit(method, target, headers)
        self.let_through.append((method, target))
        return route


@asynccontextmanager
async def node_end(hub: Path, path: Path) -> AsyncIterator[Spy]:
    """The node's socket for the Hub API, straight into the proxy of alice's session."""
    import logging

    upstream = HubUpstream(f"http+unix://{quote(str(hub), safe='')}/hub/api")
    proxy = Spy(upstream, user="alice", server="", counters=Counters(), log=logging.getLogger("test-hub-api"))
    loop = asyncio.get_running_loop()

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            proxy.serve(connection)

    with bind_unix(path) as listener:
        accepting = asyncio.ensure_future(accept())
        try:
            yield proxy
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])
            await proxy.close()
            upstream.close()


async def test_what_the_hub_allows_the_tunnel_still_refuses(hub: Path, tokens: dict[str, str], tmp_path: Path) -> None:
    alice = {"Authorization": f"token {tokens['alice']}"}
    admin = {"Authorization": f"token {ADMIN}"}
    async with (
        node_end(hub, tmp_path / "node.sock") as proxy,
        over(hub) as direct,
        over(tmp_path / "node.sock") as node,
    ):
        # The refusals: requests that the hub grants to this very token when they come another way.
        for method, target, headers, granted, rule in (
            ("POST", "/hub/api/users/alice/tokens", alice, 201, "hub-api.user"),
            ("GET", "/hub/api/users/alice/tokens", alice, 200, "hub-api.user"),
            ("GET", "/hub/api/users/alice", alice, 200, "hub-api.user"),
            ("GET", "/hub/api/users", admin, 200, "hub-api.path"),
            ("GET", "/hub/api/users/bob", admin, 200, "hub-api.user"),
            ("GET", "/hub/api/user?x=1", alice, 200, "hub-api.query"),
        ):
            assert (await asked(direct, method, target, headers=headers))[0] == granted
            status, answer = await asked(node, method, target, headers=headers)
            assert (status, answer["rule"]) == (403, rule)
        assert proxy.let_through == []
        assert sum(proxy.counters.snapshot().values()) == 6
        # The hub's own refusals pass: the proxy adds no rights.
        assert (await asked(node, "GET", "/hub/api/user"))[0] == 403
        form = {
            "client_id": "jupyterhub-user-alice",
            "client_secret": "x",
            "code": "x",
            "grant_type": "authorization_code",
        }
        assert (await asked(node, "POST", "/hub/api/oauth2/token", data=form))[0] in (400, 401)
        # What a session needs.
        status, who = await asked(node, "GET", "/hub/api/user", headers=alice)
        assert (status, who["name"]) == (200, "alice")
        report = {"servers": {}, "last_activity": "2026-01-02T03:04:05.000000Z"}
        sent = await asked(node, "POST", "/hub/api/users/alice/activity", headers=alice, json=report)
        assert sent[0] == 200
        # And alice's report for bob's server, which the hub would refuse too, is not even asked.
        status, answer = await asked(node, "POST", "/hub/api/users/bob/activity", headers=alice, json=report)
        assert (status, answer["rule"]) == (403, "hub-api.user")


async def test_a_real_single_user_server_needs_no_more(
    hub: Path, tokens: dict[str, str], processes: Processes, tmp_path: Path
) -> None:
    node, server = tmp_path / "node.sock", tmp_path / "server.sock"
    api = f"http+unix://{quote(str(node), safe='')}/hub/api"
    env = {
        "JUPYTERHUB_API_URL": api,
        "JUPYTERHUB_ACTIVITY_URL": f"{api}/users/alice/activity",
        "JUPYTERHUB_ACTIVITY_INTERVAL": "1",
        "JUPYTERHUB_API_TOKEN": tokens["alice"],
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-alice",
        "JUPYTERHUB_USER": "alice",
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
        "JUPYTERHUB_SERVICE_URL": f"http+unix://{quote(str(server), safe='')}/user/alice/",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!user=alice"]',
        "JUPYTERHUB_BASE_URL": "/",
        "HOME": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    argv = [sys.executable, "-m", "jupyterhub.singleuser", f"--ServerApp.sock={server}", "--allow-root"]
    async with node_end(hub, node) as proxy, over(server) as browser:
        await processes.start("server", *argv, env=env, ready="is running at")
        async with asyncio.timeout(30):
            await listening(server)
        # Refused by the server itself without a token, let in with one that the hub knows as alice's.
        assert (await asked(browser, "GET", "/user/alice/api/contents"))[0] == 403
        for name, status in (("bob", 403), ("alice", 200)):
            headers = {"Authorization": f"token {tokens[name]}"}
            assert (await asked(browser, "GET", "/user/alice/api/contents", headers=headers))[0] == status
        async with asyncio.timeout(30):
            while ("POST", "/hub/api/users/alice/activity") not in proxy.let_through:
                await asyncio.sleep(0.05)
        assert set(proxy.let_through) == {
            ("GET", "/hub/api"),
            ("GET", "/hub/api/user"),
            ("POST", "/hub/api/users/alice/activity"),
        }
        assert proxy.counters.snapshot() == {}, "nothing that it sent was refused"
