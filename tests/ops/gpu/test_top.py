"""What the terminal shows: mine by notebook, nothing of others but sums, and names that are taken for nothing else."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.gpu import launch
from jupyter_hpcsec.gpu.samples import Context, Device, Process, Reading, Scan
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from jupyter_hpcsec.ops.gpu import asking, top
from tests.gpu.conftest import Write

KERNEL = "0a1b2c3d-0000-0000-0000-000000000000"
JOB, OTHER = "/s/slurmstepd.scope/job_17", "/s/slurmstepd.scope/job_18"
ENVIRONMENTS = {1: b"A=1\0JPY_SESSION_NAME=/home/a/one.ipynb\0", 2: b"PATH=/bin\0", 3: None}


def scan(**more: object) -> Scan:
    contexts = tuple(Context(pid=pid, memory=GIB, utilisation=7) for pid in (3, 2, 1, 8, 9))
    device = Device(uuid="GPU-0", index=0, name="H100", memory_total=80 * GIB, memory_used=5 * GIB, contexts=contexts)
    processes = [Process(pid=pid, start=1, uid=1000, name=f"p{pid}", cgroup=JOB) for pid in (1, 2, 3)]
    processes[0] = msgspec.structs.replace(processes[0], kernel=KERNEL)
    processes += [Process(pid=8, start=1, uid=1000, cgroup=OTHER, name="elsewhere"), Process(pid=9, start=1, uid=1001)]
    facts = {"readings": (Reading(source="nvidia", devices=(device,)),), "uid": 1000, "cgroup": JOB}
    return Scan(time=1.0, mono=1.0, processes=tuple(processes), **(facts | more))  # type: ignore[arg-type]


def shown(of: Scan) -> list[str]:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(top.table(of, lambda pid: ENVIRONMENTS.get(pid)))
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_mine_by_notebook_and_of_others_a_sum() -> None:
    assert shown(scan())[1] == "0 H100 ok ? 5120 / 81920 2 2048"
    assert shown(scan())[3:] == [
        "/home/a/one.ipynb 0a1b2c3d 0 1 p1 1024 7 %",
        "- - 0 2 p2 1024 7 %",
        "? - 0 3 p3 1024 7 %",
    ]


def test_what_can_not_be_seen_is_said() -> None:
    assert shown(scan(readings=())) == ["No GPU is visible from here."]
    lost = Reading(source="nvidia", state="lost", detail="gone")
    assert shown(scan(readings=(lost,))) == ["nvidia: lost: gone", "No GPU is visible from here."]
    assert shown(scan(readings=(Reading(source="nvidia", simulated=True),)))[0] == "These GPUs are SIMULATED."


def test_a_name_is_no_markup_and_no_control_sequence() -> None:
    odd = Process(pid=1, start=1, uid=1000, name="[red]x\x1b[2J")
    lines = shown(msgspec.structs.replace(scan(), processes=(odd,)))
    assert "[red]x\N{REPLACEMENT CHARACTER}[2J" in lines[3]


@pytest.mark.parametrize("environment", [b"", b"\0\0", b"XJPY_SESSION_NAME=/x\0", b"JPY_SESSION_NAME="])
def test_no_notebook_is_named(environment: bytes) -> None:
    assert top.notebook_in(environment) == ""


class Stopped(Exception):
    """The user's interrupt."""


def test_again_and_again_until_it_is_interrupted() -> None:
    asked: list[Scan] = []
    waited: list[float] = []

    def ask() -> Scan:
        asked.append(scan())
        return asked[-1]

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise Stopped

    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(Stopped):
        top.show(ask, console, interval_s=2.0, pause=pause)
    assert waited == [2.0] * 3 and len(asked) == 3


@pytest.fixture
def child() -> Iterator[int]:
    environment = {"JPY_SESSION_NAME": "/home/a/two.ipynb", "JUPYTER_HPCSEC_KERNEL": KERNEL}
    code = "import sys; print(flush=True); sys.stdin.read()"
    held = subprocess.Popen(
        [sys.executable, "-I", "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdin and held.stdout
    held.stdout.readline()
    yield held.pid
    held.stdin.close()
    held.wait(60)
    held.stdout.close()


def test_the_command_on_simulated_gpus(
    stand_in: Path, state: Write, tmp_path: Path, child: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    state(Gpu(0, used=GIB).line(), process(0, child, GIB, 10))
    given = launch.GpuLaunch(stand_in=str(stand_in), state=str(tmp_path / "state"))
    monkeypatch.setenv(launch.VARIABLE, msgspec.json.encode(given).decode())
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["gpu", "top", "--once"]) == 0
    out = capsys.readouterr().out
    assert "SIMULATED" in out and "/home/a/two.ipynb" in out and str(child) in out and KERNEL[:8] in out


def test_a_driver_that_hangs_is_said(stand_in: Path, state: Write, tmp_path: Path) -> None:
    state(Gpu(0).line(), "hang DeviceGetCount_v2 600")
    with pytest.raises(Unavailable, match="did not answer"):
        asking.scan(str(stand_in), str(tmp_path / "state"), 3.0)
