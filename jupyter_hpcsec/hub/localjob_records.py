"""What is written down about local jobs: one private directory for each, with script, output and state. No process.

A job whose record says *running* and whose supervisor has gone failed; pids are compared with their start times, so
that a later process of the same number is nobody's supervisor.
"""

import json
import os
import re
import secrets
import shutil
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub.processes import read_process
from jupyter_hpcsec.tunnel.private import private_directory

DIRECTORY_VARIABLE = "HPCSEC_LOCALJOB_DIR"
SCRIPT_LIMIT = 256 * 1024
"""Bytes of a job script."""
CANCEL_GRACE_S = 15.0
"""Seconds between a cancelled job's SIGTERM and its SIGKILL; longer than the agent's own patience with the server."""
KEEP_S = 24 * 3600
"""Seconds for which the record of an ended job is kept."""
LOST = 137
"""Exit status of a job whose supervisor was killed: 128 + SIGKILL."""

_ID = re.compile(r"[0-9a-f]{12}")


class State(StrEnum):
    """States of a job, in Slurm's words."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Record:
    """A job. ``pid`` is the script's; ``supervisor`` and ``started`` (clock ticks) name its supervisor; times in s."""

    id: str
    state: State
    host: str
    submitted: float
    pid: int
    supervisor: int
    started: int
    exit: int = 0
    ended: float = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Records:
    """The records of one user's jobs on this computer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def open(cls, environment: Mapping[str, str]) -> "Records":
        """In ``HPCSEC_LOCALJOB_DIR``, else in a place that depends on the user alone: hub and shell see the same."""
        default = f"/tmp/hpcsec-jobs-{os.geteuid()}"  # noqa: S108 - owner and mode are checked
        directory = Path(environment.get(DIRECTORY_VARIABLE) or default)
        private_directory(directory, rule="localjob")
        return cls(directory)

    def create(self, script: bytes) -> str:
        """A place for a new job; its id. It has no record before it runs."""
        job_id = secrets.token_hex(6)
        (self.directory / job_id).mkdir(mode=0o700)
        with open(self.script(job_id), "xb", opener=lambda path, flags: os.open(path, flags, 0o700)) as file:
            file.write(script)
        return job_id

    def drop(self, job_id: str) -> None:
        """Forget a job altogether."""
        shutil.rmtree(self.directory / job_id, ignore_errors=True)

    def script(self, job_id: str) -> Path:
        """The job's script."""
        return self.directory / job_id / "script"

    def output(self, job_id: str) -> Path:
        """What the job wrote to stdout and stderr."""
        return self.directory / job_id / "output"

    def tail(self, job_id: str) -> str:
        """The last line of the output, for an error message."""
        lines = self.output(job_id).read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def get(self, job_id: str) -> Record:
        """The job's record as it is now; ``Malformed`` for what is no id, ``Unavailable`` for an unknown one."""
        if not _ID.fullmatch(job_id):
            raise Malformed("Invalid job id specified: a local job's id has 12 characters, 0-9 and a-f.")
        try:
            fields = json.loads((self.directory / job_id / "state.json").read_text())
        except FileNotFoundError as error:
            raise Unavailable(f"Invalid job id specified: there is no local job {job_id}.") from error
        record = Record(**{**fields, "state": State(fields["state"])})
        if record.state is State.RUNNING and not is_running(record):
            return replace(record, state=State.FAILED, exit=LOST)
        return record

    def put(self, record: Record) -> None:
        """Write the record down; readers see the old or the new one, never half of it."""
        path = self.directory / record.id / "state.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(record.as_dict()))
        new.replace(path)

    def cancel(self, job_id: str) -> None:
        """Ask the supervisor to end the job; nothing to do for one that has ended."""
        record = self.get(job_id)
        if record.state is not State.RUNNING:
            return
        try:
            supervisor = os.pidfd_open(record.supervisor)
        except ProcessLookupError:
            return
        try:
            if is_running(record):  # checked with the descriptor in hand: the pid can't change its owner any more
                signal.pidfd_send_signal(supervisor, signal.SIGTERM)
        except ProcessLookupError:
            return
        finally:
            os.close(supervisor)

    def forget_old(self, now: float) -> None:
        """Remove the records of jobs that ended long ago."""
        for directory in self.directory.iterdir():
            if not _ID.fullmatch(directory.name):
                continue
            try:
                record = self.get(directory.name)
            except Unavailable:  # being submitted
                continue
            if record.state is not State.RUNNING and now - max(record.ended, record.submitted) > KEEP_S:
                self.drop(directory.name)


def is_running(record: Record) -> bool:
    """Whether the job's supervisor lives: the same process, not a later one of the same pid."""
    process = read_process(record.supervisor)
    return process is not None and process.started == record.started and not process.is_zombie
