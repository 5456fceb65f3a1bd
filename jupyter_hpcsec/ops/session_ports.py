"""The processes of sessions on this computer (agents and everything below them) and the ports that they hold open.

Run as a program (``python -I -m jupyter_hpcsec.ops.session_ports JOB…``) it prints what it sees of those Slurm jobs as
one JSON object, to be used inside a node by root. It only reads.
"""

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.hub.processes import PROC, descendants, processes
from jupyter_hpcsec.ops.listeners import listeners

AGENT = b"\0-m\0jupyter_hpcsec.hub.launch\0"
"""In the command line of each session's first process."""
JOB_VARIABLE = b"SLURM_JOB_ID="


@dataclass(frozen=True)
class View:
    """What was seen: agents, processes (agents included), open ports. No agent seen means that nothing is proved."""

    agents: int
    processes: int
    ports: list[dict[str, Any]]

    def __add__(self, other: "View") -> "View":
        """Two nodes' views as one."""
        return View(self.agents + other.agents, self.processes + other.processes, self.ports + other.ports)


NOTHING = View(0, 0, [])


def agents(proc: Path = PROC) -> list[int]:
    """Pids of the agents that ``proc`` shows."""
    return [pid for pid in _living(proc) if AGENT in _read(proc / str(pid) / "cmdline")]


def of_jobs(pids: Iterable[int], jobs: Collection[str], proc: Path = PROC) -> list[int]:
    """Those of ``pids`` whose environment names one of the Slurm ``jobs``; root can read every process's."""
    wanted = {JOB_VARIABLE + job.encode() for job in jobs}
    return [pid for pid in pids if wanted & set(_read(proc / str(pid) / "environ").split(b"\0"))]


def look(roots: Sequence[int], proc: Path = PROC) -> View:
    """The trees below ``roots``."""
    table = {pid: process for pid, process in processes(proc).items() if not process.is_zombie}
    pids = {pid for root in roots for pid in (root, *descendants(root, table))}
    return View(len(roots), len(pids), [asdict(port) for root in roots for port in listeners(root, proc)])


def _living(proc: Path) -> list[int]:
    return [process.pid for process in processes(proc).values() if not process.is_zombie]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


if __name__ == "__main__":
    print(json.dumps(asdict(look(of_jobs(agents(), sys.argv[1:])))))
