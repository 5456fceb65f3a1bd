"""What a real server tells its agent: kernels, terminals, refusals; and what its event bus is closed to."""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets

from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.audit.events import Told, kind_of
from jupyter_hpcsec.audit.kinds.node import NodeLost, NodeTerminalOpened
from jupyter_hpcsec.hub.serverchannel import PACKET_LIMIT, ServerChannel
from jupyter_hpcsec.server import events
from jupyter_hpcsec.server.events import Events
from tests.hub.jupyter_client import BASE
from tests.server.realserver import RealServer, rules

LOG = logging.getLogger("test")


class Agent:
    """The agent's end of the channel."""

    def __init__(self, path: Path) -> None:
        self.told: list[Told] = []
        self.malformed = 0
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.channel = ServerChannel(path, take=self.told.append, malformed=self._malformed, room=self._room, log=LOG)

    def _malformed(self) -> None:
        self.malformed += 1

    async def _room(self) -> None:
        await self.may_read.wait()

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.told if kind_of(event) == kind]

    @contextlib.asynccontextmanager
    async def hearing(self, pid: int) -> AsyncIterator[None]:
        task = asyncio.create_task(self.channel.hear(pid))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.channel.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "events.sock")


def connect(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.connect(str(path))
    return made


# The channel


async def test_another_process_than_the_server_is_not_heard(agent: Agent, tmp_path: Path) -> None:
    async with agent.hearing(os.getpid() + 1):
        with connect(tmp_path / "events.sock") as stranger:
            stranger.settimeout(60)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stranger.send(msgspec.json.encode(NodeTerminalOpened(terminal="1")))
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(stranger.recv, 1) == b""
        assert not agent.channel.connected.is_set()
    assert agent.told == []


@pytest.mark.parametrize(
    "packet",
    [
        b'{"kind":"node.alarm"}',
        b'{"kind":"node.heartbeat"}',
        b'{"kind":"node.server-ended"}',
        b'{"kind":"session.ended"}',
        b'{"kind":"node.terminal-opened","trust":"gateway"}',
        b'{"kind":"node.terminal-opened","terminal":"\xff"}',
        b'{"kind":"node.terminal-opened","subject":' + b"[" * 40_000,
        b'{"kind":"node.terminal-opened","terminal":"' + b"x" * 100_000 + b'"}',
        b"\0",
        b"x" * (PACKET_LIMIT + 1),
    ],
)
async def test_what_is_not_the_servers_to_tell_is_counted_and_the_next_one_heard(
    agent: Agent, tmp_path: Path, packet: bytes
) -> None:
    async with agent.hearing(os.getpid()):
        with connect(tmp_path / "events.sock") as server:
            server.send(packet)
            server.send(msgspec.json.encode(NodeTerminalOpened(terminal="1")))
            await until(lambda: agent.told)
    assert agent.malformed == 1
    assert [kind_of(event) for event in agent.told] == ["node.terminal-opened"]
    assert not (tmp_path / "events.sock").exists()


async def test_a_flood_is_counted_where_it_is_made_and_blocks_nobody(agent: Agent, tmp_path: Path) -> None:
    telling = Events(connect(tmp_path / "events.sock"), most=100)
    agent.may_read.clear()
    async with agent.hearing(os.getpid()):
        for _ in range(20_000):
            telling.tell(NodeTerminalOpened(terminal="x" * 255))
        agent.may_read.set()
        await until(lambda: agent.of("node.lost"))
        telling.tell(NodeTerminalOpened(terminal="last"))
        await until(lambda: agent.told[-1] == NodeTerminalOpened(terminal="last"))
    lost = sum(event.lost for event in agent.told if isinstance(event, NodeLost))
    assert lost + len(agent.of("node.terminal-opened")) == 20_001


def test_without_an_agent_nothing_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("", str(tmp_path / "session.json")):
        monkeypatch.setenv("JUPYTER_HPCSEC_SESSION", name)
        assert not events.connect()
        events.tell(NodeTerminalOpened())


# A whole server


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[tuple[RealServer, Agent]]:
    server = RealServer(tmp_path)
    (server.home / "closed").mkdir()
    (server.home / "closed" / "x.txt").write_text("secret")
    agent = Agent(server.private / "events.sock")
    try:
        await server.start(rules(server.home, (server.home / "closed", Right.NONE)))
        assert server.process is not None
        async with agent.hearing(server.process.pid):
            yield server, agent
    finally:
        server.stop()


async def test_a_server_tells_of_kernels_terminals_and_refusals_and_its_event_bus_is_closed(
    session: tuple[RealServer, Agent],
) -> None:
    server, agent = session
    client = server.client
    # Refused: forging an event, in every way; listening to them
    forged = {"schema_id": "https://events.jupyter.org/jupyter_server/contents_service/v1", "version": "1", "data": {}}
    for method in ("POST", "GET", "PUT", "DELETE"):
        status, answer = await client.request(method, "/api/events", forged if method != "GET" else None)
        assert status == 403
        assert "the gateway records" in answer["message"]
    stranger = type(client)(client.socket, "wrong")
    assert (await stranger.request("POST", "/api/events", forged))[0] == 403
    await until(lambda: len(agent.of("node.request-refused")) == 4)
    assert {event.rule for event in agent.of("node.request-refused")} == {"events.closed"}
    # Refused: an app, with and without a websocket; who asked is named
    assert (await client.request("GET", "/hpcsec/app/9999/x"))[0] >= 400
    with pytest.raises(websockets.InvalidStatus):
        await websockets.unix_connect(
            str(client.socket),
            uri=f"ws://localhost{BASE}/hpcsec/app/9999/x",
            additional_headers={"Authorization": f"token {client.token}"},
        )
    await until(lambda: len([event for event in agent.of("node.request-refused") if "app." in event.rule]) == 2)
    app = agent.of("node.request-refused")[-1]
    assert app.object.name.endswith("/hpcsec/app/9999/x") and "Asked by " in app.reason and app.decision == "refused"
    # Refused: what the policy closes, by contents manager and files handler
    for target in ("/api/contents/closed/x.txt", "/files/closed/x.txt"):
        assert (await client.request("GET", target))[0] == 403
    await until(lambda: len(agent.of("node.access-refused")) >= 2)
    for refused in agent.of("node.access-refused"):
        assert (refused.rule, refused.decision) == ("access.denied", "refused")
        assert refused.object.name == str(server.home / "closed" / "x.txt")
    # Then what is allowed
    headers = {"Authorization": f"token {client.token}"}
    async with websockets.unix_connect(
        str(client.socket), uri=f"ws://localhost{BASE}/api/events/subscribe", additional_headers=headers
    ) as subscription:
        kernel = await client.start_kernel()
        assert await client.run(kernel, "print(6 * 7)") == "42\n"
        assert (await client.request("POST", "/api/terminals", {}))[0] == 200
        await client.run(kernel, "open('was.txt', 'w').close()")
        assert (await client.request("GET", "/api/contents/was.txt"))[0] == 200  # jupyter_server has an event for it
        await until(lambda: agent.of("node.kernel-started") and agent.of("node.terminal-opened"))
        heard: list[Any] = []
        reading = asyncio.ensure_future(subscription.recv())
        reading.add_done_callback(lambda done: None if done.cancelled() else heard.append(done.result()))
        async with asyncio.timeout(60):
            await (await subscription.ping())  # whatever was said before has come by now
        reading.cancel()
    assert heard == []
    # Refused: forging an event on that socket; JupyterLab never says anything there
    before = len(agent.of("node.request-refused"))
    async with websockets.unix_connect(
        str(client.socket), uri=f"ws://localhost{BASE}/api/events/subscribe", additional_headers=headers
    ) as subscription:
        await subscription.send(json.dumps(forged))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await subscription.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    await until(lambda: len(agent.of("node.request-refused")) == before + 1)
    assert agent.of("node.request-refused")[-1].object.name.endswith("/api/events/subscribe")
    # and nobody but the owner opens it
    with pytest.raises(websockets.InvalidStatus) as stranger_refused:
        await websockets.unix_connect(str(client.socket), uri=f"ws://localhost{BASE}/api/events/subscribe")
    assert stranger_refused.value.response.status_code in (401, 403)
    assert agent.of("node.kernel-started")[0].kernel == kernel
    assert agent.of("node.kernel-started")[0].spec == "python3"
    # One that ends by itself has died; one that is shut down has stopped
    code = {"code": "import os; os._exit(3)", "silent": False, "store_history": True, "allow_stdin": False}
    dying = asyncio.create_task(client.ask(kernel, "shell", "execute_request", code))
    await until(lambda: agent.of("node.kernel-died"))
    await until(lambda: len(agent.of("node.kernel-started")) == 2)  # it is started anew
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    # jupyter_client answers 500 to who shuts down a kernel that is still being started anew
    assert await client.run(kernel, "print('anew')") == "anew\n"
    assert (await client.request("DELETE", f"/api/kernels/{kernel}"))[0] == 204
    await until(lambda: agent.of("node.kernel-stopped"))
    assert agent.of("node.kernel-stopped")[0].kernel == kernel
