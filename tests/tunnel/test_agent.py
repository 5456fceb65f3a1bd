"""The agent against gateways that lie, vanish and come back, and against want of descriptors and clocks that jump."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import agent as module
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.agent import Agent
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.frames import open_frame
from jupyter_hpcsec.tunnel.tls import MessageStream, handshake, server_context, tune
from tests.hub.attackers import until
from tests.hub.deployment import ACCOUNT, Deployment, MemoryCredentials, fetch
from tests.hub.test_tunnel import echo_server, until_ready
from tests.tunnel.tlspair import NAME, self_signed

NOW = 2_000_000_000


class Liar:
    """A gateway made by hand: it has the right key, and says what a test wants it to say."""

    def __init__(self) -> None:
        self.der, pem, key = self_signed()
        self.context = server_context(pem, key, [self.der])
        self.context.verify_mode = ssl.CERT_NONE
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)

    async def accept(self) -> tuple[str | None, TlsConnection]:
        raw, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        tune(raw, 5)
        tls = TlsConnection(raw, self.context)
        await handshake(tls, 5)
        return tls.protocol, tls

    async def control(self, *messages: m.FromGateway, welcome: bool = True) -> MessageStream:
        protocol, tls = await self.accept()
        assert protocol == m.CONTROL
        stream = MessageStream(tls)
        assert isinstance(m.decode_from_agent(await stream.receive(m.MAX_MESSAGE)), m.Hello)
        if welcome:
            await stream.send(m.Welcome(heartbeat_s=1, now=NOW))
        for message in messages:
            await stream.send(message)
        return stream

    def agent(self, directory: Path, **changes: Any) -> Agent:
        credentials = MemoryCredentials()
        der, _, key = self_signed("job")
        credentials.certificate = der
        credentials.key_pem = lambda: key  # type: ignore[method-assign]
        settings: dict[str, Any] = {
            "endpoints": [f"127.0.0.1:{self.listener.getsockname()[1]}"],
            "ca": self.der,
            "credentials": credentials,
            "targets": {"server": directory / "server.sock"},
            "hub_api_socket": directory / "hub.sock",
            "server_name": lambda _ca: NAME,
            "log": logging.getLogger("test.agent"),
            "jitter": lambda: 0.0,
            "clock": lambda: NOW,
        }
        made = Agent(**{**settings, **changes})
        made._renewal.issued(NOW, not_after=NOW + 3600, ends_at=NOW + 3600)
        return made


@pytest.fixture
def liar() -> Any:
    made = Liar()
    yield made
    made.listener.close()


@contextlib.asynccontextmanager
async def running(agent: Agent) -> AsyncIterator["asyncio.Task[str]"]:
    task = asyncio.create_task(agent.run())
    try:
        yield task
    finally:
        agent.stop("test over")
        await asyncio.gather(task, return_exceptions=True)


def test_no_gateway_is_an_error_of_the_job(tmp_path: Path) -> None:
    async def make() -> None:
        Liar().agent(tmp_path, endpoints=[])

    with pytest.raises(Malformed, match=r"no gateway"):
        asyncio.run(make())


async def test_an_enrolment_that_is_refused_is_not_tried_again(liar: Liar, tmp_path: Path) -> None:
    enrolling = asyncio.create_task(
        liar.agent(tmp_path).enrol(token="t", job_id="1", node="n", evidence={}, account=ACCOUNT)
    )
    _, tls = await liar.accept()
    stream = MessageStream(tls)
    await stream.receive(m.MAX_MESSAGE)
    await stream.send(m.Denied(rule="token.expired", reason="too late"))
    with pytest.raises(Refused) as refusal:
        await asyncio.wait_for(enrolling, 60)
    assert refusal.value.rule == "token.expired"
    stream.close()


@pytest.mark.parametrize("answer", [m.Heartbeat(now=1), m.End(reason="x"), m.Lanes(total=1)])
async def test_an_enrolment_answered_with_something_else(liar: Liar, tmp_path: Path, answer: m.FromGateway) -> None:
    enrolling = asyncio.create_task(
        liar.agent(tmp_path).enrol(token="t", job_id="1", node="n", evidence={}, account=ACCOUNT)
    )
    _, tls = await liar.accept()
    stream = MessageStream(tls)
    await stream.receive(m.MAX_MESSAGE)
    await stream.send(answer)
    with pytest.raises(Malformed, match=r"answered an enrolment with"):
        await asyncio.wait_for(enrolling, 60)
    stream.close()


async def test_a_gateway_that_can_not_be_reached_is_tried_until_it_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Liar()
    agent = made.agent(tmp_path, endpoints=[f"127.0.0.1:{port}"])
    enrolling = asyncio.create_task(agent.enrol(token="t", job_id="1", node="n", evidence={}, account=ACCOUNT))
    await asyncio.sleep(0.3)
    assert not enrolling.done()
    made.listener.close()
    made.listener = socket.create_server(("127.0.0.1", port))
    made.listener.setblocking(False)
    protocol, tls = await asyncio.wait_for(made.accept(), 60)
    assert protocol == m.ENROL
    enrolling.cancel()
    tls.close()
    made.listener.close()


@pytest.mark.parametrize("message", [m.Lanes(total=1), m.Heartbeat(now=1)])
async def test_who_does_not_begin_with_welcome_is_left(liar: Liar, tmp_path: Path, message: m.FromGateway) -> None:
    async with running(liar.agent(tmp_path)) as task:
        first = await liar.control(message, welcome=False)
        second = await asyncio.wait_for(liar.control(), 60)  # it comes again
        assert not task.done()
        first.close()
        second.close()


async def test_an_end_in_place_of_a_welcome_ends_the_job_with_its_reason(liar: Liar, tmp_path: Path) -> None:
    async with running(liar.agent(tmp_path)) as task:
        stream = await liar.control(m.End(reason="the user stopped the server"), welcome=False)
        assert await asyncio.wait_for(task, 60) == "the user stopped the server"
        stream.close()


async def test_a_denied_control_connection_ends_the_job(liar: Liar, tmp_path: Path) -> None:
    async with running(liar.agent(tmp_path)) as task:
        stream = await liar.control(m.Denied(rule="lane.revoked", reason="over"), welcome=False)
        assert "lane.revoked" in await asyncio.wait_for(task, 60)
        stream.close()


async def test_lanes_are_held_as_asked_and_made_up_for_without_a_rush(liar: Liar, tmp_path: Path) -> None:
    agent = liar.agent(tmp_path)
    async with running(agent):
        stream = await liar.control(m.Lanes(total=3))
        lanes = [(await asyncio.wait_for(liar.accept(), 60))[1] for _ in range(3)]
        await stream.send(m.Lanes(total=2))
        lanes.pop().close()  # one goes: two are wanted, two are there
        await until(lambda: len(agent._lanes) == 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(liar.accept(), 0.8)
        waits = [module.FIRST_WAIT_S]
        for _ in range(3):  # a gateway that closes each new lane is not dialled at full speed
            waits.append(agent._lane_wait)
            lanes.pop(0).close()
            lanes.append((await asyncio.wait_for(liar.accept(), 60))[1])
        assert waits == [module.FIRST_WAIT_S * factor for factor in (1, 2, 4, 8)]
        lanes[0].write(open_frame("server"))  # a lane that carries a stream: all is well again
        await until(lambda: agent._lane_wait == module.FIRST_WAIT_S)
        for each in (*lanes, stream):
            each.close()


@pytest.mark.parametrize("target", ["app/shell", "hub-api"])
async def test_targets_off_its_list_are_refused(liar: Liar, tmp_path: Path, target: str) -> None:
    async with running(liar.agent(tmp_path)):
        stream = await liar.control(m.Lanes(total=1))
        _, tls = await asyncio.wait_for(liar.accept(), 60)
        view, got = memoryview(bytearray(65536)), b""
        tls.write(open_frame(target))
        async with asyncio.timeout(60):
            while b"no such target" not in got:
                got += view[: tls.read_into(view)]
                await asyncio.sleep(0.01)
        tls.close()
        stream.close()


async def test_a_want_of_descriptors_ends_neither_the_job_nor_a_lane(
    liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = liar.agent(tmp_path)

    def none(*_args: object) -> None:
        raise OSError(24, "Too many open files")

    async with running(agent) as task:
        with monkeypatch.context() as patch:
            patch.setattr(module, "client_context", none)
            await asyncio.sleep(0.3)
            assert not task.done()
        stream = await asyncio.wait_for(liar.control(m.Lanes(total=1)), 60)
        _, tls = await asyncio.wait_for(liar.accept(), 60)
        await until(lambda: agent._lanes)
        with monkeypatch.context() as patch:
            patch.setattr(module, "connect_unix", none)
            tls.write(open_frame("server"))
            view, got = memoryview(bytearray(65536)), b""
            async with asyncio.timeout(60):
                while b"server not ready" not in got:
                    got += view[: tls.read_into(view)]
                    await asyncio.sleep(0.01)
        assert agent._lanes
        tls.close()
        stream.close()


async def test_a_node_clock_that_jumps_does_not_end_the_job(liar: Liar, tmp_path: Path) -> None:
    clock = [float(NOW)]
    agent = liar.agent(tmp_path, clock=lambda: clock[0])
    async with running(agent) as task:
        stream = await liar.control()
        await until(lambda: agent._control)
        clock[0] += 86400
        assert abs(agent._gateway_time() - NOW) < 60
        stream.close()
        again = await asyncio.wait_for(liar.control(), 60)
        assert not task.done()
        again.close()


async def test_a_node_clock_that_is_ahead_does_not_keep_the_certificate_from_being_renewed(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, certificate_lifetime_s=600)
    await deployment.start()
    registration = await deployment.register()
    ahead = 7200
    agent = deployment.make_agent(registration, clock=lambda: deployment.clock() + ahead)
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert abs(agent._renewal.due_at - (deployment.clock() + 300)) < 30
    await deployment.stop()


async def test_an_expired_certificate_ends_the_job_while_nobody_answers(liar: Liar, tmp_path: Path) -> None:
    agent = liar.agent(tmp_path)
    agent._renewal.issued(NOW, not_after=NOW - 10, ends_at=NOW)
    liar.listener.close()
    async with running(agent) as task:
        assert "certificate expired" in await asyncio.wait_for(task, 60)


async def test_a_gateway_that_is_gone_for_long_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.4)
    deployment = Deployment(tmp_path)
    await deployment.start()
    registration = await deployment.register()
    async with echo_server(deployment.server_socket(registration)), deployment.running_agent(registration) as agent:
        await until_ready(deployment, registration.session)
        await deployment.stop()
        await until(lambda: not agent._lanes and not agent._control)
        await asyncio.sleep(1.5)  # several tries
        assert agent._dialling == 0
        await deployment.start()
        async with asyncio.timeout(60):
            assert (await fetch(registration.socket)).startswith(b"HTTP/1.1 200 OK")
    await deployment.stop()


async def test_a_report_is_kept_until_it_can_be_said(liar: Liar, tmp_path: Path) -> None:
    agent = liar.agent(tmp_path)
    await agent.report("ready", "all is well")
    async with running(agent):
        _, tls = await liar.accept()
        stream = MessageStream(tls)
        hello = m.decode_from_agent(await stream.receive(m.MAX_MESSAGE))
        assert isinstance(hello, m.Hello) and (hello.state, hello.message) == ("ready", "all is well")
        stream.close()


async def test_a_bug_in_the_keeper_ends_the_job_with_its_trace(
    liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = liar.agent(tmp_path)

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(agent, "_hold_control", fail)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(agent.run(), 60)


async def test_the_second_endpoint_is_taken_where_the_first_does_not_answer(liar: Liar, tmp_path: Path) -> None:
    port = liar.listener.getsockname()[1]
    async with running(liar.agent(tmp_path, endpoints=["127.0.0.1:1", f"localhost:{port}"])):
        stream = await asyncio.wait_for(liar.control(), 60)
        stream.close()


async def test_no_endpoint_answers(liar: Liar, tmp_path: Path) -> None:
    agent = liar.agent(tmp_path, endpoints=["127.0.0.1:1", "localhost:1"])
    with pytest.raises(Unavailable, match=r"localhost port 1"):
        await agent._dial(m.ENROL)
