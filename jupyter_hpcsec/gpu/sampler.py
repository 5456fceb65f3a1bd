"""The process that asks drivers and ``/proc``: ``python -I -m jupyter_hpcsec.gpu.sampler``; a line (``Scan``) a tick.

It is a process of its own so that a driver that hangs stalls nothing else, and that what is loaded into the server
can't lie to it: it starts with an environment that its parent made. It ends when standard input does; a line there is
an extra tick. It changes nothing and has no rights but the session's.
"""

import argparse
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from jupyter_hpcsec.gpu.devices import Source, present, sources
from jupyter_hpcsec.gpu.processes import Processes, Sweep
from jupyter_hpcsec.gpu.samples import Process, Reading, Scan

INTERVAL_S = 10.0
SWEEP_TICKS = 30
"""Ticks between looks at all of the account's processes."""
READY = b"ready\n"
"""The first line, where it is asked for: what takes long from then on is the driver."""
NOBODYS = -2
"""No process has this uid: nothing is read of any but what everybody sees, and its cgroup."""


@dataclass
class Sampler:
    """``tick`` is one scan. ``server``: the pid at which walking up ends."""

    sources: Sequence[Source]
    processes: Processes
    server: int
    sweep: Sweep | None = None
    _ticks: int = 0
    _suspects: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def tick(self, now: float, mono: float) -> Scan:
        """Ask everything once."""
        before = time.process_time()
        readings = tuple(source.read() for source in self.sources)
        pids = pids_of(readings)
        if self.sweep is not None and self._ticks % SWEEP_TICKS == 0:
            self._suspects = self.sweep.look(mono, pids)
        self._ticks += 1
        found = self.processes.above(sorted(pids | self._suspects.keys()), stop=self.server)
        return Scan(
            time=now,
            mono=mono,
            readings=readings,
            processes=tuple(self._signed(process) for process in found),
            uid=self.processes.uid,
            cgroup=self.sweep.cgroup if self.sweep else "",
            server=self.server,
            cpu_s=time.process_time() - before,
        )

    def _signed(self, process: Process) -> Process:
        signs = self._suspects.get(process.pid)
        if not signs or process.uid != self.processes.uid:
            return process
        return msgspec.structs.replace(process, signs=tuple(dict.fromkeys([*process.signs, *signs])))


def pids_of(readings: Sequence[Reading]) -> set[int]:
    """Of every context."""
    return {context.pid for reading in readings for device in reading.devices for context in device.contexts}


def main(argv: Sequence[str] | None = None) -> int:
    """Sample until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stand-in", default="")
    parser.add_argument("--interval", type=float, default=INTERVAL_S)
    parser.add_argument("--server", type=int, default=0)
    parser.add_argument("--node", action="store_true", help="for root: all jobs alike, and nobody's command lines")
    parser.add_argument("--ready", action="store_true", help="say so before the first question to a driver")
    args = parser.parse_args(argv)
    found = sources(present(), stand_in=args.stand_in)
    if args.node:
        sampler = Sampler(found, Processes(NOBODYS), 0)
    else:
        processes = Processes(os.getuid())
        sampler = Sampler(found, processes, args.server, Sweep(processes, processes.own_cgroup()))
    encoder = msgspec.json.Encoder()
    if args.ready:
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
    while True:
        line = encoder.encode(sampler.tick(time.time(), time.monotonic())) + b"\n"
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            return 0
        ready, _, _ = select.select([0], [], [], args.interval)
        if ready and not os.read(0, 4096):
            return 0


if __name__ == "__main__":
    sys.exit(main())
