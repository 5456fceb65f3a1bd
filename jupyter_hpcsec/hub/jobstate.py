"""What a scheduler's answer means: from its text to a state, and from a state to a sentence for the user.

Pure: text in, values out. It runs no command and knows no clock. Text from a scheduler may quote what users wrote (job
names, comments), so that every piece is cut to one bounded printable line and none of it is ever markup or a path.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from jupyter_hpcsec.hub.progress import printable


class Phase(StrEnum):
    """What the spawner does next depends on this alone."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    """The scheduler names a final state."""
    GONE = "gone"
    """The scheduler does not know the job (any more)."""
    UNKNOWN = "unknown"
    """The scheduler did not answer; nothing may be concluded."""


@dataclass(frozen=True)
class JobView:
    """One answer. ``state`` and ``reason`` are the scheduler's own words; empty where it says nothing."""

    phase: Phase
    state: str = ""
    reason: str = ""
    node: str = ""
    starts: str = ""
    """The estimated start, as the scheduler prints it (local time of the head node)."""
    exit_code: str = ""
    position: int | None = None
    """1 is next. None: not known."""

    @property
    def is_alive(self) -> bool:
        """Whether the job may still run; an unknown one may."""
        return self.phase in {Phase.QUEUED, Phase.RUNNING, Phase.UNKNOWN}


SLURM_PHASES = {
    "PENDING": Phase.QUEUED,
    "CONFIGURING": Phase.QUEUED,
    "REQUEUED": Phase.QUEUED,
    "REQUEUE_HOLD": Phase.QUEUED,
    "REQUEUE_FED": Phase.QUEUED,
    "SPECIAL_EXIT": Phase.QUEUED,
    "RESV_DEL_HOLD": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "SUSPENDED": Phase.RUNNING,
    "RESIZING": Phase.RUNNING,
    "SIGNALING": Phase.RUNNING,
    "STAGE_OUT": Phase.RUNNING,
    "STOPPED": Phase.RUNNING,
    # A completing job has no process of ours left to talk to; its final state follows.
    "COMPLETING": Phase.ENDED,
    "COMPLETED": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "TIMEOUT": Phase.ENDED,
    "CANCELLED": Phase.ENDED,
    "NODE_FAIL": Phase.ENDED,
    "OUT_OF_MEMORY": Phase.ENDED,
    "PREEMPTED": Phase.ENDED,
    "DEADLINE": Phase.ENDED,
    "BOOT_FAIL": Phase.ENDED,
    "REVOKED": Phase.ENDED,
    "LAUNCH_FAILED": Phase.ENDED,
    "RECONFIG_FAIL": Phase.ENDED,
}
PBS_PHASES = {
    **dict.fromkeys("QHWTM", Phase.QUEUED),
    **dict.fromkeys("RSBU", Phase.RUNNING),
    **dict.fromkeys("ECFX", Phase.ENDED),
}
LSF_PHASES = {
    "PEND": Phase.QUEUED,
    "PSUSP": Phase.QUEUED,
    "WAIT": Phase.QUEUED,
    "RUN": Phase.RUNNING,
    "USUSP": Phase.RUNNING,
    "SSUSP": Phase.RUNNING,
    "DONE": Phase.ENDED,
    "EXIT": Phase.ENDED,
    "ZOMBI": Phase.ENDED,
    "UNKWN": Phase.UNKNOWN,
}

_NOTHING = {"", "None", "N/A", "n/a", "(null)", "Unknown", "(None)", "-"}
_NO_SUCH_JOB = re.compile(r"Invalid job id|Unknown Job Id|is not found|Job has finished", re.IGNORECASE)
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")


def _word(text: str, limit: int = 80) -> str:
    word = printable(text.strip(), limit)
    return "" if word in _NOTHING else word


def _node(text: str) -> str:
    name = text.strip()
    return name if NODE.fullmatch(name) else ""


def no_answer(text: str) -> JobView:
    """A command that failed: a job that is unknown to the scheduler is gone, every other complaint proves nothing."""
    if _NO_SUCH_JOB.search(text):
        return JobView(Phase.GONE)
    return JobView(Phase.UNKNOWN, reason=_word(text, 160))


def parse_squeue(text: str) -> JobView:
    """``squeue --noheader --states=all --format='%T|%r|%S|%B'`` of one job: state, reason, start, batch host."""
    line = next((line for line in text.splitlines() if line.count("|") == 3), None)
    if line is None:
        return no_answer(text) if text.strip() else JobView(Phase.GONE)
    state, reason, starts, host = line.split("|")
    phase = SLURM_PHASES.get(state.strip(), Phase.UNKNOWN)
    return JobView(phase, _word(state), _word(reason), _node(host) if phase is Phase.RUNNING else "", _word(starts))


