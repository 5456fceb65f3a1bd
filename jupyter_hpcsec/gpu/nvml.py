"""NVIDIA GPUs and their MIG instances, by nvidia-ml-py (NVML). Translates every error into a state, and raises none.

The library is loaded by its full path out of the system's places (``library``) and given to nvidia-ml-py, which would
otherwise take what ``LD_LIBRARY_PATH`` names. Source: NVML API Reference Guide; what it leaves open is in docs/gpu.md.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from jupyter_hpcsec.gpu import library
from jupyter_hpcsec.gpu.samples import Context, Device, Kind, Posture, Reading, State

PID_LIMIT = 1 << 22
"""PID_MAX_LIMIT of 64-bit Linux: an entry with a greater pid, or with 0, is none."""
NOT_TOLD = 0xFFFFFFFF
CONTEXTS_LIMIT = 4096
"""Of one device; there is no GPU that holds as many."""
EVENTS_LIMIT = 64
MIG_LIMIT = 7
REFRESH = 6
"""Readings after which what seldom changes is asked for again."""
STAND_IN_MARK = "hpcsec_stand_in"

STATES: dict[int, State] = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "lost",
    pynvml.NVML_ERROR_RESET_REQUIRED: "lost",
    pynvml.NVML_ERROR_NOT_FOUND: "lost",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "lost",
    pynvml.NVML_ERROR_NO_PERMISSION: "refused",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "unsupported",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "unsupported",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "unsupported",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "absent",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "absent",
    pynvml.NVML_ERROR_UNINITIALIZED: "absent",
}
"""What is not listed (``Unknown Error``, a timeout, a version that does not match) is ``error``."""
LISTS: tuple[tuple[Kind, str], ...] = (
    ("compute", "nvmlDeviceGetComputeRunningProcesses_v3"),
    ("graphics", "nvmlDeviceGetGraphicsRunningProcesses_v3"),
    ("mps", "nvmlDeviceGetMPSComputeRunningProcesses_v3"),
)
PARAMETERS = Path("/proc/driver/nvidia/params")

T = TypeVar("T")


def _try(call: Callable[..., T], *arguments: Any) -> tuple[T | None, State, str]:
    """(what it returned, ``ok``, ``""``), or (None, what is wrong, in words)."""
    try:
        return call(*arguments), "ok", ""
    except pynvml.NVMLError as error:
        return None, STATES.get(getattr(error, "value", 0), "error"), str(error)
    except (OSError, AttributeError, ValueError, UnicodeDecodeError, ctypes.ArgumentError) as error:
        return None, "error", str(error)


def _value(call: Callable[..., T], *arguments: Any) -> T | None:
    return _try(call, *arguments)[0]


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


class Nvml:
    """The NVIDIA driver. Initialised at the first reading, and again at the next one after it was lost."""

    def __init__(self, stand_in: str = "", parameters: Path = PARAMETERS, maps: Path = Path("/proc/self/maps")) -> None:
        self._stand_in, self._parameters, self._maps = stand_in, parameters, maps
        self._events: Any = None
        self._watched: set[str] = set()
        self._xids: dict[str, int] = {}
        self._seen_until: dict[str, int] = {}
        self._was_there = False
        self._up = False
        self._slow: dict[str, tuple[int, Any]] = {}
        self._readings = 0
        self.simulated = False
        self.path = ""

    def read(self) -> Reading:
        """See ``devices.Source``."""
        if not self._up:
            state, detail = self._begin()
            if state != "ok":
                return Reading(source="nvidia", state=state, detail=detail, simulated=self.simulated)
        count, state, detail = _try(pynvml.nvmlDeviceGetCount)
        if count is None:
            self.close()
            state = "lost" if self._was_there and state == "absent" else state
            return Reading(source="nvidia", state=state, detail=detail, simulated=self.simulated)
        self._readings += 1
        self._collect_xids()
        devices = [device for index in range(count) for device in self._gpu(index)]
        self._was_there = self._was_there or bool(devices)
        return Reading(
            source="nvidia",
            driver=self._seldom("driver", lambda: _text(_value(pynvml.nvmlSystemGetDriverVersion))),
            simulated=self.simulated,
            posture=self._seldom("posture", lambda: self._posture(count)),
            devices=tuple(devices),
        )

    def _seldom(self, name: str, ask: Callable[[], T]) -> T:
        """What seldom changes, asked again after ``REFRESH`` readings."""
        known = self._slow.get(name)
        if known is None or self._readings - known[0] >= REFRESH:
            known = self._slow[name] = (self._readings, ask())
        found: T = known[1]
        return found

    def close(self) -> None:
        """See ``devices.Source``. The next reading begins anew: a restarted driver answers only new clients."""
        if self._up:
            _try(pynvml.nvmlShutdown)
        self._up, self._events = False, None
        self._watched.clear()
        self._slow.clear()

    def _begin(self) -> tuple[State, str]:
        if not self.path:
            self.path = self._stand_in or library.find(library.NVML)
            if not self.path:
                return "absent", f"{library.NVML} is in none of the system's directories"
            loaded, _, detail = _try(ctypes.CDLL, self.path)
            if loaded is None:
                self.path = ""
                return "error", detail
            pynvml.nvmlLib = loaded
            pynvml._nvmlGetFunctionPointer_cache.clear()
            self.simulated = hasattr(loaded, STAND_IN_MARK)
        _, state, detail = _try(pynvml.nvmlInit)
        self._up = state == "ok"
        if not self._up:
            return ("lost" if self._was_there else state), detail
        self._events = _value(pynvml.nvmlEventSetCreate)
        return "ok", ""

    def _collect_xids(self) -> None:
        """XID errors since the last reading; the last one of each GPU is kept."""
        for _ in range(EVENTS_LIMIT if self._events is not None else 0):
            event = _value(pynvml.nvmlEventSetWait_v2, self._events, 0)
            if event is None:
                return
            uuid = _text(_value(pynvml.nvmlDeviceGetUUID, event.device))
            if uuid and event.eventType & pynvml.nvmlEventTypeXidCriticalError:
                self._xids[uuid] = int(event.eventData)

    def _gpu(self, index: int) -> list[Device]:
        """A GPU and, in MIG mode, its instances."""
        handle, state, detail = _try(pynvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return [Device(uuid="", index=index, state=state, detail=detail, contexts_state=state)]
        uuid, state, detail = _try(pynvml.nvmlDeviceGetUUID, handle)
        if uuid is None:
            return [Device(uuid="", index=index, state=state, detail=detail, contexts_state=state)]
        uuid = _text(uuid)
        if self._events is not None and uuid not in self._watched:
            _try(pynvml.nvmlDeviceRegisterEvents, handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
            self._watched.add(uuid)
        mode = self._seldom(f"{uuid} mode", lambda: _value(pynvml.nvmlDeviceGetMigMode, handle))
        split = bool(mode and mode[0])
        instances = [
            self._device(instance, position, _text(_value(pynvml.nvmlDeviceGetUUID, instance)), parent=uuid)
            for position in range(MIG_LIMIT if split else 0)
            if (instance := _value(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, position)) is not None
        ]
        return [self._device(handle, index, uuid, split=split), *instances]

    def _device(self, handle: Any, index: int, uuid: str, *, parent: str = "", split: bool = False) -> Device:
        state: State = "ok" if uuid else "error"
        detail = ""
        memory, memory_state, memory_detail = _try(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
        reserved = int(memory.reserved) if memory is not None else None
        if memory is None and memory_state == "unsupported":  # drivers before 510 add their reserve to what is used
            memory, memory_state, memory_detail = _try(pynvml.nvmlDeviceGetMemoryInfo, handle)
        if state == "ok" and memory_state in {"lost", "error"}:
            state, detail = memory_state, memory_detail
        whole = not parent
        use = _value(pynvml.nvmlDeviceGetUtilizationRates, handle) if whole and not split else None
        contexts, contexts_state = self._contexts(handle, uuid, whole=whole and not split)
        minor, name, limit, compute_mode = self._seldom(f"{uuid} facts", lambda: _facts(handle, whole=whole))
        ecc = self._seldom(f"{uuid} errors", lambda: _errors(handle, whole=whole))
        return Device(
            uuid=uuid,
            index=index,
            minor=minor,
            name=name,
            parent=parent,
            state=state,
            detail=detail,
            memory_total=int(memory.total) if memory is not None else None,
            memory_used=int(memory.used) if memory is not None else None,
            memory_reserved=reserved,
            utilisation=_percent(use.gpu) if use is not None else None,
            power_mw=_value(pynvml.nvmlDeviceGetPowerUsage, handle) if whole else None,
            power_limit_mw=limit,
            clock_mhz=_value(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM) if whole else None,
            ecc_corrected=ecc[0],
            ecc_uncorrected=ecc[1],
            xid=self._xids.get(uuid),
            contexts=contexts,
            contexts_state=contexts_state,
            split=split,
            compute_mode=compute_mode,
        )

    def _contexts(self, handle: Any, uuid: str, *, whole: bool) -> tuple[tuple[Context, ...], State]:
        """The union of the three lists; a list that this driver does not have is none, any other failure is said."""
        use = self._process_use(handle, uuid) if whole else None
        found: dict[int, Context] = {}
        worst: State = "ok"
        for kind, name in LISTS:
            entries, state, _ = _try(getattr(pynvml, name), handle)
            if entries is None:
                if state != "unsupported" or kind == "compute":
                    worst = state
                continue
            for entry in entries[:CONTEXTS_LIMIT]:
                pid = int(entry.pid)
                if 0 < pid <= PID_LIMIT and pid not in found:
                    memory = entry.usedGpuMemory
                    share = (use.get(pid, 0) if use is not None else None) if kind != "graphics" else None
                    found[pid] = Context(pid=pid, kind=kind, memory=_bytes(memory), utilisation=share)
        return tuple(found.values()), worst

    def _process_use(self, handle: Any, uuid: str) -> dict[int, int] | None:
        """Percent of the SMs by pid, the greatest since the last reading; None where it can't be measured."""
        since = self._seen_until.get(uuid, 0)
        try:
            entries = pynvml.nvmlDeviceGetProcessUtilization(handle, since)
        except pynvml.NVMLError as error:
            # NOT_FOUND is this call's way to say that nothing ran since (NVML reference); others are faults
            return {} if getattr(error, "value", 0) == pynvml.NVML_ERROR_NOT_FOUND else None
        shares: dict[int, int] = {}
        for entry in entries:
            self._seen_until[uuid] = max(self._seen_until.get(uuid, 0), int(entry.timeStamp))
            share = _percent(entry.smUtil)
            if share is not None:
                shares[int(entry.pid)] = max(shares.get(int(entry.pid), 0), share)
        return shares

    def _posture(self, count: int) -> Posture:
        try:
            set_to = self._parameters.read_text(errors="replace")
        except OSError:
            profiling = None
        else:
            profiling = "RmProfilingAdminOnly: 0" in set_to if "RmProfilingAdminOnly:" in set_to else None
        handle = _value(pynvml.nvmlDeviceGetHandleByIndex, 0) if count else None
        mode = _value(pynvml.nvmlDeviceGetPersistenceMode, handle) if handle is not None else None
        try:
            paths = library.mapped(self._maps.read_text(errors="replace"))
        except OSError:
            return Posture(profiling_open=profiling, persistence=None if mode is None else bool(mode))
        ours = [path for path in paths if library.NVML.split(".", maxsplit=1)[0] in path]
        return Posture(
            profiling_open=profiling,
            persistence=None if mode is None else bool(mode),
            library=ours[0] if ours else "",
            # more than one is mapped: which of them answers is not known
            library_trusted=len(ours) == 1 and library.is_system(ours[0]),
            preloaded=tuple(library.strangers(paths, library.python_places())),
        )


def _facts(handle: Any, *, whole: bool) -> tuple[int | None, str, int | None, int | None]:
    """(minor number, name, power limit, compute mode) of a device."""
    name = _text(_value(pynvml.nvmlDeviceGetName, handle))
    if not whole:
        return None, name, None, None
    minor, mode = _value(pynvml.nvmlDeviceGetMinorNumber, handle), _value(pynvml.nvmlDeviceGetComputeMode, handle)
    return minor, name, _value(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle), mode


def _errors(handle: Any, *, whole: bool) -> tuple[int | None, int | None]:
    """Corrected and uncorrected ECC errors since the driver was loaded."""
    if not whole:
        return None, None
    corrected, uncorrected = (_value(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, 0) for kind in (0, 1))
    return corrected, uncorrected


def _percent(value: int) -> int | None:
    return int(value) if 0 <= int(value) <= 100 else None


def _bytes(value: int | None) -> int | None:
    """None where the driver does not tell: in containers, for graphics, and as all ones."""
    return None if value is None or int(value) >= 1 << 60 else int(value)
