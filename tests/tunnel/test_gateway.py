"""The gateway's handling of one agent: what it may report, how its connection ends, and what a restart keeps."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.session import State
from tests.hub.attackers import check_refused, control, enrol, lane, next_message, rest_of, until
from tests.hub.deployment import Deployment
from tests.tunnel.tlspair import settle


@pytest.fixture
async def deployment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Deployment]:
    caplog.set_level(logging.INFO)
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("state", [state.value for state in State if state not in ("waiting", "away", "ended")])
async def test_states_that_a_node_may_report(deployment: Deployment, state: str) -> None:
    alice = await enrol(deployment)
    deployment.gateway._take_report(alice.registration.session, state, "so it is", {"landlock": 7})
    row = deployment.store.get(alice.registration.session)
    assert row and row.state == state


@pytest.mark.parametrize("state", ["waiting", "away", "gone"])
async def test_states_that_a_node_may_not_report(deployment: Deployment, state: str) -> None:
    alice = await enrol(deployment)
    with pytest.raises(Malformed, match=r"not a state"):
        deployment.gateway._take_report(alice.registration.session, state, "", {})


async def test_a_lost_agent_is_away_and_a_full_disk_does_not_hide_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await enrol(deployment)
    stream = await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    live = deployment.registry.get(alice.registration.session)
    assert live

    def full(*_args: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(deployment.store, "set_state", full)
        stream.close()
        await until(lambda: live.control is None)
        await check_refused(deployment, caplog, "port.cut")
    again = await control(deployment, alice.shown)
    assert isinstance(await next_message(again), m.Welcome)
    again.close()
    await until(lambda: live.control is None)
    row = deployment.store.get(alice.registration.session)
    assert row and row.state is State.AWAY


async def test_a_disk_that_can_not_be_asked_lets_nobody_in(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await enrol(deployment)

    def broken(*_args: object) -> None:
        raise Unavailable("the disk is broken")

    with monkeypatch.context() as patch:
        patch.setattr(deployment.store, "is_revoked", broken)
        assert await rest_of(await lane(deployment, alice.shown)) == b""
        assert await rest_of((await control(deployment, alice.shown))._tls) == b""
        await check_refused(deployment, caplog, "port.cut", times=2)
    held = await lane(deployment, alice.shown)
    live = deployment.registry.get(alice.registration.session)
    assert live
    await until(lambda: live.port.facts()["lanes"] == 1)
    held.close()


async def test_a_silent_agent_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deployment = Deployment(tmp_path)
    deployment.limits.__dict__["dead_after_s"] = 1
    await deployment.start()
    alice = await enrol(deployment)
    stream = await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    await check_refused(deployment, caplog, "control.silent")
    stream.close()
    await deployment.stop()


async def test_stopping_says_nothing_of_refusals(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    alice = await enrol(deployment)
    stream = await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    await deployment.stop()
    await settle()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    await deployment.start()
    row = deployment.store.get(alice.registration.session)
    assert row and row.state is State.AWAY
    stream.close()