_SCONTROL = re.compile(r"(?:^|\s)JobState=(?P<state>\S+)\s+Reason=(?P<reason>.*?)\s+Dependency=")
_EXIT_CODE = re.compile(r"\sExitCode=(\d{1,3}:\d{1,3})\s")


def parse_scontrol(text: str) -> JobView:
    """``scontrol show job -o ID``: how a job ended. Its name stands before the state and is ours, see ``JOB_NAME``."""
    found = _SCONTROL.search(text)
    if found is None:
        return no_answer(text) if text.strip() else JobView(Phase.GONE)
    code = _EXIT_CODE.search(text)
    phase = SLURM_PHASES.get(found["state"], Phase.UNKNOWN)
    return JobView(phase, _word(found["state"]), _word(found["reason"]), exit_code=code[1] if code else "")


def parse_qstat(text: str) -> JobView:
    """``qstat -f -x ID`` of OpenPBS and PBS Professional: ``name = value`` lines, long values folded with a tab."""
    values = dict(
        re.findall(r"^\s*(job_state|comment|exec_host|Exit_status|estimated\.start_time) = (.*)$", text, re.M)
    )
    if "job_state" not in values:
        return no_answer(text) if text.strip() else JobView(Phase.GONE)
    state = values["job_state"].strip()
    return JobView(
        PBS_PHASES.get(state, Phase.UNKNOWN),
        _word(state),
        _word(values.get("comment", ""), 160),
        _node(values.get("exec_host", "").split("/")[0]),
        _word(values.get("estimated.start_time", "")),
        _word(values.get("Exit_status", "")),
    )


def parse_bjobs(text: str) -> JobView:
    """``bjobs -a -noheader -o "STAT EXEC_HOST EXIT_CODE PEND_REASON delimiter='|'"`` of one job."""
    line = next((line for line in text.splitlines() if line.count("|") >= 3), None)
    if line is None:
        return no_answer(text) if text.strip() else JobView(Phase.GONE)
    state, host, code, reason = line.split("|", 3)
    # several slots are printed as "4*node1"; several hosts joined by ":"
    node = _node(host.split(":")[0].rpartition("*")[2])
    return JobView(
        LSF_PHASES.get(state.strip(), Phase.UNKNOWN), _word(state), _word(reason, 160), node, exit_code=_word(code)
    )


def parse_words(text: str) -> JobView:
    """The local batch system's ``STATE [NODE-OR-EXIT-CODE]``, and a fair guess for any other: Slurm's state names."""
    words = text.split()
    if not words:
        return JobView(Phase.GONE)
    phase = SLURM_PHASES.get(words[0])
    if phase is None:
        return no_answer(text)
    rest = words[1] if len(words) > 1 else ""
    if phase is Phase.ENDED:
        return JobView(phase, words[0], exit_code=_word(rest))
    return JobView(phase, words[0], node=_node(rest) if phase is Phase.RUNNING else "")


def queue_position(listing: str, job_id: str) -> int | None:
    """The place of a job in a list of pending job ids, one a line, highest priority first (``squeue --sort=-p``)."""
    ids = listing.split()
    return ids.index(job_id) + 1 if job_id in ids else None


def with_position(view: JobView, position: int | None) -> JobView:
    """The same answer with its place in the queue."""
    return replace(view, position=position)


PENDING_HINTS = {
    "Resources": "waiting for free resources",
    "Priority": "other jobs are ahead",
    "BeginTime": "its start was put off",
    "Dependency": "it depends on another job",
    "JobHeldUser": "it is held by you; release it with scontrol release",
    "JobHeldAdmin": "it is held by an administrator",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "PartitionConfig": "the partition has no node for what it asks for; stop it and choose something else",
    "PartitionTimeLimit": "it asks for more time than the partition allows; stop it and ask for less",
    "PartitionNodeLimit": "it asks for more than the partition has; stop it and ask for less",
    "ReqNodeNotAvail": "the nodes it needs are not available",
    "Reservation": "it waits for a reservation",
    "BadConstraints": "no node fits what it asks for; stop it and choose something else",
    "Licenses": "it waits for a licence",
    "NodeDown": "its node is down",
    "launch failed requeued held": "the node could not start it; tell your administrators",
}
_LIMIT = re.compile(r"^(QOS|Assoc|Max)\w*(Limit|PerUser|PerAccount|Grp\w+)\w*$|^(QOS|Assoc)(Max|Grp)\w+$")


