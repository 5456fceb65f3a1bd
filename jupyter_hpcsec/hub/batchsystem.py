"""The batch system's commands for one user's job: submit, ask, cancel. Knows no hub, no gateway and no token's meaning.

Jobs are submitted and cancelled as the user, questions are asked as the hub unless the site hides jobs from it.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.account import Account
from jupyter_hpcsec.hub.commands import Answer, run_command
from jupyter_hpcsec.hub.follow import SpawnFailed
from jupyter_hpcsec.hub.jobstate import rejected_sentence
from jupyter_hpcsec.hub.progress import printable
from jupyter_hpcsec.hub.submission import render_command

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,127}")
Run = Callable[..., Awaitable[Answer]]


def switch_to(account: Account, prefix: str, euid: int) -> Account | None:
    """The account to switch to for a user's commands; ``None`` when the prefix (sudo) or the hub itself is that
    account.

    Raises ``Refused("spawn.account")`` when neither is the case: a user's job must never run as the hub.
    """
    if prefix or account.uid == euid:
        return None
    if euid == 0:
        return account
    raise Refused(
        "spawn.account",
        f"The hub can't submit jobs as {account.name!r}: run it as root, or set exec_prefix to sudo.",
    )


@dataclass(frozen=True)
class BatchSystem:
    """Command templates and what they run with. Templates are the administrator's, values are checked at rendering."""

    account: Account
    prefix: str
    submit_cmd: str
    query_cmd: str
    cancel_cmd: str
    hard_cancel_cmd: str
    kill_cmd: str
    environment: Mapping[str, str]
    variables: Mapping[str, str | int]
    detail_cmd: str = ""
    query_as_user: bool = False
    timeout_s: float = 30
    run: Run = run_command
    euid: int = field(default_factory=os.geteuid)

    async def _run(
        self,
        template: str,
        *,
        as_user: bool = True,
        job_id: str = "",
        stdin: str = "",
        more: Mapping[str, str] | None = None,
    ) -> Answer:
        if job_id and not JOB_ID.fullmatch(job_id):
            raise Malformed("A job id must be one word of letters, digits and _ . [ ] -.")
        variables = {**self.variables, "job_id": job_id}
        argv = render_command(self.prefix, variables) if as_user else []
        account = switch_to(self.account, self.prefix, self.euid) if as_user else None
        argv += render_command(template, variables)
        environment = {**self.environment, **(more or {})}
        return await self.run(argv, env=environment, stdin=stdin, account=account, timeout_s=self.timeout_s)

    async def submit(self, script: str, job_environment: Mapping[str, str]) -> str:
        """Hand the script to the batch system on its standard input; returns what it printed.

        Runs to its end even when the caller is cancelled meanwhile: a job that was taken must be known, or it leaks.
        The cancellation is then raised as ``SubmittedThenCancelled`` with the output. Raises ``SpawnFailed`` for a job
        that was not taken.
        """
        task = asyncio.ensure_future(self._run(self.submit_cmd, stdin=script, more=job_environment))
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            answer = await task
            raise SubmittedThenCancelled(answer.out if answer.status == 0 else "") from None
        if answer.status != 0:
            raise SpawnFailed(rejected_sentence(answer.err or answer.out), reason="rejected", status_code=400)
        return answer.out

    async def foresee(self, template: str, script: str) -> str:
        """What the scheduler says of a job that is not submitted, as its user; empty when it says nothing."""
        answer = await self._run(template, stdin=script)
        return f"{answer.err}\n{answer.out}" if answer.status == 0 else ""

    async def query(self, job_id: str) -> str:
        """The scheduler's words about a job, its complaint when the command failed; may be empty for an unknown job."""
        return await self._ask(self.query_cmd, job_id)

    async def detail(self, job_id: str) -> str:
        """The same from the command that tells how a job ended; empty when none is configured."""
        return await self._ask(self.detail_cmd, job_id) if self.detail_cmd else ""

    async def ask(self, template: str) -> str:
        """The answer to a question about no job in particular; empty when it failed."""
        try:
            answer = await self._run(template, as_user=self.query_as_user)
        except Unavailable:
            return ""
        return answer.out if answer.status == 0 else ""

    async def _ask(self, template: str, job_id: str) -> str:
        try:
            answer = await self._run(template, as_user=self.query_as_user, job_id=job_id)
        except Unavailable as error:
            return error.reason
        if answer.status == 0:
            return answer.out
        return answer.err or answer.out or f"exit status {answer.status}"

    async def cancel(self, job_id: str, *, hard: bool) -> str:
        """Ask the job to end, or end it; returns the scheduler's complaint, empty when it made none."""
        return await self._order(self.hard_cancel_cmd if hard else self.cancel_cmd, job_id)

    async def kill(self, job_id: str) -> str:
        """Kill the job's processes without asking them; likewise."""
        return await self._order(self.kill_cmd, job_id)

    async def _order(self, template: str, job_id: str) -> str:
        try:
            answer = await self._run(template, job_id=job_id)
        except Unavailable as error:
            return error.reason
        return "" if answer.status == 0 else printable(answer.err or answer.out or f"exit status {answer.status}")


class SubmittedThenCancelled(asyncio.CancelledError):
    """The caller was cancelled while a job was being submitted; ``output`` is what the batch system printed."""

    def __init__(self, output: str) -> None:
        self.output = output
        super().__init__()
