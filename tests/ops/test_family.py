"""Processes of a demo: seen when they end, and all ended, also those that fled, ignore SIGTERM or are stopped.

``Family.end`` ends every descendant of the process that calls it, so each case runs in a process of its own.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

PRELUDE = """
import asyncio, json, os, sys, time
from pathlib import Path
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops.family import Family

here = Path(sys.argv[1])
family = Family(here)
never = asyncio.Event()
now = asyncio.Event()
now.set()

def start(name, *argv):
    return family.start(name, argv, environment=dict(os.environ), directory=here)

def sh(name, script):
    return start(name, "/bin/sh", "-c", script)

def wait_for(name):
    while not (here / name).exists():
        time.sleep(0.01)

def say(**facts):
    print(json.dumps(facts), flush=True)
"""


def family(tmp_path: Path, script: str) -> dict[str, Any]:
    """Run ``script`` in a process of its own; what it said."""
    program = PRELUDE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_part_that_ends_by_itself_is_noticed_and_quoted(tmp_path: Path) -> None:
    facts = family(
        tmp_path,
        """
        part = sh("hub", "echo no such trait >&2; exit 3")
        part.process.wait()
        try:
            family.check()
        except HpcsecError as error:
            say(error=str(error), tail=part.tail())
        """,
    )
    assert facts == {"error": "The hub ended by itself (status 3).", "tail": "no such trait\n"}


def test_a_running_part_is_fine(tmp_path: Path) -> None:
    facts = family(
        tmp_path,
        """
        sh("hub", "touch up; exec sleep 600")
        wait_for("up")
        family.check()
        killed = asyncio.run(family.end(30, never))
        say(killed=killed, living=family.living())
        """,
    )
    assert facts == {"killed": [], "living": []}


def test_a_port_is_held_for_its_part_until_the_end(tmp_path: Path) -> None:
    facts = family(
        tmp_path,
        """
        import socket
        from jupyter_hpcsec.ops.ports import LOOPBACK, claim
        ports = [family.port(), family.port()]
        before = [claim(port) is None for port in ports]
        start("web", sys.executable, "-m", "http.server", "--bind", LOOPBACK, str(ports[0]))
        while socket.socket().connect_ex((LOOPBACK, ports[0])):
            family.check()
            time.sleep(0.01)
        asyncio.run(family.end(30, never))
        say(differ=len(set(ports)) == 2, before=before, after=[claim(port) is None for port in ports])
        """,
    )
    assert facts == {"differ": True, "before": [True, True], "after": [False, False]}


FLIGHT = {
    "a child in a session of its own": "setsid sleep 600 & echo $! > pid; touch up; wait",
    "an orphan": "(setsid sleep 600 & echo $! > pid); touch up; exec sleep 600",
    "an orphan of a part that is over": "(setsid sleep 600 & echo $! > pid); touch up",
    "one that ignores SIGTERM": "(trap '' TERM; setsid sleep 600 & echo $! > pid); touch up; exec sleep 600",
    "one that is stopped": "setsid sleep 600 & echo $! > pid; kill -STOP $!; touch up; wait",
}


@pytest.mark.parametrize("script", FLIGHT.values(), ids=FLIGHT.keys())
def test_nothing_flees(tmp_path: Path, script: str) -> None:
    facts = family(
        tmp_path,
        f"""
        sh("part", {script!r})
        wait_for("up")
        fled = int((here / "pid").read_text())
        before = fled in family.living()
        asyncio.run(family.end(0.2, never))
        say(before=before, living=family.living(), fled=fled)
        """,
    )
    assert facts["before"] and facts["living"] == []
    assert not is_running(facts["fled"])


def test_in_a_hurry_nobody_is_waited_for(tmp_path: Path) -> None:
    facts = family(
        tmp_path,
        """
        sh("part", "trap '' TERM; touch up; while :; do sleep 1; done")
        wait_for("up")
        stopped = asyncio.run(family.stop("part", 3600, now))
        killed = asyncio.run(family.end(3600, now))
        say(stopped=stopped, killed=bool(killed), living=family.living())
        """,
    )
    assert facts == {"stopped": False, "killed": True, "living": []}


def test_a_part_that_was_never_started_is_stopped(tmp_path: Path) -> None:
    assert family(tmp_path, "say(stopped=asyncio.run(family.stop('gateway', 3600, never)))") == {"stopped": True}


def test_orphans_are_reaped_but_not_our_own_children(tmp_path: Path) -> None:
    facts = family(
        tmp_path,
        """
        import subprocess
        from jupyter_hpcsec.hub.processes import read_process
        own = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        sh("part", "(sleep 0.01 & echo $! > pid); touch up; exec sleep 600")
        wait_for("up")
        orphan = int((here / "pid").read_text())
        while not read_process(own.pid).is_zombie:
            time.sleep(0.01)
        while read_process(orphan) is not None:
            family.reap_orphans()
            time.sleep(0.01)
        status = own.wait()
        asyncio.run(family.end(30, never))
        say(status=status)
        """,
    )
    assert facts == {"status": 7}


def test_a_part_is_told_to_stop_when_we_are_killed(tmp_path: Path) -> None:
    program = (
        PRELUDE
        + 'part = sh("hub", "touch up; exec sleep 600"); wait_for("up"); say(pid=part.process.pid)\ntime.sleep(600)'
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = json.loads(parent.stdout.readline())["pid"]
    assert is_running(pid)
    parent.kill()
    parent.communicate()
    while is_running(pid):
        time.sleep(0.01)


def test_without_its_parent_a_part_does_not_even_start(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "jupyter_hpcsec.ops.child",
        "1" if os.getpid() != 1 else "2",
        "/bin/touch",
        "started",
    ]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1
    assert not (tmp_path / "started").exists()
