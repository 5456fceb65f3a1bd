"""What processes cost: CPU seconds and memory, as ``/proc`` tells. Reads only."""

import os
from collections.abc import Iterable
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.processes import PROC, descendants, processes

_TICKS = os.sysconf("SC_CLK_TCK")


def family_of(roots: Iterable[int], proc: Path = PROC) -> set[int]:
    """The processes and all their living descendants: what sshd starts for a connection counts as its own."""
    table = processes(proc)
    found = {pid for root in roots for pid in (root, *descendants(root, table)) if pid in table}
    return {pid for pid in found if not table[pid].is_zombie}


def cpu_seconds(roots: Iterable[int], proc: Path = PROC) -> float:
    """User and system time of the processes and their living descendants, in seconds since each began."""
    return sum(_process_seconds(proc / str(pid)) for pid in family_of(roots, proc))


def _process_seconds(directory: Path) -> float:
    """In nanoseconds where the kernel counts so (sched-stats), else in ticks of 10 ms (proc_pid_stat(5), 14 and 15)."""
    try:
        tasks = list((directory / "task").iterdir())
        try:
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except FileNotFoundError:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it ended meanwhile: so does its share, which is small while a measure runs


def memory_bytes(pid: int, proc: Path = PROC) -> int:
    """Proportional set size (proc_pid_smaps(5)): memory of its own, and its share of what it shares."""
    try:
        lines = (proc / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError as exc:
        raise Unavailable(f"the memory of process {pid} can't be read: {exc.strerror}") from exc
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("this kernel tells no Pss in smaps_rollup")
