"""The calls behind the admin socket: what they change, and that what they show holds no secret."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.tunnel.session import State
from tests.hub.deployment import Deployment


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_calls_for_a_session_that_is_none(deployment: Deployment) -> None:
    unknown = "f" * 32
    with pytest.raises(Refused):
        await deployment.desk.show(unknown)
    with pytest.raises(Refused):
        await deployment.desk.bind_job(unknown, "41")
    with pytest.raises(Refused):
        await deployment.desk.cut(unknown, "x")
    await deployment.desk.end(unknown, "ending what is not there is no error")
    with pytest.raises(Malformed):
        await deployment.desk.rotate("everything")


async def test_a_job_is_bound_once(deployment: Deployment) -> None:
    registration = await deployment.register(job_id="41")
    with pytest.raises(Refused) as refusal:
        await deployment.desk.bind_job(registration.session, "42")
    assert refusal.value.rule == "session.job-bound"
    assert (await deployment.desk.show(registration.session))["job_id"] == "41"


async def test_what_is_shown_holds_no_secret(deployment: Deployment) -> None:
    registration = await deployment.register()
    shown = json.dumps(
        [
            await deployment.desk.show(registration.session),
            await deployment.desk.sessions(),
            await deployment.desk.status(),
            await deployment.desk.keys(),
        ]
    )
    assert registration.token not in shown
    assert "PRIVATE" not in shown
    assert registration.session in shown


async def test_an_end_is_final_and_the_first_reason_stays(deployment: Deployment) -> None:
    registration = await deployment.register()
    await deployment.desk.end(registration.session, "first")
    await deployment.desk.end(registration.session, "second")
    shown = await deployment.desk.show(registration.session)
    assert (shown["state"], shown["reason"]) == (State.ENDED, "first")
    assert await deployment.desk.sessions() == []
    steps = await deployment.desk.wait(registration.session, 0, 1)
    assert steps[-1].message == "first"


async def test_a_session_without_a_token_is_none(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise Refused("keys.none", "no key")

    monkeypatch.setattr(deployment.broker, "token", fail)
    with pytest.raises(Refused):
        await deployment.register()
    assert await deployment.desk.sessions() == []
    assert len(deployment.registry) == 0
