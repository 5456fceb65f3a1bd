"""The process above one local job: starts its script, ends all that it started, and writes down how it ended.

Run by ``localjob submit`` as ``python -I -m jupyter_hpcsec.hub.localjob_supervisor DIRECTORY ID``. It has one thread.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jupyter_hpcsec.access.prctl import SET_DUMPABLE, SET_PDEATHSIG, prctl
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.job_environment import LOCAL_JOB_ID, OURS
from jupyter_hpcsec.hub.localjob_records import CANCEL_GRACE_S, DIRECTORY_VARIABLE, Record, Records, State
from jupyter_hpcsec.hub.processes import become_subreaper, kill_descendants, read_process, reap

READY = "ready"
"""Said to the one who submitted, once the script runs and its record is written."""

KILL_PATIENCE_S = 10.0
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(records: Records, job_id: str) -> "subprocess.Popen[bytes]":
    """Start the script in a session of its own, with its id; it dies with the supervisor."""
    me, mask = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)

    def in_child() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        prctl(SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)

    environment = {**os.environ, LOCAL_JOB_ID: job_id}
    environment.pop(DIRECTORY_VARIABLE, None)
    home = Path(environment.get("HOME", "/"))
    with records.output(job_id).open("ab") as output:
        return subprocess.Popen(
            [records.script(job_id)],
            env=environment,
            cwd=home if home.is_dir() else "/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
        )


def wait(script: "subprocess.Popen[bytes]") -> bool:
    """Wait for the script's end or for a cancel; true if the job was cancelled.

    The first cancel asks the script to end and waits a while; the second, or the end of the wait, does not.
    """
    deadline = float("inf")
    while script.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        got = signal.sigwaitinfo(WATCHED) if left == float("inf") else signal.sigtimedwait(WATCHED, left)
        if got is None or (got.si_signo != signal.SIGCHLD and deadline < float("inf")):
            return True
        if got.si_signo == signal.SIGCHLD:
            reap(but=script.pid)
        else:
            script.terminate()
            deadline = time.monotonic() + CANCEL_GRACE_S
    return deadline < float("inf")


def outcome(record: Record, script: "subprocess.Popen[bytes]", *, cancelled: bool, now: float) -> Record:
    """The record of an ended job; a script that a signal ended has status 128 + its number, as shells say."""
    status = script.returncode if script.returncode is not None else -signal.SIGKILL
    status = status if status >= 0 else 128 - status
    state = State.CANCELLED if cancelled else State.COMPLETED if status == 0 else State.FAILED
    return replace(record, state=state, exit=status, ended=now)


def main(argv: Sequence[str]) -> int:
    """Supervise one job from its start to its last process."""
    prctl(SET_DUMPABLE, 0)  # the job's token is in this process's environment, too
    records, job_id = Records(Path(argv[0])), argv[1]
    become_subreaper()
    script = start(records, job_id)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    me = read_process(os.getpid())
    if me is None:
        raise Unavailable("/proc is not mounted here; local jobs need it.")
    host = socket.gethostname().partition(".")[0] or "localhost"
    record = Record(job_id, State.RUNNING, host, time.time(), pid=script.pid, supervisor=me.pid, started=me.started)
    records.put(record)
    print(READY, end="", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    cancelled = wait(script)
    if not kill_descendants(patience_s=KILL_PATIENCE_S):
        print("localjob: processes of this job could not be ended", file=sys.stderr)
    records.put(outcome(record, script, cancelled=cancelled, now=time.time()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
