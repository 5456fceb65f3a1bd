import asyncio
from itertools import islice

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.follow import SpawnFailed, failed, pauses, until_ready
from jupyter_hpcsec.hub.jobstate import JobView, Phase
from jupyter_hpcsec.tunnel.session import Progress

QUEUED = JobView(Phase.QUEUED, "PENDING", "Resources")
RUNNING = JobView(Phase.RUNNING, "RUNNING", node="node1")
GONE = JobView(Phase.GONE)


class Script:
    """A scheduler and a gateway that say what they are told to, the last word for ever."""

    def __init__(self, views: list[JobView], steps: list[list[Progress] | HpcsecError], reason: str = "") -> None:
        self.views, self.steps, self.why = views, steps, reason
        self.last = JobView(Phase.ENDED, "FAILED", "NonZeroExitCode", exit_code="78:0")
        self.after: list[int] = []
        self.told: list[tuple[str, int]] = []

    async def job(self) -> JobView:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    async def final(self) -> JobView:
        return self.last

    async def wait(self, after: int, timeout_s: float) -> list[Progress]:
        self.after.append(after)
        if not self.steps:
            await asyncio.Event().wait()
        step = self.steps.pop(0)
        await asyncio.sleep(0)
        if isinstance(step, HpcsecError):
            raise step
        return step

    async def reason(self) -> str:
        return self.why

    async def follow(self) -> None:
        await until_ready(self, lambda *event: self.told.append(event), lambda _: asyncio.sleep(0), 0.5, 15)

    async def fails(self) -> SpawnFailed:
        with pytest.raises(SpawnFailed) as raised:
            await self.follow()
        return raised.value


def step(seq: int, state: str, message: str = "") -> list[Progress]:
    return [Progress(seq, 0, state, message)]


async def test_a_job_that_fails_is_told_with_code_and_the_jobs_own_words() -> None:
    script = Script([QUEUED, RUNNING, JobView(Phase.ENDED, "FAILED")], [], reason="The kernel is too old")
    error = await script.fails()
    assert "exit code 78" in error.jupyterhub_message and "The kernel is too old" in error.jupyterhub_message
    assert [percent for _, percent in script.told] == [15, 40]


async def test_a_job_that_is_being_ended_is_asked_again_until_it_is_known_why() -> None:
    ending = JobView(Phase.ENDED, "COMPLETING", "None")
    script = Script([RUNNING, ending, ending, JobView(Phase.ENDED, "CANCELLED")], [])
    script.last = JobView(Phase.ENDED, "CANCELLED")
    assert "was cancelled" in (await script.fails()).jupyterhub_message
    known = Script([RUNNING, JobView(Phase.ENDED, "COMPLETING", "TimeLimit"), JobView(Phase.ENDED, "X")], [])
    known.last = JobView(Phase.ENDED, "COMPLETING", "TimeLimit")
    assert "time limit" in (await known.fails()).jupyterhub_message
    assert len(known.views) == 1  # what is known at once is not asked for again
    endless = Script([ending], [])
    endless.last = ending
    assert "ended before" in (await endless.fails()).jupyterhub_message


async def test_a_job_that_vanishes_is_asked_for_again_before_it_is_given_up() -> None:
    script = Script([GONE, GONE, QUEUED, GONE, GONE, GONE], [])
    script.last = GONE
    assert "does not know your job" in (await script.fails()).jupyterhub_message
    assert script.views == [GONE] and len(script.told) == 1


async def test_a_session_that_the_gateway_ended_is_told() -> None:
    script = Script([RUNNING], [step(1, "enrolled"), step(2, "ended", "The kernel has no Landlock")])
    assert (await script.fails()).jupyterhub_message == "The session was ended: The kernel has no Landlock"
    silent = Script([RUNNING], [step(1, "ended")], reason="by an administrator")
    assert "by an administrator" in (await silent.fails()).jupyterhub_message


async def test_a_gateway_that_refuses_ends_the_start() -> None:
    script = Script([RUNNING], [Refused("session.unknown", "There is no such session.")])
    error = await script.fails()
    assert error.status_code == 400 and error.jupyterhub_message == "There is no such session."


async def test_a_scheduler_without_answers_and_a_gateway_that_restarts_end_nothing() -> None:
    unknown = JobView(Phase.UNKNOWN, reason="Unable to contact slurm controller")
    script = Script([QUEUED, *[unknown] * 20, RUNNING], [Unavailable("restarting")] * 5 + [step(3, "ready")])
    await script.follow()
    said = [message for message, _ in script.told]
    assert any("Unable to contact" in message for message in said)
    assert any("restarting" in message for message in said)


async def test_every_step_is_told_and_asked_after() -> None:
    script = Script(
        [RUNNING],
        [
            step(1, "waiting", "Job 7 is in the queue."),
            [],
            step(4, "enrolled"),
            step(5, "starting", "Starting\nthe <b>server</b> on node1"),
            step(6, "away"),
            step(7, "something-new", "x"),
            step(9, "ready"),
        ],
    )
    await script.follow()
    said = dict(script.told)
    assert script.after == [0, 1, 1, 4, 5, 6, 7]
    assert "Job 7 is in the queue." not in said and "x" not in said
    assert said["Starting the <b>server</b> on node1"] == 75
    assert said["Your job runs on node1"] == 40
    assert any("interrupted" in message for message in said)


async def test_a_scheduler_that_is_late_takes_no_page_back() -> None:
    steps = [[], step(1, "enrolled"), *[[]] * 20, step(2, "starting"), step(3, "ready")]
    script = Script([*[QUEUED] * 10, RUNNING], steps)
    await script.follow()
    percents = [percent for _, percent in script.told]
    assert percents == sorted(percents) and percents[-1] == 95


async def test_being_cancelled_cancels_both_and_leaves_no_task() -> None:
    script = Script([QUEUED], [])
    task = asyncio.ensure_future(script.follow())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_pauses_grow_to_a_limit() -> None:
    assert list(islice(pauses(0.5, 2), 6)) == [0.5, 0.75, 1.125, 1.6875, 2, 2]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Refused("options.range", "Too many."), 400, "options.range"),
        (Unavailable("No gateway."), 503, "unavailable"),
        (Malformed("Odd."), 500, "malformed"),
    ],
)
def test_our_errors_are_pages(error, status, reason) -> None:
    page = failed(error)
    assert (page.status_code, page.reason, page.jupyterhub_message) == (status, reason, error.reason)
