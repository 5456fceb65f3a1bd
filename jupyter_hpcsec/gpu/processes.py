"""Processes as ``/proc`` shows them, found by walking up from the GPU's pids: the cost does not grow with the node.

Of other accounts' processes nothing is read but uid, parent and start, which everybody sees. What can't be read is
left out; nothing here raises for a process that ends meanwhile, or that was never visible.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.gpu.samples import Process
from jupyter_hpcsec.gpu.signs import in_command

KERNEL_VARIABLE = b"JUPYTER_HPCSEC_KERNEL="
"""As ``server.provisioner`` sets it; a test compares."""
DEPTH_LIMIT = 64
"""Generations. A longer chain would be a loop."""
READ_LIMIT = 256 * 1024
KERNEL_ID_LIMIT = 64
REFRESH = 30
"""Ticks after which what seldom changes is read again."""

_JOB = re.compile(
    r"^\d+:[^:]*:(?P<path>/.*?/(?:job_[0-9]+|slurmstepd\.scope/job_[0-9]+|pbs_jobs\.service/jobid/[^/]+|lsf/[^/]+/job\.[^/]+))(?:/|$)",
    re.MULTILINE,
)
"""Slurm (v1 and v2), PBS and LSF. Source: their documentation on cgroups."""


def job_of(cgroups: str) -> str:
    """The job's part of ``/proc/PID/cgroup``, empty where it names no batch system's job."""
    found = _JOB.search(cgroups)
    return found["path"] if found else ""


def read(path: str) -> bytes | None:
    """A small file of ``/proc``; None when it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, READ_LIMIT)
    except OSError:
        return None
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Stat:
    """Of ``/proc/PID/stat``, proc_pid_stat(5). ``cpu`` and ``start`` are in clock ticks."""

    name: str
    parent: int
    start: int
    cpu: int


def parse_stat(line: bytes) -> Stat | None:
    """None for what is no such line. The name may hold spaces and parentheses."""
    end = line.rfind(b")")
    fields = line[end + 2 :].split()
    try:
        name = line[line.index(b"(") + 1 : end].decode(errors="replace")
        return Stat(name, int(fields[1]), int(fields[19]), int(fields[11]) + int(fields[12]))
    except (ValueError, IndexError):
        return None


@dataclass
class _Known:
    stat: Stat
    age: int
    process: Process


@dataclass
class Processes:
    """Looks processes up; remembers what seldom changes of those of the last tick. ``uid``: whose watch it is."""

    uid: int
    proc: Path = Path("/proc")
    _known: dict[int, _Known] = field(default_factory=dict)

    def stat(self, pid: int) -> Stat | None:
        """One process's line; None when there is no such process here."""
        line = read(f"{self.proc}/{pid}/stat")
        return parse_stat(line) if line else None

    def above(self, pids: Iterable[int], *, stop: int = 0) -> tuple[Process, ...]:
        """Those of ``pids`` that are visible, in full, and every ancestor up to ``stop`` or the top, by stat alone."""
        found: dict[int, Process] = {}
        known: dict[int, _Known] = {}
        for first in pids:
            stat = self.stat(first)
            if stat is None:
                continue
            known[first] = self._full(first, stat)
            found[first] = known[first].process
            pid = stat.parent
            for _ in range(DEPTH_LIMIT):
                if pid <= 1 or pid in found:
                    break
                above = self.stat(pid)
                if above is None:
                    break
                found[pid] = Process(pid=pid, start=above.start, parent=above.parent)
                if pid == stop:
                    break
                pid = above.parent
        self._known = known
        return tuple(found.values())

    def _full(self, pid: int, stat: Stat) -> _Known:
        known = self._known.get(pid)
        if known and (known.stat.start, known.stat.name) == (stat.start, stat.name) and known.age < REFRESH:
            process = known.process
            if process.parent != stat.parent:
                process = _with_parent(process, stat.parent)
            return _Known(stat, known.age + 1, process)
        return _Known(stat, 0, self.describe(pid, stat))

    def describe(self, pid: int, stat: Stat) -> Process:
        """Everything that the watch may know of a process."""
        uid = self.uid_of(pid)
        cgroup = job_of((read(f"{self.proc}/{pid}/cgroup") or b"").decode(errors="replace"))
        base = {"pid": pid, "start": stat.start, "parent": stat.parent, "uid": uid, "cgroup": cgroup}
        if uid != self.uid:
            return Process(**base)  # type: ignore[arg-type]
        return Process(
            **base,  # type: ignore[arg-type]
            kernel=kernel_in(read(f"{self.proc}/{pid}/environ") or b""),
            name=stat.name,
            signs=in_command(read(f"{self.proc}/{pid}/cmdline") or b""),
        )

    def uid_of(self, pid: int) -> int:
        """The real uid, by ``status``: the directory's owner is root's as soon as a process is not dumpable. Or -1."""
        for line in (read(f"{self.proc}/{pid}/status") or b"").split(b"\n"):
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
        return -1

    def own_cgroup(self) -> str:
        """The job that this process runs in."""
        return job_of((read(f"{self.proc}/self/cgroup") or b"").decode(errors="replace"))