def pending_hint(reason: str) -> str:
    """What a scheduler's reason for waiting means, or an empty string for one that we do not know."""
    base = reason.split(",", maxsplit=1)[0].strip()
    if base in PENDING_HINTS:
        return PENDING_HINTS[base]
    return "a limit of your account or quality of service is reached" if _LIMIT.match(base) else ""


def progress_sentence(view: JobView) -> str:
    """One line for the spawn page about a job that lives."""
    if view.phase is Phase.UNKNOWN:
        said = f" ({view.reason})" if view.reason else ""
        return f"The batch system does not answer{said}; trying again"
    if view.phase is Phase.RUNNING:
        return f"Your job runs on {view.node}" if view.node else "Your job runs"
    if view.phase is not Phase.QUEUED:
        return final_sentence(view)
    parts = ["Your job is queued"]
    if view.position is not None:
        parts.append("it is next" if view.position == 1 else f"{view.position - 1} jobs are ahead of it")
    if view.reason:
        hint = pending_hint(view.reason)
        parts.append(f"{hint} ({view.reason})" if hint else f"the batch system says: {view.reason}")
    if view.starts:
        parts.append(f"estimated start {view.starts}")
    return "; ".join(parts)


_LOOK = "Its output is in ~/.hpcsec on the cluster"
_TWICE = "Start it again; if it happens twice tell your administrators."
FINAL = {
    "FAILED": ("Your job failed", f"{_LOOK}. Start it again, or show this message to your administrators."),
    "TIMEOUT": ("Your job reached its time limit", "Start it again and ask for more time if you need it."),
    "CANCELLED": (
        "Your job was cancelled",
        "Start it again; if it was not you who did that ask your administrators.",
    ),
    "NODE_FAIL": ("The node on which your job ran failed", "Start it again; it will run on another node."),
    "OUT_OF_MEMORY": ("Your job used more memory than it asked for", "Start it again and ask for more memory."),
    "PREEMPTED": ("Your job had to make room for one of higher priority", "Start it again."),
    "DEADLINE": ("Your job could not end before its deadline", "Start it again and ask for less time."),
    "BOOT_FAIL": ("The node for your job could not boot", _TWICE),
    "LAUNCH_FAILED": ("The node could not launch your job", _TWICE),
    "REVOKED": ("Your job was moved to another cluster and can't be followed there", "Start it again."),
    "COMPLETED": ("Your job ended before the notebook server was ready", f"{_LOOK}. Start it again."),
    "COMPLETING": ("Your job ended before the notebook server was ready", f"{_LOOK}. Start it again."),
}
"""What happened, and what to do next."""
WHILE_COMPLETING = {
    "TimeLimit": "TIMEOUT",
    "NonZeroExitCode": "FAILED",
    "OutOfMemory": "OUT_OF_MEMORY",
    "NodeDown": "NODE_FAIL",
    "DeadLine": "DEADLINE",
    "JobLaunchFailure": "LAUNCH_FAILED",
}
"""What a job will be whose last processes are being ended; Slurm gives its reason already, its state only then."""
_WITH_CODE = {"FAILED", "COMPLETED", "COMPLETING"}


def says_no_end_yet(view: JobView) -> bool:
    """Whether Slurm is still ending the job and has not said why."""
    return view.state == "COMPLETING" and view.reason not in WHILE_COMPLETING


def final_sentence(view: JobView) -> str:
    """What happened to a job that ended: the scheduler's own reason, and what to do next."""
    if view.phase is Phase.GONE:
        return f"The batch system does not know your job any more: it ended early. {_LOOK}. Start it again."
    if view.state == "COMPLETING":
        view = replace(view, state=WHILE_COMPLETING.get(view.reason, view.state))
    happened, advice = FINAL.get(view.state, ("Your job ended", f"{_LOOK}. Start it again."))
    if view.state not in FINAL and view.state:
        happened += f" ({view.state})"
    if view.exit_code not in {"", "0", "0:0"} and (view.state in _WITH_CODE or view.state not in FINAL):
        happened += f" with exit code {_code(view.exit_code)}"
    if view.reason:
        happened += f" (the batch system says: {view.reason})"
    return f"{happened}. {advice}"


def _code(exit_code: str) -> str:
    status, _, number = exit_code.partition(":")
    return f"{status}, ended by signal {number}" if number not in {"", "0"} else status


def rejected_sentence(stderr: str) -> str:
    """One sentence about a job that the batch system did not take, with its own words (bounded, one line)."""
    lines: Sequence[str] = [line for line in stderr.splitlines() if line.strip()]
    said = printable(" ".join(lines), 200) if lines else "no reason given"
    return (
        f"The batch system did not take your job: {said}. Choose other resources, or show this to your administrators."
    )
