"""What the server knows of its kernels, for the GPU watch; and the orphans of kernels, which the server keeps.

As the *sub-reaper* of what it starts (prctl(2)) the server is the next parent of a process whose parent has gone: a
double-forked child of a kernel stays below the server. Who adopts has to reap, and must not take a status that
somebody else waits for: an ended child is only reaped after it has waited through two sweeps.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import TraitError

from jupyter_hpcsec.access.prctl import SET_CHILD_SUBREAPER, prctl
from jupyter_hpcsec.gpu.processes import Processes, read
from jupyter_hpcsec.gpu.samples import KernelFact
from jupyter_hpcsec.server.gpu_cells import Cells

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

SWEEP_S = 30.0
CHILDREN = Path("/proc/self/task")


async def kernel_facts(app: "ServerApp", processes: Processes, cells: Cells) -> list[KernelFact]:
    """Every kernel of the server; its notebook's path where a session has one, and what it executed."""
    manager: Any = app.kernel_manager
    paths = {}
    with contextlib.suppress(Exception):  # the paths are for people: without them the watch goes on
        sessions = await app.session_manager.list_sessions()
        paths = {each["kernel"]["id"]: each["path"] for each in sessions if each["type"] == "notebook"}
    found = []
    for kernel_id in list(manager.list_kernel_ids()):
        kernel = manager.get_kernel(kernel_id)
        pid = getattr(getattr(kernel, "provisioner", None), "pid", None) or 0
        stat = processes.stat(pid) if pid else None
        state = getattr(kernel, "execution_state", None)
        ran = cells.of(kernel_id, (pid, stat.start if stat else 0))
        found.append(
            KernelFact(
                id=kernel_id,
                pid=pid if stat else 0,
                start=stat.start if stat else 0,
                path=str(paths.get(kernel_id, "")),
                busy={"busy": True, "idle": False, "starting": True, "restarting": True}.get(str(state)),
                since=_last_activity(kernel),
                cell=ran[-1].id if ran else "",
                ran=ran,
            )
        )
    cells.keep(kernel.id for kernel in found)
    return found


def _last_activity(kernel: Any) -> float:
    """Unix seconds; 0 for a kernel that is just being started: it has none yet, and its trait refuses to say so."""
    try:
        active = kernel.last_activity
    except (AttributeError, TraitError):
        return 0.0
    return float(active.timestamp()) if active else 0.0


def adopt_orphans() -> bool:
    """Become the sub-reaper, where the kernel lists children; False where it does not."""
    if not children():
        return False
    prctl(SET_CHILD_SUBREAPER, 1)
    return True


def children(tasks: Path = CHILDREN) -> set[int] | None:
    """This process's own children; None where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    found: set[int] = set()
    try:
        for task in list(tasks.iterdir()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(word) for word in (task / "children").read_text().split()}
    except OSError:
        return None
    return found if any((task / "children").exists() for task in tasks.iterdir()) else None


def reap(waiting: set[tuple[int, int]], processes: Processes, own: Iterable[int] | None = None) -> set[tuple[int, int]]:
    """Reap the ended children that were ``waiting`` already; those that wait now."""
    still: set[tuple[int, int]] = set()
    for pid in (children() or set()) if own is None else own:
        stat = processes.stat(pid)
        line = read(f"{processes.proc}/{pid}/stat") or b""
        if stat is None or line[line.rfind(b")") + 2 :][:1] != b"Z":
            continue
        if (pid, stat.start) in waiting:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        else:
            still.add((pid, stat.start))
    return still
