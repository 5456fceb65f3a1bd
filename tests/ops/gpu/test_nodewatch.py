"""Root's watch as it runs: a real sampler on the stand-in, real processes, a spool; drivers that hang."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.cli.main import build_parser
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.gpu import maps
from jupyter_hpcsec.gpu.samples import Allocation
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from jupyter_hpcsec.ops.gpu import nodewatch
from jupyter_hpcsec.ops.gpu.nodewatch import RootWatch
from jupyter_hpcsec.ops.gpu.spooling import SPOOL, keep
from jupyter_hpcsec.tunnel.nodespool import NodeSpool
from tests.gpu.conftest import Write, running

LIMIT_S = 120
STALL_S = 5.0
"""Four of them is what a sampler may take to start, on whatever machine."""
TWO = [Gpu(0).line(), Gpu(1).line()]
FILES = Path(__file__).parents[3] / "hub_config"


class Helper:
    def __init__(self, tmp_path: Path, stand_in: Path) -> None:
        self.logged: list[str] = []
        self.said: list[str] = []
        self.maps, self.place = tmp_path / "run" / "gpu", tmp_path / "spool"
        self.root = RootWatch(
            node="gpu1", spool=self.place, maps=self.maps, stand_in=str(stand_in), state=str(tmp_path / "state"),
            interval_s=0.05, stall_s=STALL_S, log=self.logged.append, say=self.said.append,
        )  # fmt: skip

    def told(self) -> list[dict[str, Any]]:
        spool = NodeSpool(self.place)
        try:
            return [json.loads(bytes(item.event)) for item in spool.first(1000, 1 << 20)]
        finally:
            spool.close()

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = next((event for event in self.told() if condition(event)), None)
                if found is not None:
                    return found
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self.root.run()):
            await self.until(lambda event: event["kind"] == "gpu.node-watch" and event["state"] == "started")
            yield


@pytest.fixture
def helper(tmp_path: Path, stand_in: Path, state: Write) -> Helper:
    state(*TWO)
    return Helper(tmp_path, stand_in)


def alert(rule: str, state: str = "raised") -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["kind"] == "gpu.node-alert" and (event["rule"], event["state"]) == (rule, state)


def test_it_is_root_s_alone(helper: Helper) -> None:
    with pytest.raises(Refused):
        nodewatch.run(helper.root, euid=1000)


def test_an_authority_that_others_could_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    path.chmod(0o666)
    with pytest.raises(Refused):
        nodewatch.read_authority(path)
    path.chmod(0o644)
    with pytest.raises(Malformed):
        nodewatch.read_authority(path)


async def test_without_a_gateway_findings_are_in_syslog_and_kept_and_it_says_so(helper: Helper, state: Write) -> None:
    state(*TWO, process(1, os.getpid(), 4 * GIB))
    maps.write(Allocation(job="17", devices=(Gpu(0).uuid,), uid=os.getuid()), helper.maps)
    helper.root.settings = quick()
    async with helper.running():
        assert "kept" in helper.said[0]
        maps.write(Allocation(job="17", devices=(Gpu(1).uuid,), uid=os.getuid()), helper.maps)
        if os.getuid() >= 1000:
            return
        # what root does outside of jobs is nobody's; memory without a process is told
        state(Gpu(0, used=5 * GIB).line(), Gpu(1).line())
        found = await helper.until(alert("R4"))
    assert found["device"] == Gpu(0).uuid
    assert found["simulated"] is True
    assert any("R4" in line for line in helper.logged)


def quick() -> Any:
    from jupyter_hpcsec.gpu.settings import Settings

    return Settings(foreign_s=0, leftover_s=0, clear_s=0)


async def test_a_process_of_no_job_on_a_job_s_gpu(helper: Helper, state: Write) -> None:
    helper.root.settings = quick()
    maps.write(Allocation(job="17", devices=(Gpu(0).uuid,), uid=4242), helper.maps)
    other = somebody()
    try:
        async with helper.running():
            state(*TWO, process(0, other.pid, 4 * GIB))
            found = await helper.until(alert("R1"))
            assert (found["pid"], found["device"]) == (other.pid, Gpu(0).uuid)
            assert "/bin/cat" not in json.dumps(found), "of a process nothing but numbers is told"
    finally:
        other.kill()
        other.communicate()


def somebody() -> "subprocess.Popen[bytes]":
    """A process that waits, of another account where that can be had."""
    account: dict[str, Any] = {"user": 4343, "group": 4343, "extra_groups": [], "cwd": "/"} if os.getuid() == 0 else {}
    return subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **account)


async def test_a_killed_sampler_is_told_and_another_one_goes_on(helper: Helper) -> None:
    async with helper.running():
        pid = helper.root.watch.sampler_pid
        os.kill(pid, 9)
        await helper.until(lambda event: event.get("state") == "stopped")
        await helper.until(lambda event: event.get("state") == "started" and str(pid) not in event["reason"])


async def test_a_driver_that_hangs_that_is_lost_and_that_comes_back(helper: Helper, state: Write) -> None:
    async with helper.running():
        await until_seen(helper, 2)
        keeper = helper.root.watch._keeper
        assert keeper is not None
        keeper.stall_s = 0.5
        state(*TWO, "hang DeviceGetCount_v2 3600")
        await helper.until(lambda event: event.get("state") == "hung")
        await helper.until(alert("R7"))
        state(*TWO)
        await helper.until(lambda event: event.get("state") == "stopped")  # killed, and started again
        keeper.stall_s = STALL_S
        await until_seen(helper, 2)


async def test_a_gpu_that_is_pulled_is_an_alert_and_no_end(helper: Helper, state: Write) -> None:
    helper.root.settings = quick()
    async with helper.running():
        await until_seen(helper, 2)
        state(*TWO, "error DeviceGetMemoryInfo_v2 1 15", "error DeviceGetUUID 1 15")
        await helper.until(alert("R7"))
        state(*TWO)
        await helper.until(alert("R7", "cleared"))


async def until_seen(helper: Helper, devices: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while helper.root.watch.devices != devices:
            await asyncio.sleep(0.02)


async def test_a_node_without_gpus_starts_nothing(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodewatch, "present", lambda: ())
    helper.root.stand_in = ""
    assert await helper.root.run() == 0
    assert not helper.place.exists()


async def test_a_gateway_without_its_authority_is_refused(helper: Helper) -> None:
    helper.root.gateways = ("hub:8443",)
    with pytest.raises(Malformed, match="--ca"):
        await helper.root.run()


def test_a_sick_spool_keeps_no_job_from_its_node(tmp_path: Path) -> None:
    from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeJob

    (tmp_path / "spool").mkdir(mode=0o777)
    (tmp_path / "spool").chmod(0o777)
    said: list[str] = []
    keep(GpuNodeJob(job="17", state="begun"), tmp_path / "spool", said.append)
    assert said and "not kept" in said[0]


def test_of_root_s_privileges_one_is_left_and_none_comes_back() -> None:
    program = (
        "import subprocess; from jupyter_hpcsec.ops.gpu.nodewatch import give_up_privileges as g; g();"
        "print(subprocess.run(['/bin/grep', '-E', 'Cap(Prm|Eff|Bnd)|NoNewPrivs', '/proc/self/status'],"
        "capture_output=True, text=True).stdout)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    facts = {name: value for name, _, value in (line.partition(":\t") for line in shown.splitlines() if line)}
    assert facts["NoNewPrivs"] == "1"
    assert all(int(facts[name], 16) & ~(1 << 19) == 0 for name in ("CapPrm", "CapEff"))


def test_the_unit_calls_what_exists_and_leaves_one_privilege() -> None:
    unit = (FILES / "hpcsec-gpu-node.service").read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split()
    assert command[1:4] == ["-I", "-m", "jupyter_hpcsec.cli.main"]
    args = build_parser("gpu").parse_args(command[4:])
    assert (args.when, args.gateway, args.ca) == ("watch", ["hub.example.org:8443"], Path("/etc/hpcsec/gateway-ca.pem"))
    assert "CapabilityBoundingSet=CAP_SYS_PTRACE\n" in unit
    assert "StateDirectory=hpcsec-node\n" in unit and str(SPOOL) == "/var/lib/hpcsec-node"
