"""``hpcsec gpu node prolog`` and ``epilog``: root's, started by slurmd on the node. What is decided is ``gpu.node``'s.

The driver is asked by a process of its own with a time limit: one that hangs is a finding, not a node that hangs.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.audit.events import ToldByRoot
from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeAlert, GpuNodeJob
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable, printable
from jupyter_hpcsec.gpu import maps
from jupyter_hpcsec.gpu.devices import present
from jupyter_hpcsec.gpu.launch import MAPS, read_map
from jupyter_hpcsec.gpu.node import Expected, Left, Numbers, What, after, allocated, given, job_of, uid_of, unseen
from jupyter_hpcsec.gpu.samples import Allocation, Scan
from jupyter_hpcsec.gpu.settings import Settings
from jupyter_hpcsec.gpu.standin import STATE_VARIABLE
from jupyter_hpcsec.ops.gpu import asking

SCONTROL_S = 60.0
REASON_LIMIT = 200
CLEAN, TOLD, DRAINED = 0, 3, 4
"""Exit codes. 1 is everything that could not be done, 2 are wrong arguments."""
_NODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,254}")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Node:
    """One node at one moment of a job. ``environment`` is what slurmd gave to its prolog or epilog."""

    environment: Mapping[str, str]
    say: Say
    maps: Path = MAPS
    stand_in: str = ""
    numbers: Numbers | None = None
    scontrol: str = "/usr/bin/scontrol"
    euid: int = field(default_factory=lambda: os.geteuid())  # noqa: PLW0108 - looked up when it is called
    ask_s: float = asking.ASK_S
    pause: Callable[[float], None] = time.sleep
    tell: Callable[[ToldByRoot], None] = lambda event: None
    """Keeps what is to be recorded."""

    def prolog(self) -> int:
        """Write the allocation map. Nothing is written where it would be a guess."""
        job = self._job()
        words = given(self.environment)
        if not words and not self._has_gpus():
            return CLEAN
        scan = self.scan()
        if why := unseen(scan.readings):
            raise Unavailable(f"No allocation map for job {job}: {why}.")
        devices = allocated(words, scan.readings, self.numbers)
        maps.write(Allocation(job=job, devices=devices, uid=uid_of(self.environment)), self.maps)
        self.tell(GpuNodeJob(job=job, state="begun", devices=" ".join(devices)))
        return CLEAN

    def epilog(self, expected: Expected, drain: frozenset[What], wait_s: int) -> int:
        """Look at what the job left, for up to ``wait_s`` seconds until nothing is; say it, and drain by ``drain``."""
        job = self._job()
        words = given(self.environment)
        if not words and not self._has_gpus():
            return CLEAN
        try:
            found = self._look(job, words, expected, wait_s)
            for left in found:
                self.say(f"{left.what}: {printable(left.says)}")
            grave = [left for left in found if left.what in drain]
            for left in found:
                self.tell(self._event(job, left, is_drained=left in grave))
            if grave:
                self.drain(f"hpcsec gpu: job {job}: {grave[0].says}")
                return DRAINED
        finally:
            maps.remove(job, self.maps)
            self.tell(GpuNodeJob(job=job, state="over", devices=""))
        return TOLD if found else CLEAN

    def _event(self, job: str, left: Left, *, is_drained: bool) -> GpuNodeAlert:
        return GpuNodeAlert(
            part="epilog",
            state="found",
            job=job,
            rule=left.what,
            reason=printable(left.says),
            action="drain" if is_drained else "",
            simulated=bool(self.stand_in),
        )

    def _job(self) -> str:
        if self.euid != 0:
            raise Refused("gpu.root", "this is root's part on the node: slurmd starts it as Prolog and Epilog")
        return job_of(self.environment)

    def _has_gpus(self) -> bool:
        return bool(self.stand_in or present())

    def _look(self, job: str, words: Sequence[str], expected: Expected, wait_s: int) -> tuple[Left, ...]:
        found: tuple[Left, ...] = ()
        for second in range(wait_s + 1):
            if second:
                self.pause(1.0)
            try:
                found = self._once(job, words, expected)
            except HpcsecError as error:
                return (Left("blind", f"job {job} can't be judged: {error.reason}"),)
            # processes that were killed need seconds to let go; nothing else goes away by itself
            if not any(left.what in {"processes", "memory"} for left in found):
                break
        return found

    def _once(self, job: str, words: Sequence[str], expected: Expected) -> tuple[Left, ...]:
        scan = self.scan()
        if why := unseen(scan.readings):
            raise Unavailable(f"{why}.")
        allocation = read_map(job, self.maps, frozenset([os.geteuid()]))
        if allocation is None:
            allocation = Allocation(job=job, devices=allocated(words, scan.readings, self.numbers))
        return after(scan, allocation, maps.others(job, self.maps), Settings(), expected)

    def scan(self) -> Scan:
        """See ``asking.scan``."""
        return asking.scan(self.stand_in, self.environment.get(STATE_VARIABLE, ""), self.ask_s)

    def drain(self, reason: str) -> None:
        """Take no more jobs on this node (scontrol(1)). ``Unavailable`` where that failed: the epilog fails then."""
        name = self.environment.get("SLURMD_NODENAME", "")
        if not _NODE.fullmatch(name):
            raise Malformed("SLURMD_NODENAME is missing: the node can't be drained.")
        command = [
            self.scontrol, "update", f"NodeName={name}", "State=DRAIN", f"Reason={printable(reason, REASON_LIMIT)}",
        ]  # fmt: skip
        own = {name: self.environment[name] for name in ("SLURM_CONF",) if name in self.environment}
        try:
            done = subprocess.run(
                command, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **own}, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=SCONTROL_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"The node could not be drained: {self.scontrol}: {error}.") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise Unavailable(f"The node could not be drained: scontrol says {said or done.returncode}.")
        self.say(f"Node {name} is drained: {printable(reason, REASON_LIMIT)}")
