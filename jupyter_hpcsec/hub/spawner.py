"""The spawners that ``c.JupyterHub.spawner_class`` names: one mixin, four batch systems.

What differs between batch systems is here and in ``jobstate``: commands, job template, and how an answer is read. For
another one put ``HpcsecSpawnerMixin`` before any batchspawner class.
"""

import time
from typing import Any, ClassVar

from traitlets import Bool, Float, List, Unicode

from jupyter_hpcsec.hub import account as accounts
from jupyter_hpcsec.hub import endpages, hubevents, logout, windows
from jupyter_hpcsec.hub.batch import batchspawner
from jupyter_hpcsec.hub.jobstate import (
    JobView,
    parse_bjobs,
    parse_qstat,
    parse_scontrol,
    parse_squeue,
    parse_words,
    queue_position,
    with_position,
)
from jupyter_hpcsec.hub.localjob_records import DIRECTORY_VARIABLE
from jupyter_hpcsec.hub.mixin import HpcsecSpawnerMixin
from jupyter_hpcsec.hub.submission import KEEP, LOCAL_SCRIPT, LSF_SCRIPT, PBS_SCRIPT, SLURM_SCRIPT

BatchSpawnerBase: Any = batchspawner.BatchSpawnerBase
SlurmSpawner: Any = batchspawner.SlurmSpawner
PBSSpawner: Any = batchspawner.PBSSpawner
LsfSpawner: Any = batchspawner.LsfSpawner

logout.install()
hubevents.install()
endpages.install()
windows.install()

__all__ = [
    "HpcsecLocalSpawner",
    "HpcsecLsfSpawner",
    "HpcsecPBSSpawner",
    "HpcsecSlurmSpawner",
    "HpcsecSpawnerMixin",
]


class HpcsecSlurmSpawner(HpcsecSpawnerMixin, SlurmSpawner):
    """Slurm 20.11 or later. ``sbatch`` and ``scancel`` run as the user, ``squeue`` and ``scontrol`` as the hub."""

    batch_script = Unicode(SLURM_SCRIPT, help="Template of the job script; see hub_config/job_template.sh.").tag(
        config=True
    )
    batch_submit_cmd = Unicode("sbatch --parsable").tag(config=True)
    batch_query_cmd = Unicode("squeue --noheader --states=all --jobs={job_id} --format='%T|%r|%S|%B'").tag(config=True)
    batch_detail_cmd = Unicode("scontrol show job -o {job_id}").tag(config=True)
    batch_estimate_cmd = Unicode("sbatch --test-only").tag(config=True)
    # --full: also the processes that the batch script started; a queued job is ended by the hard one at once
    batch_cancel_cmd = Unicode("scancel --full --signal=TERM {job_id}").tag(config=True)
    batch_hard_cancel_cmd = Unicode("scancel {job_id}").tag(config=True)
    # a plain scancel lets a job that ignores SIGTERM live for KillWait, by default half a minute
    batch_kill_cmd = Unicode("scancel --batch --signal=KILL {job_id}").tag(config=True)
    batch_queue_cmd = Unicode(
        "squeue --noheader --states=PENDING --sort=-p --format=%i",
        help="Lists the ids of waiting jobs, the next one first, for 'N jobs are ahead'; empty: do not show that.",
    ).tag(config=True)
    batch_queue_interval = Float(
        15, min=1, help="Seconds for which one such list serves every user's page: a long queue is not listed per user."
    ).tag(config=True)

    _listings: ClassVar[dict[str, tuple[float, str]]] = {}

    def parse_view(self, text: str) -> JobView:
        """``squeue``'s line."""
        self.job_status = text
        return parse_squeue(text)

    def parse_final(self, text: str) -> JobView:
        """``scontrol``'s line."""
        return parse_scontrol(text)

    async def with_queue_position(self, view: JobView) -> JobView:
        """The place in the whole cluster's queue, by priority, from a list that all users share for a while."""
        command = self.batch_queue_cmd
        if not command:
            return view
        made, listing = self._listings.get(command, (float("-inf"), ""))
        if time.monotonic() - made > self.batch_queue_interval:
            self._listings[command] = (time.monotonic(), listing)  # one asks, the others use the old list meanwhile
            listing = await self.batch().ask(command)
            self._listings[command] = (time.monotonic(), listing)
        return with_position(view, queue_position(listing, self.job_id))


