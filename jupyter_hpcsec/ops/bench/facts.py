"""The facts about a machine without which a number means nothing."""

import os
import platform
import ssl
from pathlib import Path
from typing import Any

from jupyter_hpcsec import __version__
from jupyter_hpcsec.ops.versions import program


def cpu_model(text: str) -> str:
    """The processor's name in ``/proc/cpuinfo``; the architecture is all that some tell."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "cpu"} and value.strip():
            return value.strip()
    return platform.machine()


def memory_gib(text: str) -> float:
    """``MemTotal`` of ``/proc/meminfo`` in GiB."""
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return 0.0


def machine(path: str) -> dict[str, Any]:
    """CPU, memory, system, versions, and how busy the machine was at the start. ``path`` is searched for programs."""
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": memory_gib(Path("/proc/meminfo").read_text()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "ssh": program(("ssh", "-V"), path),
        "congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "jupyter_hpcsec": __version__,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"
