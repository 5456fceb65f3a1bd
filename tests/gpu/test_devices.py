"""Nothing is loaded where there is no GPU; AMD's package is asked, whatever it answers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.gpu import devices
from jupyter_hpcsec.gpu.amd import Amd
from jupyter_hpcsec.gpu.samples import Context


def test_device_nodes_say_which_drivers_are_here(tmp_path: Path) -> None:
    assert devices.present(tmp_path) == ()
    (tmp_path / "kfd").touch()
    assert devices.present(tmp_path) == ("amd",)
    (tmp_path / "nvidia0").touch()
    assert devices.present(tmp_path) == ("nvidia", "amd")


def test_without_a_gpu_no_driver_s_package_is_imported() -> None:
    script = (
        "import sys; from jupyter_hpcsec.gpu import devices; assert devices.sources(()) == [];"
        "assert not {'pynvml', 'amdsmi', 'ctypes'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


class Smi:
    """Answers as amdsmi's documentation has it, or fails."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "amdsmi_init": None, "amdsmi_get_processor_handles": ["a"], "amdsmi_get_gpu_device_uuid": "uuid-a",
            "amdsmi_get_gpu_vram_usage": {"vram_total": 1024, "vram_used": 16},
            "amdsmi_get_gpu_activity": {"gfx_activity": 12, "umc_activity": "N/A"},
            "amdsmi_get_gpu_process_list": [{"pid": 5, "memory_usage": {"vram_mem": 4096}}, {"pid": 0}, "?"],
            "amdsmi_shut_down": None, **answers,
        }  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        answer = self.answers[name]

        def call(*_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def test_an_amd_gpu() -> None:
    source = Amd(Smi())
    [device] = source.read().devices
    assert (device.uuid, device.memory_used, device.utilisation) == ("uuid-a", 16 << 20, 12)
    assert device.contexts == (Context(pid=5, memory=4096),)
    source.close()


@pytest.mark.parametrize("name", ["amdsmi_init", "amdsmi_get_processor_handles"])
def test_amd_s_errors_are_a_state(name: str) -> None:
    assert Amd(Smi(**{name: RuntimeError("no driver")})).read().state == "error"


def test_what_amd_does_not_tell_is_not_measurable() -> None:
    silent = Smi(amdsmi_get_gpu_vram_usage=OSError(), amdsmi_get_gpu_activity={"gfx_activity": "N/A"},
                 amdsmi_get_gpu_process_list=OSError())  # fmt: skip
    [device] = Amd(silent).read().devices
    assert (device.memory_used, device.utilisation, device.contexts_state) == (None, None, "error")


def test_without_the_package_amd_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert Amd().read().state == "absent"
