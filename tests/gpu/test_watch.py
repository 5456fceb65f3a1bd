"""The watch with a real sampler on the stand-in: what users may try against it, and a driver that misbehaves."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.gpu.alerts import Alert, Finding
from jupyter_hpcsec.gpu.keeper import WatchNote
from jupyter_hpcsec.gpu.processes import Processes
from jupyter_hpcsec.gpu.samples import Context, Device, KernelFact, Reading, Scan
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from jupyter_hpcsec.gpu.watch import Report, Watch, Word
from tests.gpu.conftest import Write, running

LIMIT_S = 60


@dataclass
class Heard:
    """What the watch told, and what it wanted done."""

    said: list[Word] = field(default_factory=list)
    done: list[Finding] = field(default_factory=list)
    kernels: list[KernelFact] = field(default_factory=list)

    def notes(self) -> list[str]:
        return [each.state for each in self.said if isinstance(each, WatchNote) and each.state != "seeing"]

    def devices(self) -> list[int]:
        return [each.devices for each in self.said if isinstance(each, WatchNote)]

    def raised(self) -> list[str]:
        return [each.finding.key for each in self.said if isinstance(each, Alert) and each.raised]

    async def ask(self) -> list[KernelFact]:
        return self.kernels

    async def act(self, finding: Finding) -> None:
        self.done.append(finding)


def made(heard: Heard, **settings: object) -> Watch:
    return Watch(kernels=heard.ask, tell=heard.said.append, act=heard.act, **settings)  # type: ignore[arg-type]


async def until(watch: Watch, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not true():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await watch.changed()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watch(heard: Heard, stand_in: Path, tmp_path: Path, state: Write) -> Watch:
    state(Gpu(0).line())
    fast = Settings(unexplained_s=0.0, cell_grace_s=-1.0, foreign_s=0.0, leftover_s=0.0)
    return made(heard, stand_in=str(stand_in), state=str(tmp_path / "state"), interval_s=0.05, settings=fast)


def kernel_of(pid: int, kernel_id: str = "k") -> KernelFact:
    stat = Processes(os.getuid()).stat(pid)
    assert stat is not None
    return KernelFact(id=kernel_id, pid=pid, start=stat.start, path="a.ipynb", busy=True, since=1.0)


@contextmanager
def program(code: str, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", list[int]]]:
    """A Python program that prints pids, one a line and then an empty one, and waits for standard input's end."""
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    assert started.stdout
    pids = []
    try:
        while line := started.stdout.readline().strip():
            pids.append(int(line))
        yield started, pids
    finally:
        for pid in {started.pid, *pids}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.communicate()


WAITS = "import os, sys; print(os.getpid()); print(flush=True); sys.stdin.read()"
RENAMED = "import ctypes; ctypes.CDLL(None).prctl(15, b'kworker/3:1'); " + WAITS
DOUBLE_FORK = """
import os, sys, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os.write(write, str(os.getpid()).encode())
        time.sleep(3600)
    os._exit(0)
os.wait()
print(int(os.read(read, 32)))
print(flush=True)
sys.stdin.read()
"""


async def test_a_kernel_s_memory_is_in_the_panel_within_a_tick(heard: Heard, watch: Watch, state: Write) -> None:
    with program(WAITS) as (kernel, [pid]):
        async with running(watch.run()):
            heard.kernels = [kernel_of(pid)]
            await until(watch, lambda: bool(watch.panel()["devices"]))
            state(Gpu(0, used=3 * GIB).line(), process(0, pid, 3 * GIB, 50))
            await until(
                watch, lambda: bool(watch.panel()["kernels"] and watch.panel()["kernels"][0]["memory"] == 3 * GIB)
            )
            shown = watch.panel()
            assert shown["simulated"] and not shown["verified"]
            assert shown["kernels"][0]["notebook"] == "a.ipynb" and shown["kernels"][0]["devices"][0]["processes"] == 1
            assert kernel.pid == pid


@pytest.mark.parametrize("code", [WAITS, RENAMED], ids=["plain", "renamed"])
async def test_renaming_and_unsetting_variables_hide_nothing(
    heard: Heard, watch: Watch, state: Write, code: str
) -> None:
    with program(code, CUDA_VISIBLE_DEVICES="") as (_, [pid]):
        async with running(watch.run()):
            state(Gpu(0, used=GIB).line(), process(0, pid, GIB))
            await until(watch, lambda: any(key.startswith(f"R6:{Gpu(0).uuid}:{pid}:") for key in heard.raised()))
            shown = watch.panel()["elsewhere"]
            assert [each["pid"] for each in shown] == [pid]