def _with_parent(process: Process, parent: int) -> Process:
    return Process(
        pid=process.pid, start=process.start, parent=parent, uid=process.uid, cgroup=process.cgroup,
        kernel=process.kernel, name=process.name, signs=process.signs,
    )  # fmt: skip


def kernel_in(environment: bytes) -> str:
    """The kernel id of ``/proc/PID/environ``."""
    for entry in environment.split(b"\0"):
        if entry.startswith(KERNEL_VARIABLE):
            return entry[len(KERNEL_VARIABLE) :][:KERNEL_ID_LIMIT].decode("ascii", "replace")
    return ""


@dataclass
class Sweep:
    """Looks, seldom, through all of the account's processes for signs of mining, on the CPU, too.

    A process with a sign is watched from then on: ``cpu`` is added when it used 90 % of a core or more since the last
    look, ``connection`` when one TCP connection to a public address has been open for ``long_s``.
    """

    processes: Processes
    cgroup: str = ""
    long_s: float = 1800.0
    ticks_per_s: int = field(default_factory=lambda: os.sysconf("SC_CLK_TCK"))
    _cpu: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    _sockets: dict[tuple[int, str], float] = field(default_factory=dict)

    def look(self, mono: float, also: Iterable[int] = ()) -> Mapping[int, tuple[str, ...]]:
        """Signs by pid, of the processes that have any; ``also``: pids whose connections are looked at, too."""
        also = set(also)
        suspects: dict[int, tuple[str, ...]] = {}
        cpu: dict[tuple[int, int], tuple[float, int]] = {}
        sockets: dict[tuple[int, str], float] = {}
        for pid in self._own():
            signs = list(in_command(read(f"{self.processes.proc}/{pid}/cmdline") or b""))
            if not signs and pid not in also:
                continue
            stat = self.processes.stat(pid)
            if stat is None:
                continue
            before = self._cpu.get((pid, stat.start))
            if before and mono > before[0] and (stat.cpu - before[1]) / self.ticks_per_s >= 0.9 * (mono - before[0]):
                signs.append("cpu")
            cpu[pid, stat.start] = (mono, stat.cpu)
            for inode in outside(self.processes.proc, pid):
                sockets[pid, inode] = self._sockets.get((pid, inode), mono)
            if any(mono - since >= self.long_s for (owner, _), since in sockets.items() if owner == pid):
                signs.append("connection")
            if signs:
                suspects[pid] = tuple(signs)
        self._cpu, self._sockets = cpu, sockets
        return suspects

    def _own(self) -> Iterable[int]:
        proc = str(self.processes.proc)
        for name in os.listdir(proc):  # noqa: PTH208 - names are all that is needed, and there are thousands
            if name.isdecimal() and self.processes.uid_of(int(name)) == self.processes.uid:
                group = job_of((read(f"{proc}/{name}/cgroup") or b"").decode(errors="replace")) if self.cgroup else ""
                if group == self.cgroup:
                    yield int(name)


def outside(proc: Path, pid: int) -> set[str]:
    """Inodes of a process's established TCP connections to public addresses."""
    try:
        links = {os.readlink(f"{proc}/{pid}/fd/{name}") for name in os.listdir(f"{proc}/{pid}/fd")}  # noqa: PTH115, PTH208
    except OSError:
        return set()
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    if not inodes:
        return set()
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (read(f"{proc}/{pid}/net/{table}") or b"").decode("ascii", "replace").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "01" and fields[9] in inodes and is_public(fields[2].partition(":")[0]):
                found.add(fields[9])
    return found


def is_public(address: str) -> bool:
    """Whether an address, as ``/proc/net/tcp`` and ``tcp6`` spell it, is one of the Internet's."""
    try:
        words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    except ValueError:
        return False
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    if len(raw) not in {4, 16}:
        return False
    found = ipaddress.ip_address(raw)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_global
    return found.is_global
