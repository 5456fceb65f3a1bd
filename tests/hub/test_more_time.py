"""A job that is given more time: its session follows, and never goes past what the batch system says."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.attestation import JobFacts, SchedulerAttestor, UnsafeAnyAddress, UnsafeNoAttestor
from jupyter_hpcsec.tunnel import gateway, renewal
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.session import Session, State
from jupyter_hpcsec.tunnel.tls import MessageStream
from tests.hub.attackers import Enrolled, control, enrol, next_message, until
from tests.hub.deployment import Deployment

AGREED_S, MORE_S = 1800, 7000


class Batch:
    """A batch system that says of each job what it is told to."""

    def __init__(self) -> None:
        self.answer: JobFacts | HpcsecError | None = JobFacts("41", 1001, "RUNNING", ("node1",), batch_host="node1")
        self.asked = 0
        self.wait = asyncio.Event()
        self.wait.set()

    async def job(self, job_id: str) -> JobFacts | None:
        self.asked += 1
        await self.wait.wait()
        if isinstance(self.answer, HpcsecError):
            raise self.answer
        return self.answer

    def ends(self, at: int | None) -> None:
        assert isinstance(self.answer, JobFacts)
        self.answer = replace(self.answer, end_time=at)


@pytest.fixture
def batch() -> Batch:
    return Batch()


@pytest.fixture
async def deployment(tmp_path: Path, batch: Batch) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path)
    made.attestors = (SchedulerAttestor(batch, UnsafeAnyAddress()), UnsafeNoAttestor())
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def agreed(batch: Batch) -> int:
    """The job's end as the batch system said when the job enrolled."""
    end = int(time.time()) + AGREED_S
    batch.ends(end)
    return end


@pytest.fixture
async def alice(deployment: Deployment, agreed: int) -> Enrolled:
    return await enrol(deployment)


def row(deployment: Deployment, alice: Enrolled) -> Session:
    found = deployment.store.get(alice.registration.session)
    assert found
    return found


async def connected(deployment: Deployment, alice: Enrolled) -> MessageStream:
    stream = await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    return stream


async def renewed(stream: MessageStream) -> m.Renewed:
    await stream.send(m.Renew(request=authority.make_request(authority.new_key())))
    while not isinstance(answer := await next_message(stream), m.Renewed):
        pass
    return answer


def other(**changes: object) -> Callable[[JobFacts], JobFacts]:
    return lambda facts: replace(facts, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "say",
    [
        lambda _: None,
        lambda _: Unavailable("the controller is down"),
        lambda _: Malformed("what?"),
        other(end_time=None),
        other(end_time=0),
        other(uid=1002),
        other(job_id="42"),
        other(nodes=("node2",), batch_host="node2"),
        other(restarts=1),
        other(state="SUSPENDED"),
        other(state="COMPLETING"),
    ],
    ids=["gone", "silent", "odd", "endless", "over", "other user", "other job", "other node", "requeued", "suspended",
         "ending"],
)  # fmt: skip
async def test_what_gives_no_more_time_takes_none_away(
    deployment: Deployment, batch: Batch, alice: Enrolled, agreed: int, say: Callable[[JobFacts], object]
) -> None:
    assert isinstance(batch.answer, JobFacts)
    batch.answer = say(replace(batch.answer, end_time=agreed + MORE_S))  # type: ignore[assignment]
    stream = await connected(deployment, alice)
    answer = await renewed(stream)
    assert batch.asked == 2
    assert (answer.not_after, answer.ends_at, row(deployment, alice).ends_at) == (agreed, agreed, agreed)
    stream.close()


async def test_an_earlier_end_is_the_batch_systems_to_bring_about(
    deployment: Deployment, batch: Batch, alice: Enrolled, agreed: int
) -> None:
    batch.ends(agreed - 600)
    stream = await connected(deployment, alice)
    assert (await renewed(stream)).ends_at == row(deployment, alice).ends_at == agreed
    stream.close()


async def test_a_batch_system_that_does_not_answer_holds_nobody_up(
    deployment: Deployment, batch: Batch, alice: Enrolled, agreed: int
) -> None:
    stream = await connected(deployment, alice)
    batch.wait.clear()
    assert (await renewed(stream)).ends_at == agreed
    assert batch.asked == 2
    stream.close()


async def test_an_agent_that_asks_and_asks_does_not_make_us_ask(
    deployment: Deployment, batch: Batch, alice: Enrolled
) -> None:
    stream = await connected(deployment, alice)
    for _ in range(5):
        await renewed(stream)
    assert batch.asked == 1 + gateway.ENDS_AT_ONCE
    stream.close()


async def test_far_from_its_end_a_session_is_not_asked_about(tmp_path: Path, batch: Batch, agreed: int) -> None:
    deployment = Deployment(tmp_path, certificate_lifetime_s=600)
    deployment.attestors = (SchedulerAttestor(batch, UnsafeAnyAddress()),)
    await deployment.start()
    alice = await enrol(deployment)
    batch.ends(agreed + MORE_S)
    stream = await connected(deployment, alice)
    answer = await renewed(stream)
    assert (batch.asked, answer.ends_at) == (1, agreed)
    stream.close()
    await deployment.stop()


async def test_a_session_that_ends_while_the_batch_system_thinks_gets_nothing(
    deployment: Deployment, batch: Batch, alice: Enrolled, agreed: int
) -> None:
    stream = await connected(deployment, alice)
    batch.ends(agreed + MORE_S)
    batch.wait.clear()
    asking = asyncio.create_task(renewed(stream))
    await until(lambda: batch.asked == 2)
    await deployment.desk.end(alice.registration.session, "over")
    batch.wait.set()
    with pytest.raises(HpcsecError):
        await asking
    after = row(deployment, alice)
    assert (after.state, after.ends_at, after.reason) == (State.ENDED, agreed, "over")
    stream.close()


async def test_more_time_is_the_sessions_too_and_no_second_longer(
    deployment: Deployment, batch: Batch, alice: Enrolled, agreed: int
) -> None:
    stream = await connected(deployment, alice)
    batch.ends(agreed + MORE_S)
    answer = await renewed(stream)
    assert answer.ends_at == row(deployment, alice).ends_at == agreed + MORE_S
    assert agreed < answer.not_after <= int(time.time()) + 3600
    live = deployment.registry.get(alice.registration.session)
    assert live
    deployment.registry._clock = lambda: float(agreed + 60)  # past the first end
    deployment.registry.sweep()
    assert row(deployment, alice).state is not State.ENDED
    await deployment.stop()
    await deployment.start()
    again = deployment.registry.get(alice.registration.session)
    assert again and again.ends_at == agreed + MORE_S
    deployment.registry._clock = lambda: float(agreed + MORE_S + 1)
    deployment.registry.sweep()
    assert row(deployment, alice).state is State.ENDED
    stream.close()


async def test_the_agent_learns_of_it_up_to_its_last_minute(
    deployment: Deployment, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LAST_RENEWAL_S", 0.5)
    now = int(time.time())
    batch.ends(now + 60)
    registration = await deployment.register()
    told: list[tuple[int, int]] = []
    async with deployment.running_agent(registration, on_certificate=lambda *ends: told.append(ends)) as agent:
        assert agent._renewal.not_after == now + 60 and {ends_at for _, ends_at in told} == {now + 60}
        agent._renewal.due_at = now  # half of its life is over
        batch.ends(now + MORE_S)
        await until(lambda: agent._renewal.not_after > now + 60)
        found = deployment.store.get(registration.session)
        assert found and found.ends_at == now + MORE_S
        assert told[-1][1] == now + MORE_S
