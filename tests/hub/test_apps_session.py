"""Apps in a whole session whose policy gives it a network of its own: started in its sandbox, reached by the tunnel."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.hub.policies import PolicyFile
from tests.hub.jupyter_client import Client
from tests.hub.rules import write_policy
from tests.hub.standin import GUEST_TOKEN, STRANGER_TOKEN, USER_TOKEN, launch_of
from tests.hub.test_launch_whole import Deployment, deployment, register, run, until  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6, here: none or older"),
    pytest.mark.timeout(120),
]

PORT = 20021
APP = f"/user/alice/hpcsec/app/{PORT}"
BIND = '- {{who: "*", allow: {{write: ["{{home}}"]}}, network: {{bind: {bind}}}}}'
START = f"""
import asyncio, os, threading
from tornado import httpserver, web, websocket
class Page(web.RequestHandler):
    def get(self): self.write({{"seen": dict(self.request.headers), "uri": self.request.uri}})
class Socket(websocket.WebSocketHandler):
    async def on_message(self, message): await self.write_message(message[::-1])
try:
    httpserver.HTTPServer(web.Application([("/socket", Socket), (".*", Page)])).listen({PORT})
    print("listens")
except OSError as error:
    print(error.strerror)
"""
OUTSIDE = """
import socket
for address in [("127.0.0.1", {port}), ("192.0.2.1", 443)]:
    try: socket.create_connection(address, 5); print("connected")
    except OSError as error: print(error.strerror)
print([name for _, name in socket.if_nameindex()])
print(os.environ.get("DASK_DISTRIBUTED__DASHBOARD__LINK"))
"""


@pytest.fixture
async def client(deployment: Deployment, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Client]:  # noqa: F811
    """A ready session under a policy with the test's ``bind``."""
    path = write_policy(tmp_path / "policy.yaml", BIND.format(bind=request.param))
    await deployment.stop()
    deployment.policies = PolicyFile(path, parse, deployment.log)
    await deployment.start()
    registration = await register(deployment, launch_of("jupyterhub-singleuser"), tmp_path / "home")
    job = await run(deployment, registration, tmp_path / "home")
    messages = await until(deployment, registration, "ready")
    assert messages
    yield Client(registration.socket, USER_TOKEN)
    await deployment.client.end(registration.session, "the test is over")
    await job.communicate()


def browser(client: Client, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"token {token}"}
    transport = httpx.AsyncHTTPTransport(uds=str(client.socket))
    return httpx.AsyncClient(transport=transport, base_url="http://hub.example", headers=headers, timeout=30)


@pytest.mark.parametrize("client", ["none"], indirect=True)
async def test_where_the_policy_does_not_allow_it_nothing_listens_and_the_page_says_why(client: Client) -> None:
    kernel = await client.start_kernel()
    assert await client.run(kernel, START) == "Permission denied\n"
    async with browser(client, USER_TOKEN) as alice:
        answer = await alice.get(f"{APP}/")
    assert answer.status_code == 404
    assert "policy of this site" in answer.text


@pytest.mark.parametrize("client", ["private"], indirect=True)
async def test_an_app_of_a_private_session_is_reached_by_its_owner_alone(client: Client) -> None:
    kernel = await client.start_kernel()
    assert await client.run(kernel, START) == "listens\n"

    # from the node itself, and by whoever is not the owner: a stranger, and a guest with whom the server is shared
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", PORT))
    for token, status in (("nonsense", 403), (STRANGER_TOKEN, 403), (GUEST_TOKEN, 403)):
        async with browser(client, token) as other:
            assert (await other.post(f"{APP}/")).status_code == status
            assert (await other.get(f"{APP}/")).status_code in {302, 403}
        with pytest.raises(websockets.InvalidStatus):
            async with _websocket(client, token):
                pass

    async with browser(client, USER_TOKEN) as alice:
        seen = (await alice.get(f"{APP}/a?token=x&b=1", headers={"Cookie": "jupyterhub-session-id=s"})).json()
        assert f'href="{PORT}/"' in (await alice.get("/user/alice/hpcsec/app/")).text
    assert seen["uri"] == "/a?b=1"
    assert not {"Cookie", "Authorization"} & set(seen["seen"])
    async with _websocket(client, USER_TOKEN) as opened:
        await opened.send("abc")
        assert await asyncio.wait_for(opened.recv(), 60) == "cba"

    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = await client.run(kernel, "import os\n" + OUTSIDE.format(port=listening.getsockname()[1]))
    assert said.splitlines() == [
        "Connection refused", "Network is unreachable", "['lo']", "/user/alice/hpcsec/app/{port}/status",
    ]  # fmt: skip


@pytest.mark.parametrize("client", ["private"], indirect=True)
async def test_a_cell_can_be_debugged(client: Client) -> None:
    kernel = await client.start_kernel()
    assert await client.run(kernel, "print(1)") == "1\n"
    arguments = {"clientID": "test", "adapterID": "", "pathFormat": "path"}
    initialize = {"type": "request", "seq": 1, "command": "initialize", "arguments": arguments}
    answers = await client.ask(kernel, "control", "debug_request", initialize)
    reply = next(content for kind, content in answers if kind == "debug_reply")
    assert reply["success"], reply


def _websocket(client: Client, token: str) -> websockets.unix_connect:
    return websockets.unix_connect(
        str(client.socket),
        f"ws://hub.example{APP}/socket",
        additional_headers={"Authorization": f"token {token}"},
    )
