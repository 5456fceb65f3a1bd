"""``hpcsec bench sandbox``: what the sandbox costs, as ratios of the same program inside and outside, in turns.

The rules are an ordinary user's: a home to write to, with something denied and something read-only in it. It measures
the whole of it: own root, masks, Landlock, seccomp, as this computer has them.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jupyter_hpcsec.access import plan, system
from jupyter_hpcsec.access.sandbox import requirements
from jupyter_hpcsec.access.values import Code, Enforcement, Entry, Network, Plan, Resolved, Right, Subject
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.server_process import start_server
from jupyter_hpcsec.ops.bench.facts import machine
from jupyter_hpcsec.ops.bench.report import verdict_lines
from jupyter_hpcsec.ops.bench.results import verdict_as_json
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, Summary, Verdict, paired_ratio

PROGRAMS = {
    "import": """
import numpy, pandas
seconds = time.perf_counter() - begin
""",
    "kernel": """
import os
os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(os.path.dirname(sys.argv[1]), "j")
from jupyter_client import KernelManager
begin = time.perf_counter()
manager = KernelManager(transport="ipc")
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=120)
seconds = time.perf_counter() - begin
client.stop_channels()
manager.shutdown_kernel(now=True)
""",
    "open": """
import os
path = os.path.join(os.path.dirname(sys.argv[1]), "a/b/c/file")
begin = time.perf_counter()
for _ in range(20000):
    os.close(os.open(path, os.O_RDONLY))
seconds = (time.perf_counter() - begin) / 20000
""",
    "pread": """
import os
file = os.open(os.path.join(os.path.dirname(sys.argv[1]), "a/b/c/file"), os.O_RDONLY)
begin = time.perf_counter()
for _ in range(50000):
    os.pread(file, 4096, 0)
seconds = (time.perf_counter() - begin) / 50000
""",
    "start": "seconds = 0\n",
}
"""What is timed, by its name; ``start`` is the whole of an almost empty program, seen from outside."""

WHAT = {
    "import": "import numpy, pandas",
    "kernel": "a kernel from its start to its first answer",
    "open": "open and close of a file four directories deep",
    "pread": "pread of 4 KiB",
    "start": "a program started and ended",
}
BOUNDS = {
    "import": Bound("import numpy and pandas, in : out", Kind.AT_MOST, 1.02),
    "kernel": Bound("kernel ready, in : out", Kind.AT_MOST, 1.05),
}
START = Bound("a session's start costs more, by the sandbox", Kind.AT_MOST, 150, unit="ms")
_HEAD = "import json, sys, time\nbegin = time.perf_counter()\n"
_TAIL = "open(sys.argv[1], 'w').write(json.dumps(seconds))\n"


@dataclass
class Report:
    """Seconds of every round, inside and outside, by what was timed."""

    machine: dict[str, Any]
    sandbox: dict[str, str | int]
    inside: dict[str, list[float]] = field(default_factory=dict)
    outside: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, name: str) -> Summary:
        """Inside by outside, round by round."""
        return paired_ratio(self.inside[name], self.outside[name])

    def verdicts(self) -> list[Verdict]:
        """The design's numbers."""
        more = [(a - b) * 1000 for a, b in zip(self.inside["start"], self.outside["start"], strict=True)]
        return [*(Verdict(bound, self.ratio(name)) for name, bound in BOUNDS.items()), Verdict(START, Summary.of(more))]

    def as_json(self) -> dict[str, Any]:
        """One object."""
        measures = {
            name: {
                "what": what,
                "inside_s": self.inside[name],
                "outside_s": self.outside[name],
                "ratio": asdict(self.ratio(name)),
            }
            for name, what in WHAT.items()
        }
        numbers = [verdict_as_json(verdict) for verdict in self.verdicts()]
        return {"machine": self.machine, "sandbox": self.sandbox, "measures": measures, "numbers": numbers}

    def as_text(self) -> str:
        """For a person."""
        lines = [f"  {name:<19} {value}" for name, value in (self.machine | self.sandbox).items()]
        lines += ["", "Median seconds outside, inside, and the ratio of the rounds"]
        for name, what in WHAT.items():
            out, within, ratio = Summary.of(self.outside[name]), Summary.of(self.inside[name]), self.ratio(name)
            lines.append(
                f"  {what:<48} {_time(out.median):>10} {_time(within.median):>10}   "
                f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f} in {ratio.rounds} rounds)"
            )
        return "\n".join([*lines, *verdict_lines(self.verdicts())])


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