async def test_a_double_fork_stays_with_its_kernel(heard: Heard, watch: Watch, state: Write) -> None:
    with program(DOUBLE_FORK, JUPYTER_HPCSEC_KERNEL="k") as (kernel, [pid]):
        async with running(watch.run()):
            heard.kernels = [kernel_of(kernel.pid)]
            state(Gpu(0, used=GIB).line(), process(0, pid, GIB))
            await until(watch, lambda: bool(watch.panel()["kernels"] and watch.panel()["kernels"][0]["memory"] == GIB))


async def test_what_a_killed_kernel_leaves_behind_is_seen(heard: Heard, watch: Watch, state: Write) -> None:
    with program(DOUBLE_FORK, JUPYTER_HPCSEC_KERNEL="k") as (kernel, [pid]):
        async with running(watch.run()):
            heard.kernels = [kernel_of(kernel.pid)]
            state(Gpu(0, used=GIB).line(), process(0, pid, GIB))
            await until(watch, lambda: bool(watch.panel()["kernels"] and watch.panel()["kernels"][0]["memory"] == GIB))
            kernel.kill()
            kernel.wait()
            heard.kernels = []
            await until(watch, lambda: any(key.startswith("R4:") for key in heard.raised()))
            os.kill(pid, signal.SIGKILL)


async def test_a_preloaded_library_does_not_reach_the_sampler(
    heard: Heard, watch: Watch, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/liar.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in.parent))
    async with running(watch.run()):
        await until(watch, lambda: watch.sampler_pid > 0 and bool(watch.panel()["devices"]))
        environment = Path(f"/proc/{watch.sampler_pid}/environ").read_bytes()
        assert b"LD_" not in environment and b"PYTHON" not in environment


async def test_without_being_told_to_it_never_takes_a_library_of_the_environment(
    heard: Heard, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in.parent))
    lonely = made(heard, interval_s=0.05)
    async with running(lonely.run()):
        await until(lonely, lambda: lonely.panel()["state"] != "starting")
        assert lonely.panel()["simulated"] is False
        maps = Path(f"/proc/{lonely.sampler_pid}/maps").read_text()
        assert str(stand_in) not in maps


def test_a_library_that_lies_is_a_matter_of_posture(heard: Heard) -> None:
    from jupyter_hpcsec.gpu.samples import Posture

    posture = Posture(library="/home/eve/libnvidia-ml.so.1", library_trusted=False, preloaded=("/home/eve/x.so",))
    lied = Scan(time=1.0, mono=1.0, readings=(Reading(source="nvidia", posture=posture),))
    asyncio.run(made(heard).take(lied))
    assert heard.raised() == ["R7:nvidia:library:", "R7:nvidia:preloaded:"]


async def test_a_killed_sampler_is_told_and_started_again(heard: Heard, watch: Watch) -> None:
    async with running(watch.run()):
        await until(watch, lambda: watch.sampler_pid > 0 and bool(watch.panel()["devices"]))
        first = watch.sampler_pid
        os.kill(first, signal.SIGKILL)
        await until(watch, lambda: watch.sampler_pid not in {0, first} and bool(watch.panel()["devices"]))
    assert heard.notes() == ["started", "stopped", "started", "ended"]
    assert heard.devices() == [0, 1, 1, 1, 1]  # told once, and with each word after
    assert "R7:watch:driver:" in heard.raised()


async def test_a_driver_that_hangs_is_told_and_stalls_nothing(heard: Heard, watch: Watch, state: Write) -> None:
    watch.stall_s = 0.2
    async with running(watch.run()):
        await until(watch, lambda: bool(watch.panel()["devices"]))
        state(Gpu(0).line(), "hang DeviceGetCount_v2 3600")
        await until(watch, lambda: "hung" in heard.notes() and watch.panel()["state"] == "hung")
        state(Gpu(0).line())  # the one that hangs is killed, the next one finds the driver well
        await until(watch, lambda: bool(watch.panel()["devices"]))


