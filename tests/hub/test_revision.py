"""Revocation by policy: who loses something is told, and ended after the grace time and not before; nobody else is."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub import revision as module
from jupyter_hpcsec.hub.policies import PolicyFile
from jupyter_hpcsec.hub.revision import CHANGED, LOST, NEVER_HAD
from jupyter_hpcsec.tunnel.admin import Registration
from jupyter_hpcsec.tunnel.messages import Stale
from jupyter_hpcsec.tunnel.session import Session, State
from tests.hub.deployment import ACCOUNT, Deployment
from tests.hub.rules import HOMES, NOBODY, write_policy

GRACE_S = 600
BOBS = '- {who: "user:bob", allow: {read: ["/data/bob"]}}\n'
ALICES = '- {who: "user:alice", allow: {read: ["/data/alice"]}}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.yaml")


@pytest.fixture
async def deployment(tmp_path: Path, path: Path) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path)
    made.policies = PolicyFile(path, parse, made.log)
    made.grace_s = GRACE_S
    clock = [float(int(time.time()))]  # certificates are held to the true time
    made.clock = lambda: clock[0]
    made.now = clock  # type: ignore[attr-defined]
    await made.start()
    await made.revision.look()
    yield made
    await made.stop()


def wait(deployment: Deployment, seconds: float) -> None:
    deployment.now[0] += seconds  # type: ignore[attr-defined]


async def enrolled(deployment: Deployment, user: str = "alice") -> tuple[Registration, list[Stale]]:
    """An enrolled session, and what its agent is told."""
    registration = await deployment.register(user=user)
    told: list[Stale] = []
    agent = deployment.make_agent(registration, on_stale=told.append, clock=deployment.clock)
    got = await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert got.launch["access"]["subject"]["user"] == user
    holding = asyncio.create_task(agent.run())
    holding.add_done_callback(lambda task: task.cancelled() or task.exception())
    await asyncio.wait_for(agent.connected(), 60)
    return registration, told


async def until(told: list[Stale], count: int) -> Stale:
    async with asyncio.timeout(60):
        while len(told) < count:
            await asyncio.sleep(0.01)
    return told[count - 1]


def state(deployment: Deployment, registration: Registration) -> Session:
    session = deployment.store.get(registration.session)
    assert session
    return session


async def test_a_change_for_one_user_marks_her_session_and_ends_it_after_the_grace_time(
    deployment: Deployment, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alice, told = await enrolled(deployment)
    bob, bobs = await enrolled(deployment, "bob")
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    stale = await until(told, 1)
    assert stale == Stale(since=stale.since, ends_at=stale.since + GRACE_S, reason=f"{CHANGED}.")
    assert stale.since == int(deployment.clock())
    assert state(deployment, alice).stale_at == stale.since and state(deployment, bob).stale_at == 0
    assert f"session {alice.session} of alice is stale" in caplog.text
    wait(deployment, GRACE_S - 1)
    await deployment.revision.look()
    assert state(deployment, alice).state is not State.ENDED
    wait(deployment, 1)
    await deployment.revision.look()
    assert state(deployment, alice).state is State.ENDED
    assert "the access policy has changed for you" in state(deployment, alice).reason
    assert state(deployment, bob).state is not State.ENDED and bobs == []


async def test_a_change_that_is_taken_back_takes_the_mark_away(deployment: Deployment, path: Path) -> None:
    alice, told = await enrolled(deployment)
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    await until(told, 1)
    write_policy(path)
    await deployment.revision.look()
    assert await until(told, 2) == Stale()
    assert state(deployment, alice).stale_at == 0
    wait(deployment, GRACE_S + 1)
    await deployment.revision.look()
    assert state(deployment, alice).state is not State.ENDED


async def test_an_edit_for_others_or_of_comments_tells_nobody(deployment: Deployment, path: Path) -> None:
    alice, told = await enrolled(deployment)
    write_policy(path, "# nothing\n" + BOBS + HOMES)
    await deployment.revision.look()
    assert state(deployment, alice).stale_at == 0 and told == []


async def test_who_loses_every_rule_is_told_and_ended_and_gets_no_new_session(
    deployment: Deployment, path: Path
) -> None:
    alice, told = await enrolled(deployment)
    write_policy(path, BOBS)
    await deployment.revision.look()
    assert (await until(told, 1)).reason.startswith(LOST)
    with pytest.raises(Refused) as refusal:
        await deployment.register()
    assert refusal.value.rule == "access.no-rule"
    wait(deployment, GRACE_S)
    await deployment.revision.look()
    assert state(deployment, alice).state is State.ENDED


async def test_a_broken_policy_ends_nobody_and_gives_nobody_more_time(deployment: Deployment, path: Path) -> None:
    alice, told = await enrolled(deployment)
    bob, _ = await enrolled(deployment, "bob")
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    await until(told, 1)
    path.write_text("rules: [")
    wait(deployment, GRACE_S)
    await deployment.revision.look()
    assert state(deployment, alice).state is State.ENDED
    assert state(deployment, bob).state is not State.ENDED and state(deployment, bob).stale_at == 0


async def test_a_restart_of_the_gateway_gives_nobody_more_time_and_the_agent_is_told_again(
    deployment: Deployment, path: Path
) -> None:
    alice, told = await enrolled(deployment)
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    await until(told, 1)
    await deployment.stop()
    deployment.policies = PolicyFile(path, parse, deployment.log)
    wait(deployment, 60)
    await deployment.start()
    path.unlink()  # not even when the policy is gone
    deployment.revision.take_back()
    await deployment.revision.look()
    live = deployment.registry.get(alice.session)
    assert live and live.stale == told[0]
    wait(deployment, GRACE_S - 60)
    await deployment.revision.look()
    assert state(deployment, alice).state is State.ENDED


async def test_an_agent_that_comes_back_hears_it_with_its_welcome(deployment: Deployment, path: Path) -> None:
    alice, told = await enrolled(deployment)
    live = deployment.registry.get(alice.session)
    assert live and live.control
    live.control.close()
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    assert (await until(told, 1)).ends_at == int(deployment.clock()) + GRACE_S


async def test_a_session_from_before_there_was_a_policy_is_stale(deployment: Deployment, path: Path) -> None:
    alice, told = await enrolled(deployment)
    deployment.store._db.execute("UPDATE sessions SET subject = '', access = ''")
    write_policy(path, HOMES + BOBS)
    await deployment.revision.look()
    assert (await until(told, 1)).reason == f"{NEVER_HAD}."
    assert state(deployment, alice).stale_at


async def test_a_waiting_session_gets_the_rules_of_its_enrolment(deployment: Deployment, path: Path) -> None:
    registration = await deployment.register()
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    assert state(deployment, registration).stale_at == 0
    agent = deployment.make_agent(registration, clock=deployment.clock)
    got = await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert [entry["path"] for entry in got.launch["access"]["entries"]] == ["/home/alice", "/data/alice"]


async def test_who_lost_all_rules_in_the_queue_is_ended_with_the_sentence(
    deployment: Deployment, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registration = await deployment.register()
    write_policy(path, NOBODY)
    agent = deployment.make_agent(registration, clock=deployment.clock)
    with pytest.raises(Refused) as refusal:
        await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    assert refusal.value.rule == "access.no-rule"
    steps = await deployment.desk.wait(registration.session, 0, 1)
    assert steps[-1].state == State.ENDED and "No rule of the access policy" in steps[-1].message
    assert "[access.no-rule]" in caplog.text


async def test_a_disk_that_takes_nothing_keeps_no_session_alive(
    deployment: Deployment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, told = await enrolled(deployment)
    write_policy(path, HOMES + ALICES)
    await deployment.revision.look()
    await until(told, 1)

    def full(*_: object) -> None:
        raise Unavailable("a full disk")

    with monkeypatch.context() as patch:
        patch.setattr(deployment.store, "subjects", full)
        patch.setattr(deployment.store, "end", full)
        write_policy(path, HOMES + BOBS)
        wait(deployment, GRACE_S)
        with pytest.raises(Unavailable):
            await deployment.revision.look()
        assert deployment.registry.get(alice.session) is None, "cut all the same"


async def test_it_goes_on_when_the_database_does_not_answer_for_a_moment(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    answers = iter([Unavailable("a full disk")])
    asked = asyncio.Event()

    def subjects() -> list[tuple[Session, str]]:
        if error := next(answers, None):
            raise error
        asked.set()
        return []

    deployment.revision._seen = None
    deployment.revision.take_back()
    monkeypatch.setattr(deployment.revision, "_sessions", type("S", (), {"subjects": staticmethod(subjects)}))
    monkeypatch.setattr(deployment.revision, "take_back", lambda: None)
    running = asyncio.create_task(deployment.revision.run())
    await asyncio.wait_for(asked.wait(), 60)
    running.cancel()
    assert "a full disk" in caplog.text


async def test_what_is_kept_of_a_subject_holds_no_secret(deployment: Deployment) -> None:
    await enrolled(deployment)
    ((_, subject),) = deployment.store.subjects()
    assert json.loads(subject) == {
        "gid": 1001, "groups": ["alice"], "home": "/home/alice", "project": "", "uid": 1001, "user": "alice",
    }  # fmt: skip
