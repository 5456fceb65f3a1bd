"""The spawner's part that deals with the batch system: which account, which commands, which script, what they answer.

It replaces the methods of batchspawner that run a shell, pass the hub's environment on, or let a user's options into a
template.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import Collection
from typing import Any

from traitlets import default

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.hub import account as accounts
from jupyter_hpcsec.hub.batch import batchspawner
from jupyter_hpcsec.hub.batchsystem import JOB_ID, BatchSystem, SubmittedThenCancelled
from jupyter_hpcsec.hub.choicepart import ChoicePart
from jupyter_hpcsec.hub.jobstate import JobView, Phase
from jupyter_hpcsec.hub.profiles import WORDS, Choice
from jupyter_hpcsec.hub.submission import command_environment, render_script

STATUSES = {
    Phase.QUEUED: batchspawner.JobStatus.PENDING,
    Phase.RUNNING: batchspawner.JobStatus.RUNNING,
    Phase.UNKNOWN: batchspawner.JobStatus.UNKNOWN,
    Phase.ENDED: batchspawner.JobStatus.NOTFOUND,
    Phase.GONE: batchspawner.JobStatus.NOTFOUND,
}
NAMES = (
    *WORDS,
    "queue",
    "host",
    "runtime",
    "minutes",
    "memory",
    "nprocs",
    "ngpus",
    "gres",
    "options",
    "prologue",
    "epilogue",
)
"""Variables that a template may ask for, empty where neither profile nor configuration sets them."""
NOT_TAKEN = {"req_keepvars", "req_keepvars_extra", "req_username", "req_homedir", "req_srun"}
"""Settings of batchspawner that we decide, or that have no meaning here."""


class JobPart(ChoicePart):
    """Everything between a choice and a job id, and between a job id and a ``JobView``."""

    def account(self) -> accounts.Account:
        """The Unix account of the job. Raises ``Refused``."""
        return accounts.lookup(self.user.name)

    def parse_view(self, text: str) -> JobView:
        """A scheduler's answer as a view; here by the ``state_*`` methods that any batchspawner class has."""
        self.job_status = text
        if not text:
            return JobView(Phase.GONE)
        if self.state_isrunning():
            return JobView(Phase.RUNNING, node=str(self.state_gethost() or ""))
        if self.state_ispending():
            return JobView(Phase.QUEUED)
        return JobView(Phase.UNKNOWN if self.state_isunknown() else Phase.GONE)

    def parse_final(self, text: str) -> JobView:
        """An answer of ``batch_detail_cmd`` as a view."""
        return self.parse_view(text)

    async def with_queue_position(self, view: JobView) -> JobView:
        """The same view with its place in the queue, where the batch system tells it cheaply."""
        return view

    @default("req_username")
    def _req_username_default(self) -> str:
        return self.account().name

    @default("req_homedir")
    def _req_homedir_default(self) -> str:
        return str(self.account().home)

    @default("req_keepvars")
    def _req_keepvars_default(self) -> str:
        return ""  # decided at submission

    def get_req_subvars(self) -> dict[str, str | int]:
        """Template variables from configuration alone: the ``req_*`` settings, and every name a template may use."""
        account = self.account()
        home = str(account.home)
        settings = [name for name in self.trait_names() if name.startswith("req_") and name not in NOT_TAKEN]
        return {
            **dict.fromkeys(NAMES, ""),
            **{name[4:]: getattr(self, name) for name in settings},
            "username": account.name,
            "homedir": home,
            "python": sys.executable,  # for commands on this host; the job's is in "cmd"
            "logdir": f"{home}/{self.job_log_directory}" if self.job_log_directory else "",
            "keepvars": "",
            "srun": "",
            "cmd": self.cmd_formatted_for_batch(),
        }

    def cmd_formatted_for_batch(self) -> str:
        """What the job runs: the agent. The server's own command and environment reach it through the gateway."""
        return shlex.join([self.node_python, "-I", "-m", "jupyter_hpcsec.hub.launch"])

    def batch(self) -> BatchSystem:
        """The batch system's commands for this user. Raises ``Refused`` when the user has no account."""
        account = self.account()
        return BatchSystem(
            account=account,
            prefix=self.exec_prefix,
            submit_cmd=self.batch_submit_cmd,
            query_cmd=self.batch_query_cmd,
            cancel_cmd=self.batch_cancel_cmd,
            hard_cancel_cmd=self.batch_hard_cancel_cmd or self.batch_cancel_cmd,
            kill_cmd=self.batch_kill_cmd,
            detail_cmd=self.batch_detail_cmd,
            environment=command_environment(os.environ, self.batch_env_keep, account),
            variables=self.get_req_subvars(),
            query_as_user=self.query_as_user,
            timeout_s=self.batch_command_timeout,
        )

    async def submit(self, choice: Choice | None, job_environment: dict[str, str], *, account: str = "") -> None:
        """Render the script and submit it; sets ``job_id``, also when cancelled meanwhile. Raises ``HpcsecError``,
        ``SpawnFailed``.

        ``job_environment`` holds the token; it goes to the batch command's environment and nowhere else.
        ``account`` is the project's, in place of the profile's.
        """
        batch = self.batch()
        script = await self.script(batch, choice, job_environment, account=account)
        if any(value in script for value in job_environment.values()):
            raise Refused(
                "spawn.secret-in-script", "The job template puts the job's token into the script; mend batch_script."
            )
        try:
            output = await batch.submit(script, job_environment)
        except SubmittedThenCancelled as cancelled:
            self.job_id = self._job_id_from(cancelled.output) if cancelled.output else ""
            raise asyncio.CancelledError from cancelled
        self.job_id = self._job_id_from(output)

    async def script(
        self, batch: BatchSystem, choice: Choice | None, more: Collection[str], *, account: str = ""
    ) -> str:
        """The job script for a choice. ``more``: names of variables that the job gets beside the batch system's own."""
        names = sorted({*batch.environment, *more})
        chosen = choice.variables() if choice else {}
        unset = {key for key in ("queue", *WORDS) if not chosen.get(key)}
        asked = {key: value for key, value in chosen.items() if key not in unset}
        asked |= {"account": account} if account else {}
        return await self._get_batch_script(**{**batch.variables, **asked, "keepvars": ",".join(names)})

    async def _get_batch_script(self, **subvars: str | int) -> str:
        return render_script(self.batch_script, subvars)

    def _job_id_from(self, output: str) -> str:
        try:
            job_id = str(self.parse_job_id(output)).strip()
        except Exception as error:  # a subclass's parser may raise whatever it likes
            raise Malformed(f"The batch system's answer names no job: {output[:120]!r}.") from error
        if not JOB_ID.fullmatch(job_id):
            raise Malformed(f"The batch system's answer names no job: {output[:120]!r}.")
        return job_id

    async def job(self) -> JobView:
        """The scheduler's view of the job now; never raises."""
        if not self.job_id:
            return JobView(Phase.GONE)
        try:
            view = self.parse_view(await self.batch().query(self.job_id))
        except HpcsecError as error:
            return JobView(Phase.UNKNOWN, reason=error.reason)
        return await self.with_queue_position(view) if view.phase is Phase.QUEUED else view

    async def final(self) -> JobView:
        """The scheduler's last word on a job that ended; never raises."""
        try:
            text = await self.batch().detail(self.job_id) if self.job_id else ""
        except HpcsecError:
            text = ""
        view = self.parse_final(text) if text else JobView(Phase.GONE)
        return view if view.phase is Phase.ENDED else await self.job()

    async def query_job_status(self) -> Any:
        """batchspawner's own question, for code that knows only that one."""
        return STATUSES[(await self.job()).phase]

    async def cancel_batch_job(self) -> None:
        """batchspawner's own order, for code that knows only that one."""
        if self.job_id:
            await self.batch().cancel(self.job_id, hard=True)

    async def run_command(self, cmd: str, input: str | None = None, env: Any = None) -> str:
        """Refused: batchspawner's goes through a shell with the hub's whole environment."""
        raise Refused("spawn.shell", "Batch commands run through batch(), without a shell; override that instead.")

    async def submit_batch_script(self) -> str:
        """Refused: batchspawner's lets ``user_options`` replace template variables."""
        raise Refused("spawn.submit", "Jobs are submitted by start() alone, which knows their session.")
