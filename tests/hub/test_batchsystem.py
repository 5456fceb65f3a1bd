import asyncio
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.account import Account
from jupyter_hpcsec.hub.batchsystem import BatchSystem, SubmittedThenCancelled, switch_to
from jupyter_hpcsec.hub.commands import Answer
from jupyter_hpcsec.hub.follow import SpawnFailed

ALICE = Account("alice", 1000, 1000, (1000,), Path("/home/alice"), "/bin/bash")
SUDO = "sudo --non-interactive --user={username} --"


class Commands:
    """Stands in for the running of commands; keeps what it was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, argv: list[str], **facts: Any) -> Answer:
        self.calls.append({"argv": argv, **facts})
        await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def system(commands: Commands, **changes: Any) -> BatchSystem:
    settings: dict[str, Any] = {
        "account": ALICE,
        "prefix": SUDO,
        "submit_cmd": "sbatch --parsable",
        "query_cmd": "squeue -j {job_id}",
        "cancel_cmd": "scancel --full --signal=TERM {job_id}",
        "kill_cmd": "scancel --batch --signal=KILL {job_id}",
        "hard_cancel_cmd": "scancel {job_id}",
        "detail_cmd": "scontrol show job {job_id}",
        "environment": {"PATH": "/bin"},
        "variables": {"username": "alice"},
        "run": commands,
        "euid": 998,
    }
    return BatchSystem(**{**settings, **changes})


def test_a_users_job_never_runs_as_the_hub() -> None:
    with pytest.raises(Refused) as refused:
        switch_to(ALICE, "", 998)
    assert refused.value.rule == "spawn.account" and "sudo" in refused.value.reason
    assert switch_to(ALICE, SUDO, 998) is None
    assert switch_to(ALICE, "", 0) is ALICE
    assert switch_to(ALICE, "", 1000) is None


async def test_nothing_is_run_as_the_hub_without_a_way_to_the_user() -> None:
    commands = Commands()
    with pytest.raises(Refused):
        await system(commands, prefix="").submit("#!/bin/sh", {})
    assert commands.calls == []


@pytest.mark.parametrize("job_id", ["7 8", "7;id", "--user=bob", "", "7\n", "$(id)", "../7"])
async def test_a_job_id_that_is_more_than_one_is_never_put_on_a_command_line(job_id) -> None:
    commands = Commands(Answer(0, "", ""))
    if job_id:
        with pytest.raises(Malformed):
            await system(commands).cancel(job_id, hard=True)
        assert commands.calls == []
    else:
        await system(commands).query("")
        assert commands.calls[0]["argv"] == ["squeue", "-j", ""]


async def test_a_rejected_job_is_a_sentence() -> None:
    commands = Commands(
        Answer(1, "", "sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed")
    )
    with pytest.raises(SpawnFailed) as failed:
        await system(commands).submit("#!/bin/sh", {})
    assert "invalid partition" in failed.value.jupyterhub_message and failed.value.status_code == 400


async def test_a_submission_that_was_cancelled_still_tells_its_job() -> None:
    commands = Commands(Answer(0, "77", ""))
    commands.gate.clear()
    task = asyncio.ensure_future(system(commands).submit("#!/bin/sh", {}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    commands.gate.set()
    with pytest.raises(SubmittedThenCancelled) as cancelled:
        await task
    assert cancelled.value.output == "77"


async def test_the_token_is_in_the_environment_of_one_command_only() -> None:
    commands = Commands(Answer(0, "77", ""), Answer(0, "RUNNING", ""), Answer(0, "", ""))
    batch = system(commands)
    assert await batch.submit("#!/bin/sh\n", {"HPCSEC_TOKEN": "secret"}) == "77"
    await batch.query("77")
    await batch.cancel("77", hard=False)
    submit, query, cancel = commands.calls
    assert submit["argv"] == ["sudo", "--non-interactive", "--user=alice", "--", "sbatch", "--parsable"]
    assert submit["env"] == {"PATH": "/bin", "HPCSEC_TOKEN": "secret"} and submit["stdin"] == "#!/bin/sh\n"
    for call in (query, cancel):
        assert "secret" not in str(call)
    assert query["argv"] == ["squeue", "-j", "77"]
    assert cancel["argv"][-4:] == ["scancel", "--full", "--signal=TERM", "77"]


async def test_questions_as_the_user_where_jobs_are_private_and_as_root_by_switching() -> None:
    commands = Commands(Answer(0, "", ""), Answer(0, "", ""))
    await system(commands, query_as_user=True).query("7")
    await system(commands, query_as_user=True, prefix="", euid=0).query("7")
    assert commands.calls[0]["argv"][0] == "sudo" and commands.calls[0]["account"] is None
    assert commands.calls[1]["argv"][0] == "squeue" and commands.calls[1]["account"] is ALICE


async def test_a_scheduler_that_fails_says_so() -> None:
    commands = Commands(Answer(1, "", "cannot connect"), Unavailable("no squeue"), Answer(1, "", ""), Unavailable("x"))
    batch = system(commands)
    assert await batch.query("7") == "cannot connect"
    assert await batch.query("7") == "no squeue"
    assert await batch.query("7") == "exit status 1"
    assert await batch.ask("squeue") == ""
    commands.answers += [Answer(1, "", "scancel: error"), Unavailable("gone"), Answer(0, "", "")]
    assert [await batch.cancel("7", hard=True) for _ in range(3)] == ["scancel: error", "gone", ""]
    assert await system(commands, detail_cmd="").detail("7") == ""
