"""Gateway and agent joined, with real keys, TLS and sockets: refusals first, then what passes, then what survives."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel.session import State
from tests.hub.attackers import until
from tests.hub.deployment import ACCOUNT, Deployment, connect, fetch


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def echo_server(path: Path) -> AsyncIterator[None]:
    """Stands for the single-user server: answers with what it got."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nyou sent " + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    async with server:
        yield


async def until_ready(deployment: Deployment, session: str) -> None:
    async with asyncio.timeout(60):
        while not (await deployment.desk.show(session)).get("idle_lanes"):
            await asyncio.sleep(0.02)


async def test_before_a_job_enrols_its_socket_says_so(deployment: Deployment) -> None:
    deployment.limits.__dict__["wait_for_lane_s"] = 0.1
    registration = await deployment.register()
    answer = await fetch(registration.socket)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"compute node is not connected" in answer


async def test_a_token_is_good_once(deployment: Deployment) -> None:
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    enrolled = await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert enrolled.user == "alice"
    assert enrolled.launch["argv"] == ["x"]
    second = deployment.make_agent(registration)
    with pytest.raises(Refused) as refusal:
        await second.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert refusal.value.rule == "enrol.token-used"
    assert deployment.counters.snapshot()["enrol.token-used"] == 1


async def test_of_many_enrolments_at_once_one_wins(deployment: Deployment) -> None:
    registration = await deployment.register()

    async def attempt() -> str:
        agent = deployment.make_agent(registration)
        try:
            await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
        except Refused as refusal:
            return refusal.rule
        return "enrolled"

    results = await asyncio.gather(*(attempt() for _ in range(8)))
    assert results.count("enrolled") == 1
    assert set(results) <= {"enrolled", "enrol.token-used", "enrol.session", "enrol.session-not-waiting"}


async def test_a_used_token_stays_used_after_a_restart(deployment: Deployment) -> None:
    registration = await deployment.register()
    await deployment.make_agent(registration).enrol(
        token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT
    )
    await deployment.stop()
    await deployment.start()
    with pytest.raises(Refused) as refusal:
        await deployment.make_agent(registration).enrol(
            token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT
        )
    assert refusal.value.rule == "enrol.token-used"


async def test_another_job_can_not_use_the_token(deployment: Deployment) -> None:
    registration = await deployment.register()
    with pytest.raises(Refused) as refusal:
        await deployment.make_agent(registration).enrol(
            token=registration.token, job_id="42", node="node1", evidence={}, account=ACCOUNT
        )
    assert refusal.value.rule == "enrol.other-job"
    assert (await deployment.desk.show(registration.session))["state"] == State.WAITING


async def test_requests_pass_and_lanes_are_used_again(deployment: Deployment) -> None:
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        for _ in range(30):
            answer = await fetch(registration.socket)
            assert answer.startswith(b"HTTP/1.1 200 OK")
        many = await asyncio.gather(*(fetch(registration.socket) for _ in range(40)))
        assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in many)
        facts = await deployment.desk.show(registration.session)
        assert facts["streams"] == 70
        assert facts["lanes"] < 60


async def test_what_passes_is_counted_and_stays_counted_when_the_session_ends(deployment: Deployment) -> None:
    registration = await deployment.register()
    with contextlib.suppress(OSError):
        host, _, port = deployment.gateway.endpoints[0].rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await until_counted(deployment.gateway.handshakes, "failed")
        writer.close()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        for _ in range(3):
            assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
        during = deployment.registry.totals()
        assert (during["streams"], during["connected"]) == (3, 1)
        assert deployment.registry.states().total() == 1
        await deployment.desk.end(registration.session, "enough")
    after = deployment.registry.totals()
    assert (after["streams"], after["connected"], after["lanes"]) == (3, 0, 0)
    assert after["bytes_from_node"] >= during["bytes_from_node"] > 0
    assert deployment.registry.states().total() == 0
    assert deployment.gateway.handshakes["done"] >= 3
    assert deployment.gateway.enrolments["done"] == 1


async def until_counted(counts: Counter[str], name: str) -> None:
    async with asyncio.timeout(60):
        while not counts[name]:
            await asyncio.sleep(0.02)


async def test_the_server_socket_is_the_only_target(deployment: Deployment, tmp_path: Path) -> None:
    registration = await deployment.register()
    async with deployment.running_agent(registration, targets={}):
        await until_ready(deployment, registration.session)
        assert await fetch(registration.socket) == b""


async def test_an_ended_session_is_cut_and_its_agent_told(deployment: Deployment) -> None:
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    async with echo_server(deployment.server_socket(registration)):
        holding = asyncio.create_task(agent.run())
        await until_ready(deployment, registration.session)
        _reader, writer = await connect(registration.socket)
        await deployment.desk.end(registration.session, "the user stopped the server")
        assert await asyncio.wait_for(holding, 60) == "the user stopped the server"
        assert not registration.socket.exists()
        writer.close()
    with pytest.raises(Refused) as refusal:
        await deployment.make_agent(registration).enrol(
            token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT
        )
    assert refusal.value.rule.startswith("enrol.")


async def test_a_cut_ends_open_connections_and_the_session_goes_on(deployment: Deployment) -> None:
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        reader, writer = await connect(registration.socket)
        writer.write(b"GET / HTTP/1.1\r\n")  # not finished: the stream stays open
        await asyncio.sleep(0.1)
        await deployment.client.cut(registration.session, "logged out")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")


async def test_an_agent_of_a_session_that_ended_meanwhile_is_refused(deployment: Deployment) -> None:
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    await deployment.desk.end(registration.session, "stopped")
    assert "lane.revoked" in await asyncio.wait_for(agent.run(), 60)


async def test_sessions_survive_a_restart_of_the_gateway(deployment: Deployment) -> None:
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        await deployment.stop()
        await deployment.start()
        async with asyncio.timeout(60):
            answer = await fetch(registration.socket)
        assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_a_certificate_is_renewed_and_the_session_goes_on(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, certificate_lifetime_s=3)
    await deployment.start()
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        first = deployment.store.get(registration.session)
        assert first is not None

        def is_renewed() -> bool:
            later = deployment.store.get(registration.session)
            return later is not None and later.serial != first.serial

        await until(is_renewed, 20)
        assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
    await deployment.stop()


@pytest.mark.parametrize("kind", ["token", "authority", "all"])
async def test_keys_rotate_without_ending_sessions(deployment: Deployment, kind: str) -> None:
    waiting = await deployment.register(user="bob")
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        await deployment.desk.rotate(kind)
        assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
        await deployment.stop()
        await deployment.start()
        async with asyncio.timeout(60):
            assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
    enrolled = await deployment.make_agent(waiting).enrol(
        token=waiting.token, job_id="41", node="node1", evidence={}, account=ACCOUNT
    )
    assert enrolled.user == "bob"


async def test_the_proxys_user_may_use_session_sockets_and_not_the_admin_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(tmp_path)
    plain = deployment.settings
    without_us = frozenset({12345})
    monkeypatch.setattr(
        deployment, "settings", lambda: replace(plain(), allowed_uids=without_us, proxy_uids=frozenset({os.geteuid()}))
    )
    await deployment.start()
    registration = await deployment.register()
    with pytest.raises(Unavailable):
        await deployment.client.sessions()
    assert deployment.counters.snapshot()["admin.peer"] == 1
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration):
        await until_ready(deployment, registration.session)
        assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
    await deployment.stop()
