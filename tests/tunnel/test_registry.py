"""Sessions of a running gateway: an end is an end also when the disk is full, and one session's trouble is its own."""

import asyncio
import dataclasses
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.registry import MAX_PROGRESS
from jupyter_hpcsec.tunnel.session import State
from tests.hub.attackers import check_refused, control, enrol, lane, next_message, rest_of, until
from tests.hub.deployment import Deployment, connect
from tests.tunnel.tlspair import descriptors, settle


@pytest.fixture
async def deployment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Deployment]:
    caplog.set_level(logging.INFO)
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()


def full_disk(*_args: Any, **_kwargs: Any) -> None:
    raise Unavailable("the database or disk is full")


async def test_a_session_is_cut_also_when_its_end_can_not_be_written(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await enrol(deployment)
    session = alice.registration.session
    held, stream = await lane(deployment, alice.shown), await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    reader, writer = await connect(alice.registration.socket)
    with monkeypatch.context() as patch:
        patch.setattr(deployment.store, "end", full_disk)
        with pytest.raises(Unavailable, match=r"full"):
            await deployment.desk.end(session, "stolen laptop")
        assert await rest_of(held, 5) == b""
        await asyncio.wait_for(reader.read(), 60)
        assert not alice.registration.socket.exists()
        assert await rest_of(await lane(deployment, alice.shown)) == b""
        await check_refused(deployment, caplog, "lane.no-session")
        deployment.registry.sweep()  # the disk is still full: the gateway goes on
        row = deployment.store.get(session)
        assert row and row.state is not State.ENDED
    deployment.registry.sweep()
    row = deployment.store.get(session)
    assert row and row.state is State.ENDED and row.reason == "stolen laptop"
    assert row.serial in {revocation.serial for revocation in deployment.store.revocations()}
    writer.close()
    stream.close()


async def test_a_session_that_can_not_be_ended_does_not_keep_others_from_being_swept(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrations = [await deployment.register(user=name) for name in ("alice", "bob", "carol")]
    clock = deployment.registry.now() + 4000
    monkeypatch.setattr(deployment.registry, "now", lambda: clock)
    with monkeypatch.context() as patch:
        patch.setattr(deployment.store, "end", full_disk)
        deployment.registry.sweep()
    assert len(deployment.registry) == 0
    deployment.registry.sweep()
    for registration in registrations:
        row = deployment.store.get(registration.session)
        assert row and row.state is State.ENDED and "time is over" in row.reason


async def test_the_sweeper_outlives_a_full_disk(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from jupyter_hpcsec.tunnel import gateway

    monkeypatch.setattr(gateway, "SWEEP_S", 0.01)
    monkeypatch.setattr(gateway, "PURGE_EVERY", 1)
    monkeypatch.setattr(deployment.store, "purge", full_disk)
    sweeping = asyncio.create_task(deployment.gateway._sweep())
    await until(lambda: len([r for r in caplog.records if "clean-up" in r.getMessage()]) >= 3)
    assert not sweeping.done()
    sweeping.cancel()


async def test_an_expired_certificate_cuts_what_it_opened(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enrol(deployment)
    held, stream = await lane(deployment, alice.shown), await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    live = deployment.registry.get(alice.registration.session)
    assert live
    deployment.registry.sweep()
    assert live.port.facts()["lanes"] == 1
    live.not_after = deployment.registry.now() - 1
    deployment.registry.sweep()
    assert await rest_of(held, 5) == b""
    with pytest.raises(Unavailable):
        await rest_messages(stream)
    stream.close()


async def rest_messages(stream: Any) -> None:
    while True:
        await next_message(stream)


async def test_a_socket_that_can_not_be_made_leaves_no_session(deployment: Deployment) -> None:
    directory = deployment.registry.socket_path("").parent
    directory.chmod(0o777)
    with pytest.raises(Refused, match=r"Others may write"):
        await deployment.register()
    assert len(deployment.registry) == 0
    assert deployment.store.active() == []
    directory.chmod(0o755)
    await deployment.register()


async def test_a_server_that_is_started_anew_ends_the_older_session(deployment: Deployment) -> None:
    older, other = await deployment.register(), await deployment.register(server="gpu")
    newer = await deployment.register()
    row = deployment.store.get(older.session)
    assert row and row.state is State.ENDED and "started anew" in row.reason
    assert {row.id for row in deployment.store.active()} == {newer.session, other.session}


async def test_progress_is_bounded_and_told_to_all_who_wait(deployment: Deployment) -> None:
    registration = await deployment.register()
    registry, session = deployment.registry, registration.session
    last = (await registry.wait(session, 0, 1))[-1].seq
    assert await registry.wait(session, last, 0.01) == []
    waiting = [asyncio.create_task(registry.wait(session, last, 5)) for _ in range(3)]
    await settle()
    registry.note(session, State.WAITING, "first of three in the queue")
    for entries in await asyncio.gather(*waiting):
        assert [entry.message for entry in entries] == ["first of three in the queue"]
    for number in range(3 * MAX_PROGRESS):
        registry.note(session, State.WAITING, str(number))
    assert len(await registry.wait(session, 0, 1)) == MAX_PROGRESS
    ending = asyncio.create_task(registry.wait(session, 10_000, 5))
    await settle()
    registry.finish(session, "cancelled")
    assert (await ending)[0].message == "cancelled"
    with pytest.raises(Refused, match=r"no such session"):
        await registry.wait("f" * 32, 0, 0.1)
    with pytest.raises(Refused, match=r"no such session"):
        registry.cut(session, "x")


async def test_sessions_taken_back_are_away_until_their_agents_come(deployment: Deployment) -> None:
    alice, waiting = await enrol(deployment), await deployment.register(user="bob")
    await deployment.stop()
    await deployment.start()
    states = {row.user: row.state for row in deployment.store.active()}
    assert states == {"alice": State.AWAY, "bob": State.WAITING}
    assert alice.registration.socket.exists() and waiting.socket.exists()


async def test_stopping_leaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    counts = []
    deployment = Deployment(tmp_path)
    for number in range(4):
        await deployment.start()
        alice = await enrol(deployment, user=f"user{number}")
        stream, held = await control(deployment, alice.shown), await lane(deployment, alice.shown)
        assert isinstance(await next_message(stream), m.Welcome)
        raw = socket.create_connection(("127.0.0.1", deployment.port))  # a handshake that is not finished
        await settle()
        await deployment.stop()
        await settle()
        for each in (stream, held, raw):
            each.close()
        counts.append(descriptors())
    assert counts[-1] == counts[1]
    assert not faults
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("step", [-86400, -10, 10, 600])
async def test_a_clock_that_jumps_ends_nothing_before_its_time(deployment: Deployment, step: int) -> None:
    alice = await enrol(deployment)
    held = await lane(deployment, alice.shown)
    live = deployment.registry.get(alice.registration.session)
    assert live
    await until(lambda: live.port.facts()["lanes"])
    real: Callable[[], float] = deployment.registry._clock
    deployment.registry._clock = lambda: real() + step
    deployment.registry.sweep()
    assert live.port.facts()["lanes"] == 1
    held.close()


def test_progress_entries_are_values() -> None:
    from jupyter_hpcsec.tunnel.session import Progress

    with pytest.raises(dataclasses.FrozenInstanceError):
        Progress(1, 1, "waiting", "x").seq = 2  # type: ignore[misc]
