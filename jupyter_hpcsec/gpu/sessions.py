"""Joins kernels to what holds the GPUs: kernel <-> process tree <-> context <-> notebook and cell. Pure.

A process belongs to a kernel when, in this order: the job's cgroup does not say otherwise (the authority, where there
is one); the kernel's own process is above it; its environment has the kernel's id; it was below the kernel when it was
first seen (a double fork loses the parent, ``env -i`` the id; the server is the sub-reaper, so that both keep it
below the server). A pid is only the same process with the same start.

A context is a cell's by the cell's id when that cell alone was executed between the last scan without the context and
the first one with it. Where several were, or none, it is the last one's by time, and is said to be.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from jupyter_hpcsec.gpu.samples import Allocation, By, CellBy, Holder, KernelFact, Process, Sample, Scan, Whose

SYSTEM_UIDS = 1000
"""Below are root and services, UID_MIN of login.defs(5)."""
REMEMBERED_LIMIT = 4096
KERNELS_LIMIT = 512


class Bond(Struct, frozen=True):
    """A process's kernel, and that kernel's own process at the time (a restart keeps the id alone)."""

    kernel: str
    pid: int
    start: int


class Memory(Struct, frozen=True):
    """What earlier scans showed. ``bonds`` by (pid, start); ``kernels``: ids that this server ever had.

    ``cells`` by (pid, start) of those that hold contexts; ``mono``: of the last scan that saw everything.
    """

    bonds: Mapping[tuple[int, int], Bond] = {}
    kernels: frozenset[str] = frozenset()
    cells: Mapping[tuple[int, int], tuple[str, CellBy]] = {}
    mono: float | None = None


def join(
    scan: Scan, kernels: Iterable[KernelFact], memory: Memory, allocation: Allocation | None = None
) -> tuple[Sample, Memory]:
    """The sample that the rules judge, and what to remember for the next scan."""
    now = {kernel.id: kernel for kernel in kernels}
    seen = {process.pid: process for process in scan.processes}
    contexts = {context.pid for reading in scan.readings for device in reading.devices for context in device.contexts}
    ids = memory.kernels | set(now)
    if len(ids) > KERNELS_LIMIT:
        ids = frozenset(now)
    holders: list[Holder] = []
    is_away = any(reading.state != "ok" for reading in scan.readings)
    is_whole = not is_away and all(
        device.split or device.state == device.contexts_state == "ok"
        for reading in scan.readings
        for device in reading.devices
    )
    # what is out of sight now is not forgotten
    bonds, cells = (dict(memory.bonds), dict(memory.cells)) if is_away else ({}, {})
    for pid in sorted(contexts | {process.pid for process in scan.processes if process.signs}):
        holder, bond = _holder(pid, seen, now, scan, Memory(memory.bonds, frozenset(ids)))
        key = (pid, holder.start)
        if pid in contexts and holder.kernel and (key in memory.cells or len(cells) < REMEMBERED_LIMIT):
            cells[key] = memory.cells.get(key) or _cell(now.get(holder.kernel), memory.mono)
            holder = msgspec.structs.replace(holder, cell=cells[key][0], cell_by=cells[key][1])
        holders.append(holder)
        if bond is not None and len(bonds) < REMEMBERED_LIMIT:
            bonds[pid, holder.start] = bond
    sample = Sample(
        time=scan.time,
        mono=scan.mono,
        readings=scan.readings,
        holders=tuple(holders),
        kernels=tuple(now.values()),
        allocation=allocation,
    )
    return sample, Memory(bonds, frozenset(ids), cells, scan.mono if is_whole else memory.mono)


def _cell(kernel: KernelFact | None, since: float | None) -> tuple[str, CellBy]:
    """The execution that made a context which was not there at ``since`` (None: not known), and how that is known."""
    if kernel is None or not kernel.cell:
        return "", ""
    ran = [run for run in kernel.ran or () if since is not None and (run.ended is None or run.ended > since)]
    return (ran[0].id, "id") if len(ran) == 1 else (kernel.cell, "time")


def _holder(
    pid: int, seen: Mapping[int, Process], kernels: Mapping[str, KernelFact], scan: Scan, memory: Memory
) -> tuple[Holder, Bond | None]:
    process = seen.get(pid)
    if process is None:
        return Holder(pid=pid), None
    if scan.cgroup and process.cgroup and process.cgroup != scan.cgroup:
        return Holder(pid=pid, start=process.start, whose="foreign", by="cgroup"), None
    if process.uid != scan.uid:
        whose: Whose = "unseen" if process.uid < 0 else "system" if process.uid < SYSTEM_UIDS else "foreign"
        return Holder(pid=pid, start=process.start, whose=whose), None
    bond, by, below_server = _bond(process, seen, kernels, scan, memory)
    if bond is None:
        by = "tree" if below_server else "cgroup" if scan.cgroup and process.cgroup == scan.cgroup else ""
    else:
        current = kernels.get(bond.kernel)
        gone = current is None or (current.pid, current.start) != (bond.pid, bond.start)
    return Holder(
        pid=pid,
        start=process.start,
        whose="mine",
        by=by,
        kernel=bond.kernel if bond else "",
        leftover=bond is not None and gone,
        name=process.name,
        signs=process.signs,
    ), bond


def _bond(
    process: Process, seen: Mapping[int, Process], kernels: Mapping[str, KernelFact], scan: Scan, memory: Memory
) -> tuple[Bond | None, By, bool]:
    """(its kernel, how that is known, whether it is below the server)."""
    owners = {(kernel.pid, kernel.start): kernel for kernel in kernels.values() if kernel.pid}
    above: Process | None = process
    below_server = False
    for _ in range(len(seen) + 1):
        if above is None:
            break
        if (kernel := owners.get((above.pid, above.start))) is not None:
            return Bond(kernel.id, kernel.pid, kernel.start), "tree", True
        below_server = below_server or above.pid == scan.server
        above = seen.get(above.parent)
    before = memory.bonds.get((process.pid, process.start))
    if before is not None:
        return before, "before", below_server
    if process.kernel in memory.kernels:
        named = kernels.get(process.kernel)
        if named is not None and named.pid and process.start >= named.start:
            return Bond(named.id, named.pid, named.start), "environment", below_server
        return Bond(process.kernel, 0, 0), "environment", below_server
    return None, "", below_server