async def test_a_lost_driver_is_a_state_and_not_an_end(heard: Heard, watch: Watch, state: Write) -> None:
    async with running(watch.run()):
        await until(watch, lambda: bool(watch.panel()["devices"]))
        state(Gpu(0).line(), "error DeviceGetCount_v2 - 9", "error InitWithFlags - 9")
        await until(watch, lambda: watch.panel()["state"] == "lost")
        state(Gpu(0).line())
        await until(watch, lambda: watch.panel()["state"] == "ok")
    assert heard.notes() == ["started", "ended"]


def scans(count: int, memory: int = 4 * GIB) -> list[Scan]:
    device = Device(
        uuid="GPU-0",
        index=0,
        utilisation=0,
        memory_used=memory,
        contexts=(Context(pid=90, memory=memory, utilisation=0),),
    )
    from jupyter_hpcsec.gpu.samples import Process

    seen = Process(pid=90, start=1, uid=1000)
    reading = Reading(source="nvidia", devices=(device,))
    return [
        Scan(time=1.0 + 10 * n, mono=1.0 + 10 * n, readings=(reading,), processes=(seen,), uid=1000)
        for n in range(count)
    ]


IDLE = KernelFact(id="k", pid=90, start=1, path="a.ipynb", busy=False, since=1.0)
SHORT = IdleLimits(first_warning=1, second_warning=2, end=3, extend_by=2, extend_in_all=3)


async def test_an_idle_hold_is_acted_upon_once(heard: Heard) -> None:
    heard.kernels = [IDLE]
    watch = made(heard, limits=SHORT)
    for scan in scans(60):
        await watch.take(scan)
    assert [(finding.rule, finding.kernel, finding.action) for finding in heard.done] == [
        ("R3", "k", "shutdown kernel")
    ]


async def test_keeping_a_kernel_has_limits_and_ends_with_the_idle_time(heard: Heard) -> None:
    heard.kernels = [IDLE]
    watch = made(heard, limits=SHORT)
    taken = scans(60)
    with pytest.raises(Refused, match="no such kernel"):
        watch.keep("k", 1)
    for scan in taken[:10]:
        await watch.take(scan)
    for kernel, minutes in (("other", 1), ("k", 0), ("k", 3), ("k", -1)):
        with pytest.raises(Refused):
            watch.keep(kernel, minutes)
    assert watch.keep("k", 2) == 120
    with pytest.raises(Refused, match="in all"):
        watch.keep("k", 2)
    assert watch.panel()["kernels"][0]["may_keep_s"] == 60
    for scan in taken[10:30]:
        await watch.take(scan)
    assert heard.done == [], "290 s idle, 180 allowed and 120 kept"
    heard.kernels = [KernelFact(id="k", pid=90, start=1, busy=True, since=9.0)]
    await watch.take(taken[30])
    assert watch.panel()["kernels"][0]["kept_s"] == 0


async def test_without_a_limit_there_is_nothing_to_extend(heard: Heard) -> None:
    heard.kernels = [IDLE]
    watch = made(heard, limits=IdleLimits(end=0))
    await watch.take(scans(1)[0])
    with pytest.raises(Refused, match="no limit"):
        watch.keep("k", 1)


async def test_use_is_reported_in_device_seconds(heard: Heard) -> None:
    heard.kernels = [IDLE]
    watch = made(heard)
    for scan in scans(62):
        await watch.take(scan)
    [report] = [each for each in heard.said if isinstance(each, Report)]
    assert (report.kernel, report.notebook) == ("k", "a.ipynb")
    assert (report.use.used_s, report.use.held_s, report.use.unknown_s) == (0, 600, 0)
    assert report.use.memory == 4 * GIB


async def test_of_others_the_panel_shows_a_count_and_memory_alone(heard: Heard) -> None:
    heard.kernels = []
    [scan] = scans(1)
    from msgspec.structs import replace

    from jupyter_hpcsec.gpu.samples import Process

    other = replace(scan, processes=(Process(pid=90, start=1, uid=2000),))
    watch = made(heard, settings=Settings(foreign_s=0.0))
    await watch.take(other)
    shown = watch.panel()
    assert shown["devices"][0]["others"] == {"processes": 1, "memory": 4 * GIB}
    assert [alert["rule"] for alert in shown["alerts"]] == ["R1"]
    assert "90" not in str(shown["alerts"]) and shown["elsewhere"] == []
