"""The processes of a job, read from ``/proc``: who descends from whom, and how to end all of them.

A process tree is found by parent pid. A child whose parent has gone is handed to the next *subreaper* above it
(prctl(2), ``PR_SET_CHILD_SUBREAPER``); after ``become_subreaper()`` a descendant therefore stays a descendant, however
often it forks and whatever session it opens. The batch system's cgroup is still the authority where there is one.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.access.prctl import SET_CHILD_SUBREAPER, prctl

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One line of ``/proc/PID/stat``. ``started`` (ticks since boot) tells a process from a later owner of its pid."""

    pid: int
    parent: int
    state: str
    started: int

    @property
    def is_zombie(self) -> bool:
        """Ended, and only waiting for its parent to ask how."""
        return self.state in {"Z", "X", "x"}


def parse_stat(text: str) -> Process:
    """The fields of proc_pid_stat(5) that are needed; the command's name may hold spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest[rest.rindex(")") + 2 :].split()
    return Process(pid=int(pid), parent=int(fields[1]), state=fields[0], started=int(fields[19]))


def read_process(pid: int, proc: Path = PROC) -> Process | None:
    """What ``/proc`` says of one process; ``None`` when there is none (any more)."""
    try:
        return parse_stat((proc / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def processes(proc: Path = PROC) -> dict[int, Process]:
    """All processes that this mount of ``/proc`` shows."""
    pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    return {found.pid: found for pid in pids if (found := read_process(pid, proc)) is not None}


def own_children(proc: Path = PROC) -> list[int]:
    """Our children, by a read of a few files (proc_pid_children(5)); none where the kernel keeps no such list."""
    try:
        return [
            int(pid) for task in (proc / "self" / "task").iterdir() for pid in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(root: int, table: Mapping[int, Process]) -> list[int]:
    """Pids below ``root``, parents before children, ``root`` not included."""
    children = defaultdict(list)
    for process in table.values():
        children[process.parent].append(process.pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return found


def become_subreaper() -> None:
    """From now on orphans below this process become its children, which it has to reap."""
    prctl(SET_CHILD_SUBREAPER, 1)


def reap(*, but: int = 0) -> bool:
    """Ask after every ended child except ``but``, whose exit status someone else wants; says whether children are left.

    For a subreaper *no child* means *no descendant*: the kernel hands an orphan over in one step.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if ended is None or ended.si_pid == but:
            return True
        os.waitpid(ended.si_pid, 0)


def signal_process(pid: int, number: int) -> None:
    """Signal a process that may have gone, or that may have become another user's (a set-uid program)."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def kill_descendants(
    *,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """SIGKILL everything below this process, a subreaper, and reap it; false if something is left after ``patience_s``.

    Each round stops all processes first, so that few can fork while the others die. A list of processes is never the
    proof that none is left, since one that forks and ends fast is on no list; having no child to wait for is. Such a
    one is gone again by the time that a list of all is made, on a busy machine above all. Since its parent has ended it
    is our child, and those are told in no time.
    """
    end = clock() + patience_s
    while reap():
        if clock() >= end:
            return False
        for pid in own_children():
            signal_process(pid, signal.SIGSTOP)
        table = processes()
        alive = [pid for pid in descendants(os.getpid(), table) if not table[pid].is_zombie]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                signal_process(pid, number)
        sleep(0.005 if alive else 0)
    return True
