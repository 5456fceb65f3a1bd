"""The calls behind the admin socket: what they change, and that what they show holds no secret."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.attestation import AttestationClaim, UnsafeNoAttestor
from jupyter_hpcsec.tunnel.desk import KEY_REPLACED, Desk
from jupyter_hpcsec.tunnel.observer import CALLER
from jupyter_hpcsec.tunnel.peer import PeerCredentials
from jupyter_hpcsec.tunnel.session import State
from tests.hub.deployment import ACCOUNT, Deployment


def full_disk(*_args: object) -> None:
    raise Unavailable("the disk is full")


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


async def test_a_dropped_token_key_takes_the_waiting_sessions_and_no_running_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await deployment.register(user="alice")
    agent = deployment.make_agent(running)
    await agent.enrol(token=running.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert await deployment.desk.drop_tokens() == []
    bob, carol = await deployment.register(user="bob", server="gpu", job_id="42"), await deployment.register("carol")
    with monkeypatch.context() as patch:  # not even a full disk keeps the key, or a session that waits with its token
        patch.setattr(deployment.store, "end", full_disk)
        lost = await deployment.desk.drop_tokens()
    assert sorted((s["user"], s["server"], s["job_id"], s["id"]) for s in lost) == [
        ("bob", "gpu", "42", bob.session),
        ("carol", "", "41", carol.session),
    ]
    assert "token" not in json.dumps(lost)
    for registration in (bob, carol):
        with pytest.raises(Refused) as refusal:
            await deployment.make_agent(registration).enrol(
                token=registration.token, job_id=registration.session, node="node1", evidence={}, account=ACCOUNT
            )
        assert refusal.value.rule == "token.key"
    deployment.registry.sweep()
    assert (await deployment.desk.show(bob.session))["reason"] == KEY_REPLACED
    assert [session["user"] for session in await deployment.desk.sessions()] == ["alice"]
    again = await deployment.register(user="bob")
    await deployment.make_agent(again).enrol(token=again.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)


async def test_an_enrolment_that_had_passed_the_tokens_check_fails_when_the_key_is_dropped(tmp_path: Path) -> None:
    thinks, may_answer = asyncio.Event(), asyncio.Event()

    class Slow(UnsafeNoAttestor):
        async def attest(self, claim: AttestationClaim) -> None:
            thinks.set()
            await may_answer.wait()

    deployment = Deployment(tmp_path)
    deployment.attestors = (Slow(),)
    await deployment.start()
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    enrolling = asyncio.create_task(
        agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    )
    await thinks.wait()
    assert [session["id"] for session in await deployment.desk.drop_tokens()] == [registration.session]
    may_answer.set()
    with pytest.raises(Refused) as refusal:
        await enrolling
    assert refusal.value.rule == "enrol.session-not-waiting"
    await deployment.stop()


async def test_a_session_without_a_token_is_none(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise Refused("keys.none", "no key")

    monkeypatch.setattr(deployment.broker, "token", fail)
    with pytest.raises(Refused):
        await deployment.register()
    assert await deployment.desk.sessions() == []
    assert len(deployment.registry) == 0


async def test_the_hub_destroys_no_value_of_the_audit_record() -> None:
    asked: list[str] = []

    async def reading(action: str, *_: object) -> None:
        asked.append(action)

    desk = object.__new__(Desk)
    desk._reading = reading
    shred: dict[str, Any] = {
        "action": "shred",
        "query": "why",
        "found": 0,
        "with_values": False,
        "leaf": 1,
        "name": "source",
    }
    for peer in (None, PeerCredentials(pid=1, uid=os.geteuid() + 1000, gid=0)):
        CALLER.set(peer)
        with pytest.raises(Refused, match="only root"):
            await desk.audit_read(**shred)
    CALLER.set(PeerCredentials(pid=1, uid=os.geteuid(), gid=0))
    await desk.audit_read(**shred)
    CALLER.set(PeerCredentials(pid=1, uid=os.geteuid() + 1000, gid=0))
    await desk.audit_read(**(shred | {"action": "query"}))
    assert asked == ["shred", "query"]


async def test_the_hub_removes_nothing_of_the_audit_record() -> None:
    asked: list[tuple[int, int]] = []

    async def retaining(events_days: int, values_days: int, _: object) -> dict[str, int]:
        asked.append((events_days, values_days))
        return {}

    desk = object.__new__(Desk)
    desk._retaining = retaining
    for peer in (None, PeerCredentials(pid=1, uid=os.geteuid() + 1000, gid=0)):
        CALLER.set(peer)
        with pytest.raises(Refused, match="only root"):
            await desk.audit_retain(events_days=1, values_days=0)
    CALLER.set(PeerCredentials(pid=1, uid=os.geteuid(), gid=0))
    await desk.audit_retain(events_days=365, values_days=30)
    assert asked == [(365, 30)]


async def test_the_policy_is_shown_with_those_whom_it_was_asked_about(deployment: Deployment) -> None:
    registration = await deployment.register()
    shown = await deployment.desk.policy()
    (person,) = shown["people"]
    assert person["active"] and person["user"] and not shown["more"]
    assert shown["unsafe"] and shown["text"] == ""
    assert registration.token not in json.dumps(shown)
    await deployment.desk.end(registration.session, "over")
    (person,) = (await deployment.desk.policy())["people"]
    assert not person["active"]
