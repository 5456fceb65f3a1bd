"""The development cluster's dealings with the machine, as far as they need no root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.ops import cluster_system as system

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()", "--a-mark-of-this-test"]


def test_a_command_that_fails_or_is_not_there_is_unavailable_with_its_words() -> None:
    with pytest.raises(Unavailable, match="trouble here"):
        system.run(["sh", "-c", "echo trouble here >&2; exit 3"])
    with pytest.raises(Unavailable, match="could not be run"):
        system.run(["/nonexistent/program"])
    assert system.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    assert system.run(["cat"], stdin="words").stdout == "words"


def test_a_command_sees_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    assert "SECRET" not in system.run(["env"]).stdout


def test_a_process_is_found_by_its_program_and_arguments_and_ended() -> None:
    name = Path(sys.executable).name
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as process:
        assert system.wait_for(lambda: process.pid in system.processes_of(name, SLEEPER[-1]), within_s=10)
        assert process.pid not in system.processes_of(name, "--another-mark")
        assert process.pid not in system.processes_of("slurmd", SLEEPER[-1])
        assert system.is_alive(process.pid)
        system.end_processes([process.pid], grace_s=10)
        assert not system.is_alive(process.pid)  # a zombie of ours by now
    assert system.command_line(process.pid) == []
    system.end_processes([process.pid], grace_s=0)  # gone already: nothing to do


def test_processes_are_found_by_their_network_namespace(tmp_path: Path) -> None:
    assert system.processes_in_netns(tmp_path / "no-such-namespace") == []
    assert system.processes_in_netns(tmp_path) == []  # a plain file or directory left under that name
    assert os.getpid() in system.processes_in_netns(Path("/proc/self/ns/net"))


def test_this_process_is_no_nodes_init() -> None:
    assert not system.is_init(os.getpid())
    assert not system.is_init(2**22 + 1)


def test_only_one_may_change_the_cluster_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "LOCK", tmp_path / "lock")
    with system.machine_lock(), pytest.raises(Unavailable, match="another"), system.machine_lock():
        pytest.fail("BUG: two held the lock")
    with system.machine_lock():
        pass


def test_a_user_that_was_there_before_is_never_removed() -> None:
    for name in ("root", "no-such-user-here"):
        with pytest.raises(HpcsecError, match="left alone"):
            system.remove_user(name)


def test_root_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HpcsecError, match="sudo"):
        system.require_root()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    system.require_root()


def test_a_condition_that_never_holds_is_given_up() -> None:
    assert not system.wait_for(lambda: False, within_s=0)
    assert system.wait_for(lambda: True, within_s=0)
