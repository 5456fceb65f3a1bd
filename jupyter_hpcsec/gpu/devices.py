"""One small interface to the drivers that a node has. Where there is no GPU, nothing is imported, loaded or opened."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from jupyter_hpcsec.gpu.samples import Reading

NVIDIA_NODE = "nvidiactl"
AMD_NODE = "kfd"


class Source(Protocol):
    """One driver. ``read`` never raises: what goes wrong is a state of the reading or of a device."""

    def read(self) -> Reading:
        """What the driver says now. May take long, or never return, when the driver hangs."""

    def close(self) -> None:
        """Let go of the driver."""


def present(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Whose drivers have their device nodes here: ``nvidia``, ``amd``."""
    found = []
    if (dev / NVIDIA_NODE).exists() or any(dev.glob("nvidia[0-9]*")):
        found.append("nvidia")
    if (dev / AMD_NODE).exists():
        found.append("amd")
    return tuple(found)


def sources(names: Sequence[str], *, stand_in: str = "") -> list[Source]:
    """The sources for ``present()``; ``stand_in`` is the path of a simulated NVML, used instead of a driver."""
    made: list[Source] = []
    if stand_in or "nvidia" in names:
        from jupyter_hpcsec.gpu.nvml import Nvml  # noqa: PLC0415 - only where there is such a GPU

        made.append(Nvml(stand_in))
    if "amd" in names and not stand_in:
        from jupyter_hpcsec.gpu.amd import Amd  # noqa: PLC0415 - only where there is such a GPU

        made.append(Amd())
    return made