class HpcsecPBSSpawner(HpcsecSpawnerMixin, PBSSpawner):
    """OpenPBS and PBS Professional. ``qstat -f`` shows a job's variables to its owner and to operators; the token works
    once, and only inside that job.
    """

    batch_script = Unicode(PBS_SCRIPT, help="Template of the job script.").tag(config=True)
    batch_submit_cmd = Unicode("qsub").tag(config=True)
    batch_query_cmd = Unicode("qstat -f -x {job_id}").tag(config=True)
    batch_cancel_cmd = Unicode("qsig -s TERM {job_id}").tag(config=True)
    batch_hard_cancel_cmd = Unicode("qdel {job_id}").tag(config=True)
    batch_kill_cmd = Unicode("qsig -s KILL {job_id}").tag(config=True)

    def parse_view(self, text: str) -> JobView:
        """``qstat``'s record."""
        self.job_status = text
        return parse_qstat(text)


class HpcsecLsfSpawner(HpcsecSpawnerMixin, LsfSpawner):
    """IBM Spectrum LSF 10.1 or later."""

    batch_script = Unicode(LSF_SCRIPT, help="Template of the job script.").tag(config=True)
    batch_submit_cmd = Unicode("bsub").tag(config=True)
    batch_query_cmd = Unicode(
        "bjobs -a -noheader -o \"STAT EXEC_HOST EXIT_CODE PEND_REASON delimiter='|'\" {job_id}"
    ).tag(config=True)
    batch_cancel_cmd = Unicode("bkill -s TERM {job_id}").tag(config=True)
    batch_hard_cancel_cmd = Unicode("bkill {job_id}").tag(config=True)
    batch_kill_cmd = Unicode("bkill -s KILL {job_id}").tag(config=True)

    def parse_view(self, text: str) -> JobView:
        """``bjobs``'s line."""
        self.job_status = text
        return parse_bjobs(text)


class HpcsecLocalSpawner(HpcsecSpawnerMixin, BatchSpawnerBase):
    """No batch system: the same job script, run by a process group on this computer. For trying out; it attests
    nothing.

    Without root every user's server runs under the hub's own account, so that users are not protected from each other.
    """

    batch_script = Unicode(LOCAL_SCRIPT, help="Template of the job script.").tag(config=True)
    batch_submit_cmd = Unicode("{python} -I -m jupyter_hpcsec.hub.localjob submit").tag(config=True)
    batch_query_cmd = Unicode("{python} -I -m jupyter_hpcsec.hub.localjob state {job_id}").tag(config=True)
    batch_cancel_cmd = Unicode("{python} -I -m jupyter_hpcsec.hub.localjob cancel {job_id}").tag(config=True)
    exec_prefix = Unicode("", help="Nothing: the hub runs as root, or every job as the hub's own account.").tag(
        config=True
    )
    batch_env_keep = List(
        Unicode(), [*KEEP, DIRECTORY_VARIABLE], help="As for the others, and where the records of local jobs are."
    ).tag(config=True)
    query_as_user = Bool(True, help="The records of local jobs belong to their user.").tag(config=True)

    def account(self) -> accounts.Account:
        """The user's own account when the hub is root, else the hub's."""
        own = accounts.own()
        return accounts.lookup(self.user.name) if own.uid == 0 else own

    def parse_job_id(self, output: Any) -> str:
        """The last line: the job's id."""
        return str(output).strip().splitlines()[-1]

    def parse_view(self, text: str) -> JobView:
        """``STATE [NODE-OR-EXIT-CODE]``."""
        self.job_status = text
        return parse_words(text)
