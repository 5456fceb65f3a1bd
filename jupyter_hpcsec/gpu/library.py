"""Where the driver's library is loaded from: the system's places and no other, and whether that is so.

A process can be made to load another library by its environment (``LD_PRELOAD``, ``LD_LIBRARY_PATH``), or by a copy in
its working directory. The sampler is started without such variables and loads by full path; this looks at what then
really is mapped (proc_pid_maps(5)). It is a check of honesty from inside: what root's helper says weighs more.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

SYSTEM_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/nvidia", "/usr/local/cuda", "/opt/rocm",
                      "/usr/local/lib", "/run/opengl-driver/lib", "/.singularity.d/libs")  # fmt: skip
"""Where distributions, NVIDIA's containers, Apptainer (``--nv``) and ROCm put it."""

SEARCHED = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64",
            "/usr/local/nvidia/lib64", "/run/opengl-driver/lib", "/.singularity.d/libs")  # fmt: skip

NVML = "libnvidia-ml.so.1"
AMD_SMI = "libamd_smi.so"


def find(name: str, directories: Iterable[str] = SEARCHED) -> str:
    """The full path of a system library; empty when there is none."""
    return next((path for path in (f"{directory}/{name}" for directory in directories) if Path(path).exists()), "")


def mapped(maps: str) -> tuple[str, ...]:
    """Every file that is mapped executable, in order, once."""
    found: dict[str, None] = {}
    for line in maps.splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and "x" in parts[1] and parts[5].startswith("/"):
            found[parts[5].removesuffix(" (deleted)")] = None
    return tuple(found)


def is_system(path: str, directories: Iterable[str] = SYSTEM_DIRECTORIES) -> bool:
    """Whether a path, resolved, lies in a system directory and neither it nor the directory is a user's to change."""
    real = os.path.realpath(path)
    if not any(real.startswith(f"{directory}/") for directory in directories):
        return False
    try:
        found = [os.stat(real), os.stat(Path(real).parent)]  # noqa: PTH116 - two of them, alike
    except OSError:
        return False
    # 65534: root of the namespace outside of this one, as seen in a container without that mapping (user_namespaces(7))
    return all(each.st_uid in {0, 65534} and not each.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for each in found)


def strangers(paths: Iterable[str], own: Iterable[str], directories: Iterable[str] = SYSTEM_DIRECTORIES) -> list[str]:
    """Mapped files that are neither the system's nor of this Python's own directories (``own``)."""
    ours = tuple(os.path.realpath(path) for path in own)
    return [
        path
        for path in paths
        if not is_system(path, (*directories, "/usr/bin"))
        and not any(os.path.realpath(path).startswith(f"{place}/") for place in ours)
    ]


def python_places() -> tuple[str, ...]:
    """The directories of this Python and its packages, from which it loads extension modules."""
    return tuple(dict.fromkeys([sys.prefix, sys.base_prefix, *(path for path in sys.path if path)]))
