"""Ending a session: on record with who and why before it takes effect, and also when nothing can be recorded."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit.journal import Segment
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.auditor import Auditor
from jupyter_hpcsec.tunnel.session import State
from tests.hub.deployment import Deployment, connect
from tests.hub.test_auditor import Record, record, until

__all__ = ["record"]


@pytest.fixture
async def deployment(record: Record, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("g"))
    deployment.observer = Auditor(record.log, session=lambda known: deployment.store.get(known), clock=time.monotonic)
    await deployment.start()
    yield deployment
    await deployment.stop()


async def server(path: Path) -> asyncio.Server:
    """One that takes whatever comes and says nothing: a websocket that is open."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    return await asyncio.start_unix_server(hold, str(path))


async def ended_session(deployment: Deployment, reason: str) -> tuple[str, str]:
    """A session with an open connection, ended; its id, and what its agent was told. The connection is gone."""
    registration = await deployment.register()
    async with (
        await server(deployment.server_socket(registration)),
        deployment.running_agent(registration) as agent,
    ):
        await agent.connected()
        reader, writer = await connect(registration.socket)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await writer.drain()
        await until(lambda: deployment.registry.facts(registration.session)["streams"])
        serial = deployment.registry.store.get(registration.session)
        await deployment.client.end(registration.session, reason)
        assert not registration.socket.exists()
        async with asyncio.timeout(60):
            await reader.read()  # its end
            told = await agent._ended
        writer.close()
        assert serial is not None
        assert deployment.store.is_revoked(serial.serial)
    return registration.session, told


async def test_who_and_why_is_on_record_before_it_takes_effect(deployment: Deployment, record: Record) -> None:
    session, told = await ended_session(deployment, "a leak")
    assert told == "a leak"
    await until(lambda: record.of("session.ended"))
    kinds = [event["kind"] for event in record.events() if event.get("session") == session]
    assert kinds.index("admin.called") < kinds.index("session.ended")
    (called,) = record.of("admin.called")
    assert (called["call"], called["reason"]) == ("end", "a leak")
    assert called["subject"] == {"account": f"uid {os.geteuid()}", "user": "alice"}


async def test_what_can_not_be_recorded_is_ended_all_the_same_and_recorded_later(
    deployment: Deployment, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Segment.append

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    registration = await deployment.register()
    async with deployment.running_agent(registration) as agent:
        await agent.connected()
        monkeypatch.setattr(Segment, "append", full)
        await deployment.client.end(registration.session, "a leak")
        ended = deployment.store.get(registration.session)
        assert ended is not None and ended.state is State.ENDED
        async with asyncio.timeout(60):
            assert await agent._ended == "a leak"
    monkeypatch.setattr(Segment, "append", real)
    await until(lambda: record.of("admin.called") and record.of("session.ended"), 60)
    assert record.of("admin.called")[0]["reason"] == "a leak"


async def test_a_record_that_is_slow_holds_no_end_up(
    deployment: Deployment, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, go = Segment.append, threading.Event()

    def slow(self: Segment, data: bytes) -> None:
        go.wait(60)
        real(self, data)

    registration = await deployment.register()
    async with deployment.running_agent(registration) as agent:
        await agent.connected()
        monkeypatch.setattr(Segment, "append", slow)
        try:
            await deployment.client.end(registration.session, "a leak")
            ended = deployment.store.get(registration.session)
            assert ended is not None and ended.state is State.ENDED
        finally:
            go.set()
    await until(lambda: record.of("admin.called") and record.of("session.ended"), 60)
    kinds = [event["kind"] for event in record.events()]
    assert kinds.index("admin.called") < kinds.index("session.ended")


async def test_a_registration_that_the_policy_refuses_is_on_record_with_its_hash(
    deployment: Deployment, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def admit(_: Any) -> None:
        raise Refused("access.nobody", "the policy has nothing for you")

    monkeypatch.setattr(deployment.broker, "admit", admit)
    monkeypatch.setattr(deployment.policies, "status", lambda: {"digest": "ab" * 32})
    with pytest.raises(Refused):
        await deployment.register()
    await until(lambda: record.of("session.refused"))
    (refused,) = record.of("session.refused")
    assert (refused["rule"], refused["policy"], refused["subject"]["user"]) == ("access.nobody", "ab" * 32, "alice")
    assert refused["decision"] == "refused"
    assert not record.of("session.registered")


async def test_the_hubs_word_is_kept_as_the_hubs_and_nothing_else_is(deployment: Deployment, record: Record) -> None:
    from jupyter_hpcsec.audit.events import Subject
    from jupyter_hpcsec.audit.kinds.hub import HubLogin
    from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
    from jupyter_hpcsec.errors import Malformed

    with pytest.raises(Malformed):
        await deployment.client.hub_event(SessionEnded(session="a" * 32))
    await deployment.client.hub_event(HubLogin(subject=Subject(login="a\nb", user="alice"), source="10.0.0.1"))
    (login,) = record.of("hub.login")
    assert login["trust"] == "hub"
    assert login["subject"] == {"login": "a\ufffdb", "user": "alice"}
    assert not record.of("session.ended")
