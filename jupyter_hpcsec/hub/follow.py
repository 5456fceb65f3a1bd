"""Follows a job from submission to a server that answers: two sources, the scheduler and the gateway, whichever knows
first.

It gets both as functions and decides; it submits, cancels and revokes nothing.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from jupyterhub.spawner import SpawnException

from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.hub.jobstate import JobView, Phase, final_sentence, progress_sentence, says_no_end_yet
from jupyter_hpcsec.hub.progress import printable
from jupyter_hpcsec.tunnel.session import Progress, State

PERCENT = {State.ENROLLED: 55, State.STARTING: 75, State.READY: 95, State.AWAY: 55}
QUEUED_PERCENT, RUNNING_PERCENT = 15, 40
SENTENCES = {
    State.ENROLLED: "The job has proved who it is; the tunnel is open",
    State.STARTING: "The notebook server is starting",
    State.READY: "The notebook server is ready",
    State.AWAY: "The tunnel is interrupted; waiting for the job to come back",
}
GONE_LIMIT = 3
"""Answers in a row that say the job is unknown: right after submission a scheduler may not show it yet."""
ENDING_LIMIT = 12
"""Answers in a row that say only that the job is being ended: what it is ended for comes with the last one."""
WAIT_S = 25.0


class SpawnFailed(SpawnException):
    """A start that failed, with a sentence for the user: JupyterHub shows ``jupyterhub_message`` on its pages."""

    def __init__(self, sentence: str, *, reason: str, status_code: int = 500) -> None:
        self.jupyterhub_message = printable(sentence, 600)
        super().__init__(self.jupyterhub_message, reason=reason, status_code=status_code)


def failed(error: HpcsecError) -> SpawnFailed:
    """One of our errors as JupyterHub wants it: what is refused is 400, a part that is missing 503, the rest 500."""
    if isinstance(error, Refused):
        return SpawnFailed(error.reason, reason=error.rule, status_code=400)
    if isinstance(error, Unavailable):
        return SpawnFailed(error.reason, reason="unavailable", status_code=503)
    return SpawnFailed(error.reason, reason="malformed")


class Sources(Protocol):
    """What is asked while a job starts."""

    async def job(self) -> JobView:
        """The scheduler's view now; never raises."""

    async def final(self) -> JobView:
        """The scheduler's last word on a job that ended."""

    async def wait(self, after: int, timeout_s: float) -> list[Progress]:
        """The gateway's next steps; raises ``HpcsecError``."""

    async def reason(self) -> str:
        """Why the gateway ended the session; empty when it did not or can't be asked."""


def pauses(first: float, last: float, factor: float = 1.5) -> Iterator[float]:
    """Seconds between questions to the scheduler: quick at first, then gentle on a cluster with a long queue."""
    pause = first
    while True:
        yield min(pause, last)
        pause = min(pause * factor, last)


async def until_ready(
    sources: Sources,
    tell: Callable[[str, int], None],
    sleep: Callable[[float], Awaitable[Any]],
    first: float,
    last: float,
) -> None:
    """Return when the gateway says that the server is ready; raise ``SpawnFailed`` when it can't become so any more."""
    has_enrolled = asyncio.Event()
    tasks = {
        asyncio.ensure_future(_follow_gateway(sources, tell, sleep, has_enrolled)),
        asyncio.ensure_future(_follow_scheduler(sources, tell, sleep, pauses(first, last), has_enrolled)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow_scheduler(
    sources: Sources,
    tell: Callable[[str, int], None],
    sleep: Callable[[float], Awaitable[Any]],
    between: Iterator[float],
    has_enrolled: asyncio.Event,
) -> None:
    gone = ending = 0
    for pause in between:
        view = await sources.job()
        if says_no_end_yet(view) and ending < ENDING_LIMIT:
            ending += 1
            await sleep(pause)
            continue
        gone = gone + 1 if view.phase is Phase.GONE else 0
        if view.phase is Phase.ENDED or gone >= GONE_LIMIT:
            said = await sources.reason()
            sentence = final_sentence(await sources.final())
            raise SpawnFailed(f"{sentence} The job reported: {said}" if said else sentence, reason="job-ended")
        if view.phase is not Phase.GONE and not has_enrolled.is_set():  # of an enrolled job the gateway knows more
            tell(progress_sentence(view), RUNNING_PERCENT if view.phase is Phase.RUNNING else QUEUED_PERCENT)
        await sleep(pause)


async def _follow_gateway(
    sources: Sources,
    tell: Callable[[str, int], None],
    sleep: Callable[[float], Awaitable[Any]],
    has_enrolled: asyncio.Event,
) -> None:
    after = 0
    for _ in itertools.count():
        try:
            steps = await sources.wait(after, WAIT_S)
        except Unavailable as error:
            # a restart of the gateway; the session is in its database and the job goes on
            tell(f"The gateway does not answer, trying again: {error.reason}", 0)
            await sleep(1.0)
            continue
        except HpcsecError as error:
            raise failed(error) from error
        for step in steps:
            after = max(after, step.seq)
            if step.state == State.ENDED:
                said = printable(step.message) or await sources.reason() or "no reason given"
                raise SpawnFailed(f"The session was ended: {said}", reason="session-ended")
            _tell_step(step, tell)
            if step.state in PERCENT:
                has_enrolled.set()
            if step.state == State.READY:
                return


def _tell_step(step: Progress, tell: Callable[[str, int], None]) -> None:
    if step.state == State.WAITING or step.state not in set(State):
        return  # of a waiting job the scheduler knows more
    state = State(step.state)
    message = printable(step.message) or SENTENCES.get(state, "")
    if message:
        tell(message, PERCENT[state])
