"""The open ports of the sessions' processes on this computer: the agents' and everything below them.

Run as a program (``python -I -m jupyter_hpcsec.ops.session_ports``) it prints them as one JSON list, to be used inside
a node. It only reads; whose processes it can look into is the caller's matter (see ``listeners``).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.processes import PROC, processes
from jupyter_hpcsec.ops.listeners import listeners

AGENT = b"\0-m\0jupyter_hpcsec.hub.launch\0"
"""In the command line of each session's first process."""


def agents(proc: Path = PROC) -> list[int]:
    """Pids of the agents that ``proc`` shows."""
    found = []
    for process in processes(proc).values():
        try:
            command = (proc / str(process.pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if AGENT in command:
            found.append(process.pid)
    return found


def open_ports(roots: Iterable[int]) -> list[dict[str, Any]]:
    """The open ports of each tree as facts; ``Unavailable`` when there is no tree to look at, which proves nothing."""
    pids = list(roots)
    if not pids:
        raise Unavailable("No session's process was found, so that its ports can't be looked at.")
    return [asdict(port) for pid in pids for port in listeners(pid)]


if __name__ == "__main__":
    print(json.dumps(open_ports(agents())))
