"""NVIDIA's driver, played by the stand-in: what works, and everything that may go wrong without ending the watch."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.gpu import standin
from jupyter_hpcsec.gpu.nvml import Nvml
from jupyter_hpcsec.gpu.samples import Context, Device
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from tests.gpu.conftest import Write

NOT_THERE, NO_PERMISSION, LOST, UNKNOWN, NO_DRIVER = 6, 4, 15, 999, 9


@pytest.fixture
def nvml(stand_in: Path, tmp_path: Path) -> Iterator[Nvml]:
    made = Nvml(str(stand_in), parameters=tmp_path / "params")
    yield made
    made.close()


def device(nvml: Nvml, index: int = 0) -> Device:
    return nvml.read().devices[index]


def test_a_gpu_and_what_runs_on_it(nvml: Nvml, state: Write) -> None:
    gpu = Gpu(0, used=3 * GIB, utilisation=40, milliwatts=250_000)
    state(gpu.line(), "ecc 0 7 1", process(0, 4711, 2 * GIB, 35), process(0, 12, None, kind="g"),
          process(0, 13, GIB, kind="m"), process(0, 4711, GIB, kind="m"))  # fmt: skip
    reading = nvml.read()
    assert (reading.state, reading.simulated, reading.driver) == ("ok", True, "580.00.simulated")
    [found] = reading.devices
    assert (found.uuid, found.minor, found.state) == (gpu.uuid, 0, "ok")
    assert (found.memory_total, found.memory_used, found.memory_reserved) == (gpu.total, 3 * GIB, gpu.reserved)
    assert (found.utilisation, found.power_mw, found.power_limit_mw, found.clock_mhz) == (40, 250_000, 700_000, 1980)
    assert (found.ecc_corrected, found.ecc_uncorrected, found.xid) == (7, 1, None)
    assert found.contexts == (
        Context(pid=4711, memory=2 * GIB, utilisation=35),
        Context(pid=12, kind="graphics"),
        Context(pid=13, kind="mps", memory=GIB, utilisation=0),
    )


def test_processes_come_and_go(nvml: Nvml, state: Write) -> None:
    for pids in ([], [5], [5, 6], [6], []):
        state(Gpu(0).line(), *(process(0, pid, GIB) for pid in pids))
        assert [context.pid for context in device(nvml).contexts] == pids


def test_use_is_told_once_for_each_time_stamp_and_nothing_new_is_no_use(nvml: Nvml, state: Write) -> None:
    state(Gpu(0).line(), process(0, 5, GIB, 90, at=100))
    assert device(nvml).contexts[0].utilisation == 90
    assert device(nvml).contexts[0].utilisation == 0
    state(Gpu(0).line(), process(0, 5, GIB, 20, at=200))
    assert device(nvml).contexts[0].utilisation == 20


def test_mig_instances_have_memory_and_processes_and_no_measurable_use(nvml: Nvml, state: Write) -> None:
    state(Gpu(0, utilisation=50).line(), f"mig 0 MIG-a 1 0 {40 * GIB} {GIB}", f"mig 0 MIG-b 2 0 {40 * GIB} 0",
          process(0, 7, GIB, 60, gi="1"))  # fmt: skip
    whole, one, other = nvml.read().devices
    assert whole.split and whole.utilisation is None and [each.pid for each in whole.contexts] == [7]
    assert whole.contexts[0].utilisation is None
    assert (one.uuid, one.parent, one.memory_used, one.utilisation) == ("MIG-a", whole.uuid, GIB, None)
    assert one.contexts == (Context(pid=7, memory=GIB),)
    assert (other.uuid, other.contexts, other.contexts_state) == ("MIG-b", (), "ok")


def test_pids_that_no_process_can_have_are_left_out(nvml: Nvml, state: Write) -> None:
    state(Gpu(0).line(), *(process(0, pid, GIB) for pid in (0, 1 << 22, (1 << 22) + 1, 4294967295, 9)))
    assert [context.pid for context in device(nvml).contexts] == [1 << 22, 9]


def test_an_xid_is_kept_with_its_gpu(nvml: Nvml, state: Write) -> None:
    lines = [Gpu(0).line(), Gpu(1).line()]
    state(*lines)
    nvml.read()
    state(*lines, "xid 1 79 1000001")
    assert [each.xid for each in nvml.read().devices] == [None, 79]
    assert [each.xid for each in nvml.read().devices] == [None, 79]


@pytest.mark.parametrize(
    ("line", "state_of_contexts"),
    [
        (f"error DeviceGetComputeRunningProcesses_v3 - {NO_PERMISSION}", "refused"),
        (f"error DeviceGetComputeRunningProcesses_v3 - {UNKNOWN}", "error"),
        ("error DeviceGetComputeRunningProcesses_v3 - 3", "unsupported"),
        ("error DeviceGetGraphicsRunningProcesses_v3 - 3", "ok"),
        (f"error DeviceGetMPSComputeRunningProcesses_v3 - {UNKNOWN}", "error"),
    ],
)
def test_a_list_that_can_not_be_had_is_not_an_empty_one(
    nvml: Nvml, state: Write, line: str, state_of_contexts: str
) -> None:
    state(Gpu(0).line(), line)
    assert device(nvml).contexts_state == state_of_contexts


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("DeviceGetUtilizationRates", "utilisation"),
        ("DeviceGetPowerUsage", "power_mw"),
        ("DeviceGetTotalEccErrors", "ecc_corrected"),
        ("DeviceGetClockInfo", "clock_mhz"),
    ],
)
@pytest.mark.parametrize("code", [3, NO_PERMISSION, UNKNOWN, 13])
def test_what_can_not_be_measured_is_none(nvml: Nvml, state: Write, function: str, field: str, code: int) -> None:
    state(Gpu(0).line(), f"error {function} - {code}")
    assert getattr(device(nvml), field) is None
    assert device(nvml).state == "ok"


def test_use_by_process_that_can_not_be_measured_is_not_zero(nvml: Nvml, state: Write) -> None:
    state(Gpu(0).line(), process(0, 5, GIB, 50), "error DeviceGetProcessUtilization - 3")
    assert device(nvml).contexts[0].utilisation is None


def test_an_old_driver_without_memory_v2(nvml: Nvml, state: Write) -> None:
    gpu = Gpu(0, used=GIB)
    state(gpu.line(), "error DeviceGetMemoryInfo_v2 - 3")
    assert (device(nvml).memory_used, device(nvml).memory_reserved) == (GIB + gpu.reserved, None)


@pytest.mark.parametrize(("code", "expected"), [(LOST, "lost"), (UNKNOWN, "error"), (NO_PERMISSION, "refused")])
def test_one_gpu_falls_off_the_bus_and_the_other_is_still_seen(
    nvml: Nvml, state: Write, code: int, expected: str
) -> None:
    lines = [Gpu(0).line(), Gpu(1).line(), process(1, 5, GIB)]
    for function in ("DeviceGetHandleByIndex_v2", "*"):
        state(*lines, f"error {function} 0 {code}")
        first, second = nvml.read().devices
        assert (first.state, first.contexts_state) == (expected, expected)
        assert second.state == "ok" and len(second.contexts) == 1


def test_a_driver_that_goes_and_comes_back(nvml: Nvml, state: Write) -> None:
    state(Gpu(0).line())
    assert nvml.read().state == "ok"
    for _ in range(2):
        state(Gpu(0).line(), *(f"error {name} - {NO_DRIVER}" for name in ("DeviceGetCount_v2", "InitWithFlags")))
        assert nvml.read().state == "lost"
        assert nvml.read().state == "lost"
        state(Gpu(0).line())
        assert nvml.read().state == "ok"


def test_a_driver_that_never_was_there_is_absent(nvml: Nvml, state: Write) -> None:
    state(f"error InitWithFlags - {NO_DRIVER}")
    assert nvml.read().state == "absent"


def test_a_missing_symbol_is_a_list_less(state: Write, tmp_path: Path) -> None:
    old = Nvml(str(standin.build(tmp_path, "-DWITHOUT_MPS")))
    state(Gpu(0).line(), process(0, 5, GIB))
    assert [context.pid for context in old.read().devices[0].contexts] == [5]
    assert old.read().devices[0].contexts_state == "ok"
    old.close()


def test_no_library_is_absent_and_a_file_that_is_none_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_hpcsec.gpu.library.find", lambda name: "")
    assert Nvml().read().state == "absent"
    broken = tmp_path / "libnvidia-ml.so.1"
    broken.write_text("no library")
    assert Nvml(str(broken)).read().state == "error"


@pytest.mark.parametrize(
    ("text", "open_to_all"), [("RmProfilingAdminOnly: 0\n", True), ("RmProfilingAdminOnly: 1\n", False), ("x", None)]
)
def test_posture(nvml: Nvml, state: Write, tmp_path: Path, stand_in: Path, text: str, open_to_all: bool | None) -> None:
    (tmp_path / "params").write_text(text)
    state(Gpu(0).line(), "mode 0 0 0")
    posture = nvml.read().posture
    assert (posture.profiling_open, posture.persistence) == (open_to_all, False)
    assert posture.library_trusted is False


def test_eight_gpus_with_sixty_four_processes_each(nvml: Nvml, state: Write) -> None:
    state(
        *(Gpu(i).line() for i in range(8)), *(process(i, 1000 + 64 * i + n, GIB) for i in range(8) for n in range(64))
    )
    assert [len(each.contexts) for each in nvml.read().devices] == [64] * 8


def test_our_own_constants_are_the_librarys() -> None:
    assert (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN) == (LOST, UNKNOWN)
    assert (pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_FOUND) == (NO_PERMISSION, NOT_THERE)


@pytest.mark.parametrize(
    ("command", "said"), [(["gpustat", "--no-color", "-p"], "Simulated-GPU"), (["nvitop", "-1"], "Simulated-GPU")]
)
def test_known_tools_run_on_the_stand_in(state: Write, stand_in: Path, command: list[str], said: str) -> None:
    state(Gpu(0, used=GIB, utilisation=55).line(), process(0, os.getpid(), GIB, 55))
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run(
        [program, *command[1:]], env={**os.environ, "LD_LIBRARY_PATH": str(stand_in.parent), "TERM": "dumb"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert said in done.stdout and "1024" in done.stdout


def test_cells_pretend_to_hold_memory(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standin.prepare(tmp_path / "gpus", 2)
    with pytest.raises(Unavailable, match="not simulated"):
        standin.hold(1)
    monkeypatch.setenv("JUPYTER_HPCSEC_GPU", json.dumps({"state": str(tmp_path / "gpus/state")}))
    monkeypatch.setenv(standin.STATE_VARIABLE, str(tmp_path / "gpus/state"))
    made = Nvml(str(tmp_path / "gpus" / standin.NAME))
    assert [each.contexts for each in made.read().devices] == [(), ()]
    standin.hold(1.5, gpu=1, use=40)
    standin.hold(2.5, gpu=1, use=30)
    held = made.read().devices[1]
    assert held.contexts == (Context(pid=os.getpid(), memory=5 * GIB // 2, utilisation=30),)
    assert (held.memory_used, held.utilisation) == (5 * GIB // 2, 30)
    standin.hold(0, gpu=1)
    assert made.read().devices[1].contexts == ()
    made.close()


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="compiler"):
        standin.build(tmp_path)
    monkeypatch.undo()
    with pytest.raises(Unavailable, match="could not be compiled"):
        standin.build(tmp_path, "-fno-such-option")
