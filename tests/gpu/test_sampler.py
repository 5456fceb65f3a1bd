"""The process that samples: on the stand-in, with real processes below it, and what its parent's end does to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.gpu import sampler, standin
from jupyter_hpcsec.gpu.samples import Scan
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from tests.gpu.conftest import Write


@pytest.fixture
def running(stand_in: Path, tmp_path: Path, state: Write) -> Iterator["subprocess.Popen[bytes]"]:
    state(Gpu(0).line(), process(0, os.getpid(), GIB, 10), process(0, 1 << 22, GIB))
    command = [
        sys.executable,
        "-I",
        "-m",
        "jupyter_hpcsec.gpu.sampler",
        "--stand-in",
        str(stand_in),
        "--interval",
        "3600",
    ]
    started = subprocess.Popen(
        [*command, "--server", str(os.getppid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={standin.STATE_VARIABLE: str(tmp_path / "state")},
    )  # fmt: skip
    yield started
    started.kill()
    started.wait()
    assert started.stdin and started.stdout
    started.stdin.close()
    started.stdout.close()


def tick(running: "subprocess.Popen[bytes]", ask: bool = True) -> Scan:
    assert running.stdin and running.stdout
    if ask:
        running.stdin.write(b"\n")
        running.stdin.flush()
    return msgspec.json.decode(running.stdout.readline(), type=Scan)


def test_a_line_a_tick_until_standard_input_ends(running: "subprocess.Popen[bytes]", state: Write) -> None:
    first = tick(running, ask=False)
    assert first.readings[0].simulated
    assert [context.pid for context in first.readings[0].devices[0].contexts] == [os.getpid(), 1 << 22]
    assert {os.getpid(), os.getppid()} == {each.pid for each in first.processes}
    state(Gpu(0).line())
    second = tick(running)
    assert second.mono > first.mono and second.processes == ()
    assert running.stdin
    running.stdin.close()
    assert running.wait(60) == 0


def test_samples_hold_no_command_line(running: "subprocess.Popen[bytes]") -> None:
    words = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert not any(word in msgspec.json.encode(tick(running)) for word in words[1:] if len(word) > 6)


def test_without_a_gpu_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sampler.Sampler([], sampler.Processes(os.getuid()), os.getpid())
    scan = made.tick(1.0, 2.0)
    assert (scan.readings, scan.processes, scan.time, scan.mono) == ((), (), 1.0, 2.0)
