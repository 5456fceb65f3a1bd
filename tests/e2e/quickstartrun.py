"""Runs ``hpcsec quickstart`` as a child of a harness that is a subreaper and tells what outlived it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HARNESS = """
import json, re, subprocess, sys
from jupyter_hpcsec.hub.processes import become_subreaper, descendants, processes
import os, time

become_subreaper()
plan = json.loads(sys.argv[1])
run = subprocess.Popen(
    [sys.executable, "-m", "jupyter_hpcsec.cli.main", "quickstart", *plan["arguments"]],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
)
wanted = list(plan["signals"])
lines = []
for line in run.stdout:
    lines.append(line)
    print(line, end="", flush=True)
    while wanted and re.search(wanted[0][0], line):
        _, number, times = wanted.pop(0)
        for _ in range(times):
            os.kill(run.pid, number)
status = run.wait()

def living():
    table = processes()
    return [pid for pid in descendants(os.getpid(), table) if not table[pid].is_zombie]

if status == -9:
    while living():
        time.sleep(0.05)
left = [open(f"/proc/{pid}/cmdline").read().replace("\\0", " ") for pid in living()]
print(json.dumps({"status": status, "left": left, "unsent": wanted}), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a quickstart ended: exit status, processes that are left, signals that never had their line, all output."""

    status: int
    left: list[str]
    unsent: list[Any]
    output: str

    def report(self) -> dict[str, Any]:
        """The JSON object of ``--check --json``."""
        text = "\n" + self.output
        found: dict[str, Any] = json.loads(text[text.index("\n{\n") :])
        return found


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets below it: ``t`` for temporary files, ``h`` for a home."""
    directory = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    try:
        for name in ("t", "h"):
            (directory / name).mkdir()
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def environment(place: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(place / "h"), "TMPDIR": str(place / "t")}


def start(place: Path, arguments: Sequence[str], signals: Sequence[tuple[str, int, int]] = ()) -> subprocess.Popen[str]:
    plan = json.dumps({"arguments": list(arguments), "signals": list(signals)})
    command = [sys.executable, "-c", HARNESS, plan]
    return subprocess.Popen(
        command, env=environment(place), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(place: Path, harness: subprocess.Popen[str], before: str = "") -> Ended:
    output, _ = harness.communicate()
    text, _, last = (before + output).rstrip("\n").rpartition("\n")
    assert "(0700" not in text or f" {place}/t/hpcsec-" in text, "the state is not where it is looked for"
    return Ended(output=text, **json.loads(last))


def run(place: Path, *arguments: str, signals: Sequence[tuple[str, int, int]] = ()) -> Ended:
    return finish(place, start(place, arguments, signals))


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))