async def run(*, rounds: int, caller: Mapping[str, str], say: Callable[[str], None]) -> Report:
    """Measure; ``Unavailable`` where no sandbox can be had. Leaves nothing behind."""
    with (
        tempfile.TemporaryDirectory(prefix="hpcsec-bench-") as made,
        tempfile.TemporaryDirectory(prefix="hpcsec-") as r,
    ):
        home = Path(made)
        for name in ("a/b/c", "denied", "read-only"):
            (home / name).mkdir(parents=True)
        (home / "a/b/c/file").write_bytes(os.urandom(4096))
        environment = {**caller, "HOME": str(home)}
        report = Report(machine(caller.get("PATH", os.defpath)), {})
        for number in range(rounds + 1):
            for name in WHAT:
                ways = [(report.outside, _outside), (report.inside, _inside)]
                for times, way in ways if number % 2 else reversed(ways):
                    took = await way(name, home, Path(r), environment, report)
                    if number:  # the first round warms caches
                        times.setdefault(name, []).append(took)
            say(f"round {number} of {rounds}{'' if number else ' (warm-up, not counted)'}")
        return report


def _arguments(name: str, home: Path) -> list[str]:
    return [sys.executable, "-c", _HEAD + PROGRAMS[name] + _TAIL, str(home / "seconds")]


async def _outside(name: str, home: Path, runtime: Path, environment: Mapping[str, str], report: Report) -> float:
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*_arguments(name, home), env=environment, cwd=home)
    return _seconds(name, home, await process.wait(), begin)


async def _inside(name: str, home: Path, runtime: Path, environment: Mapping[str, str], report: Report) -> float:
    begin = time.perf_counter()
    made = make_plan(home, runtime, environment)
    server = await start_server(_arguments(name, home), environment, plan=made, cwd=home)
    report.sandbox = {key: server.receipt[key] for key in ("landlock_abi", "files", "masks", "seccomp")}
    status = await server.wait()
    server.close()
    return _seconds(name, home, status, begin)


def _seconds(name: str, home: Path, status: int, begin: float) -> float:
    """What the program timed; for ``start``, all of it as seen from outside."""
    whole = time.perf_counter() - begin
    if status != 0:
        raise Unavailable(f"The program that times {WHAT[name]} failed with status {status}; its words are above.")
    return whole if name == "start" else float(json.loads((home / "seconds").read_text()))


def make_plan(home: Path, runtime: Path, environment: Mapping[str, str]) -> Plan:
    """The rules that are measured, for this computer."""
    resolved = rules(home, (home, Right.WRITE), (home / "denied", Right.NONE), (home / "read-only", Right.READ))
    made = plan.compile(resolved, system.find(resolved, environment, runtime=runtime))
    requirements(made)
    return made


def rules(home: Path, *wishes: tuple[Path, Right]) -> Resolved:
    """An ordinary user's, with these rights."""
    return Resolved(
        subject=Subject(user="bench", uid=os.geteuid(), gid=os.getegid(), home=str(home)),
        policy="0" * 64,
        enforcement=Enforcement.REQUIRED,
        minimum_abi=4,
        network=Network(connect=(443,)),
        entries=tuple(Entry(path=str(p), right=right, rule=1, line=1, who="*") for p, right in wishes),
        code=Code(unsafe_any=True),
    )
