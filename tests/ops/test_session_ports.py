"""Finding sessions' processes and their ports, in a made-up ``/proc`` and in the real one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.session_ports import NOTHING, View, agents, look, of_jobs

STAT = "{pid} (python) {state} 1 " + " ".join(["0"] * 17) + " 100"


def process(proc: Path, pid: int, command: bytes, environment: bytes = b"", state: str = "S") -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "stat").write_text(STAT.format(pid=pid, state=state))
    (directory / "cmdline").write_bytes(command)
    (directory / "environ").write_bytes(environment)


AGENT = b"/venv/bin/python\0-I\0-m\0jupyter_hpcsec.hub.launch\0"


def test_only_agents_are_agents(tmp_path: Path) -> None:
    process(tmp_path, 10, b"grep\0jupyter_hpcsec.hub.launch\0")
    process(tmp_path, 11, b"python\0-m\0jupyter_hpcsec.hub.launcher\0")
    process(tmp_path, 12, b"", state="Z")
    process(tmp_path, 13, AGENT)
    assert agents(tmp_path) == [13]


def test_only_the_named_jobs_agents_count(tmp_path: Path) -> None:
    process(tmp_path, 10, AGENT, b"A=1\0SLURM_JOB_ID=7\0")
    process(tmp_path, 11, AGENT, b"SLURM_JOB_ID=77\0")
    process(tmp_path, 12, AGENT, b"X_SLURM_JOB_ID=7\0")
    assert of_jobs([10, 11, 12, 13], {"7"}, tmp_path) == [10]
    assert of_jobs([10, 11, 12], set(), tmp_path) == []


def test_no_agent_is_nothing_seen() -> None:
    assert look([]) == NOTHING


def test_views_add_up() -> None:
    assert View(1, 4, [{"port": 1}]) + View(1, 2, []) == View(2, 6, [{"port": 1}])


@pytest.fixture
def listening() -> Iterator[tuple[int, int]]:
    """A process whose child listens: (the pid of the parent, the port)."""
    child = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        yield parent.pid, int(parent.stdout.readline())
        parent.communicate(b"\n")


def test_a_port_below_an_agent_is_seen(listening: tuple[int, int]) -> None:
    pid, port = listening
    seen = look([pid])
    assert seen.agents == 1 and seen.processes >= 2
    assert [found["port"] for found in seen.ports] == [port]


def test_as_a_program_it_prints_one_object() -> None:
    command = [sys.executable, "-I", "-m", "jupyter_hpcsec.ops.session_ports", "no-such-job"]
    assert View(**json.loads(subprocess.check_output(command))) == NOTHING
