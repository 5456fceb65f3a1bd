"""AMD GPUs, by AMD's own ``amdsmi`` where it is installed (it comes with ROCm). Never tried on a real one by us.

Only what its documentation promises is asked for; what is missing is *not measurable*. Source: AMD SMI Python API.
"""

import importlib
from typing import Any

from jupyter_hpcsec.gpu.samples import Context, Device, Reading

PID_LIMIT = 1 << 22
MIB = 1 << 20


class Amd:
    """The amdgpu driver."""

    def __init__(self, module: Any = None) -> None:
        self._smi, self._up = module, False

    def read(self) -> Reading:
        """See ``devices.Source``."""
        if self._smi is None:
            try:
                self._smi = importlib.import_module("amdsmi")
            except Exception as error:  # noqa: BLE001 - loads a library as it is imported, which may fail in any way
                return Reading(source="amd", state="absent", detail=f"amdsmi can't be imported: {error}")
        try:
            if not self._up:
                self._smi.amdsmi_init()
                self._up = True
            handles = self._smi.amdsmi_get_processor_handles()
        except Exception as error:  # noqa: BLE001 - its errors' base class differs by version
            self._up = False
            return Reading(source="amd", state="error", detail=str(error))
        return Reading(source="amd", devices=tuple(self._device(i, handle) for i, handle in enumerate(handles)))

    def close(self) -> None:
        """See ``devices.Source``."""
        if self._up:
            self._ask("amdsmi_shut_down")
        self._up = False

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._smi, name)(*arguments)
        except Exception:  # noqa: BLE001 - None is "not measurable", whatever the reason
            return None

    def _device(self, index: int, handle: Any) -> Device:
        uuid = self._ask("amdsmi_get_gpu_device_uuid", handle)
        if not isinstance(uuid, str):
            return Device(uuid="", index=index, state="error", contexts_state="error")
        memory = self._ask("amdsmi_get_gpu_vram_usage", handle)
        activity = self._ask("amdsmi_get_gpu_activity", handle)
        entries = self._ask("amdsmi_get_gpu_process_list", handle)
        contexts = {
            entry["pid"]: Context(pid=entry["pid"], memory=_number((entry.get("memory_usage") or {}).get("vram_mem")))
            for entry in entries or ()
            if isinstance(entry, dict) and isinstance(entry.get("pid"), int) and 0 < entry["pid"] <= PID_LIMIT
        }
        return Device(
            uuid=uuid,
            index=index,
            name="AMD GPU",
            memory_total=_number((memory or {}).get("vram_total"), MIB),
            memory_used=_number((memory or {}).get("vram_used"), MIB),
            utilisation=_number((activity or {}).get("gfx_activity")),
            contexts=tuple(contexts.values()),
            contexts_state="ok" if isinstance(entries, list) else "error",
        )


def _number(value: Any, unit: int = 1) -> int | None:
    """A count; None for "N/A" and whatever else is none."""
    return value * unit if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
