"""What a person is told while a server starts, and when it can't: a sentence with the scheduler's own reason.

Each failure is followed by a start that succeeds, so that nothing of the failed one stands in its way.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused
from tests.e2e.person import Person
from tests.e2e.site import FAIL, HOLD, Site, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def nothing_else(site: Site) -> Iterator[None]:
    yield
    site.clear()


@contextmanager
def mark(user: str, name: str) -> Iterator[None]:
    """A file in the user's home that steers the job's prologue."""
    path = Path("/home") / user / name
    path.touch()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def read_until(progress: AsyncIterator[str], *words: str) -> str:
    """The first message that holds all of ``words``; a failed start raises instead."""
    seen = []
    async for message in progress:
        seen.append(message)
        if all(word in message for word in words):
            return message
    raise AssertionError(f"no message with {words} among {seen}")


async def failure(progress: AsyncIterator[str]) -> str:
    """The sentence with which a start fails."""
    with pytest.raises(Refused) as refused:
        async for _ in progress:
            pass
    return refused.value.reason


async def job_of(person: Person) -> str:
    return str((await person.session())["job_id"])


async def test_a_queued_job_says_why_it_waits_and_starts_when_it_can(site: Site, alice: Person) -> None:
    filler = site.slurm("sbatch", "--parsable", "-N2", "--exclusive", "-o/dev/null", "--wrap=sleep 600", user="carol")
    wait_until(lambda: site.job_state(filler) == "RUNNING", "the filler runs")
    await alice.ask_for_server(profile="node")
    progress = alice.progress()
    queued = await read_until(progress, "queued", "Resources")
    assert "it is next" in queued
    job = await job_of(alice)
    site.slurm("scontrol", "hold", job)
    held = await read_until(progress, "queued", "JobHeldAdmin")
    assert "held" in held
    site.slurm("scancel", filler)
    site.slurm("scontrol", "release", job)
    await read_until(progress, "job runs on node")  # the scheduler's word or the gateway's, whichever came first
    await read_until(progress, "Server ready")


async def test_what_sbatch_rejects_is_told_in_its_own_words(site: Site, alice: Person) -> None:
    await alice.ask_for_server(profile="huge")
    sentence = await failure(alice.progress())
    assert "did not take your job" in sentence
    assert "Requested node configuration is not available" in sentence
    assert "Choose other resources" in sentence
    assert await site.gateway.sessions() == []
    assert "Server ready" in (await alice.start(profile="small"))[-1]


async def test_a_job_that_is_cancelled_while_it_starts(site: Site, alice: Person) -> None:
    with mark("alice", HOLD):
        await alice.ask_for_server()
        progress = alice.progress()
        await read_until(progress, "Your job runs on node")
        site.slurm("scancel", await job_of(alice))
        sentence = await failure(progress)
    assert "Your job was cancelled" in sentence
    assert "Start it again" in sentence
    assert await site.gateway.sessions() == []


async def test_a_job_that_reaches_its_time_limit(site: Site, alice: Person) -> None:
    with mark("alice", HOLD):
        await alice.ask_for_server()
        progress = alice.progress()
        await read_until(progress, "Your job runs on node")
        site.slurm("scontrol", "update", f"jobid={await job_of(alice)}", "EndTime=now+1seconds")
        sentence = await failure(progress)
    assert "time limit" in sentence
    assert "ask for more time" in sentence


async def test_a_node_that_fails(site: Site, alice: Person) -> None:
    try:
        with mark("alice", HOLD):
            await alice.ask_for_server()
            progress = alice.progress()
            message = await read_until(progress, "Your job runs on node")
            node = message.rpartition(" ")[2]
            site.slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=a test")
            sentence = await failure(progress)
    finally:
        site.cluster.up()
    assert "The node on which your job ran failed" in sentence
    assert "another node" in sentence
    assert "Server ready" in (await alice.start())[-1]


async def test_a_job_that_ends_early(site: Site, alice: Person) -> None:
    with mark("alice", FAIL):
        await alice.ask_for_server()
        sentence = await failure(alice.progress())
    assert "Your job failed with exit code 3" in sentence
    assert "NonZeroExitCode" in sentence
    assert "Server ready" in (await alice.start())[-1]


async def test_a_running_server_whose_job_is_cancelled_is_known_to_have_ended(site: Site, alice: Person) -> None:
    await alice.start()
    session = await alice.session()
    site.slurm("scancel", session["job_id"])
    wait_until(lambda: not site.servers("alice"), "the hub knows that the server ended")
    assert (await site.gateway.show(session["id"]))["state"] == "ended"
