"""The stand-in for NVIDIA's library: built with the computer's C compiler, driven by a state file (``nvml.c``).

For tests and for ``hpcsec quickstart --fake-gpus``; what is seen through it is marked as simulated everywhere.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable

SOURCE = Path(__file__).with_name("nvml.c")
NAME = "libnvidia-ml.so.1"
STATE_VARIABLE = "HPCSEC_STANDIN_STATE"
COMPILERS = ("gcc", "cc", "clang")
GIB = 1 << 30


def build(directory: Path, *options: str) -> Path:
    """Compile it into ``directory``; its path. ``Unavailable`` says what is missing."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise Unavailable("Simulated GPUs need a C compiler (gcc, cc or clang), and there is none on the PATH.")
    path = directory / NAME
    command = [compiler, "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-Wl,-soname,{NAME}", *options]
    made = subprocess.run(
        [*command, "-o", str(path), str(SOURCE), "-lpthread"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise Unavailable(f"The simulated GPUs' library could not be compiled: {made.stderr.strip()[-200:]}")
    return path


@dataclass(frozen=True)
class Gpu:
    """One simulated GPU."""

    index: int
    total: int = 80 * GIB
    used: int = 0
    reserved: int = GIB // 2
    utilisation: int = 0
    milliwatts: int = 60_000

    @property
    def uuid(self) -> str:
        """Says what it is."""
        return f"GPU-51a1a7ed-0000-0000-0000-{self.index:012x}"

    def line(self) -> str:
        """As the state file has it."""
        return (
            f"gpu {self.index} {self.uuid} 00000000:{0x10 + self.index:02X}:00.0 Simulated-GPU {self.total} "
            f"{self.used} {self.reserved} {self.utilisation} {self.utilisation // 2} {self.milliwatts} 40 {self.index}"
        )


def process(gpu: int, pid: int, memory: int | None, sm: int = 0, *, kind: str = "c", at: int = 1, gi: str = "-") -> str:
    """A process's line. ``memory`` in bytes, None for not told; ``kind``: c, g or m; ``at`` in microseconds."""
    return f"proc {gpu} {kind} {pid} {'-' if memory is None else memory} {sm} {at} {gi}"


def write_state(path: Path, lines: Iterable[str]) -> None:
    """Replace the state file in one step: the library never reads half of one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text("\n".join(lines) + "\n")
    os.replace(fresh, path)  # noqa: PTH105 - atomic, and says so


def prepare(directory: Path, count: int) -> None:
    """Make ``directory`` hold the library and the state of ``count`` idle GPUs, on which ``hold`` can be called."""
    claims = directory / "claims"
    claims.mkdir(parents=True)
    build(directory)
    write_state(directory / "state", [*(Gpu(index).line() for index in range(count)), f"claims {claims}"])


def hold(gib: float, gpu: int = 0, use: int = 0) -> None:
    """In a notebook of a quickstart with simulated GPUs: pretend that this kernel holds memory, and uses the GPU.

    ``gib`` 0 lets go; ``use`` in percent. ``Unavailable`` where the GPUs are not simulated.
    """
    try:
        state = json.loads(os.environ.get("JUPYTER_HPCSEC_GPU", "{}")).get("state")
    except ValueError:
        state = None
    if not state:
        raise Unavailable("The GPUs of this session are not simulated: there is nothing to pretend.")
    claims = Path(state).with_name("claims")
    for old in claims.glob(f"{gpu}.{os.getpid()}.*"):
        old.unlink()
    if gib > 0:
        with (claims / f"{gpu}.{os.getpid()}.{min(100, max(0, use))}").open("wb") as file:
            file.truncate(int(gib * 1024))  # a file's size in bytes stands for MiB
