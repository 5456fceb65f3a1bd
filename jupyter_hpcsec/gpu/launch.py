"""What the watch of a session gets from outside: the site's settings by the launch, root's map by a file.

Neither is the user's: the launch comes from the hub, and a map counts only where root alone could have written it.
"""

import os
import re
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.gpu.samples import Allocation
from jupyter_hpcsec.gpu.settings import SIZE_LIMIT, IdleLimits, Settings

VARIABLE = "JUPYTER_HPCSEC_GPU"
"""Brings ``GpuLaunch`` to the server as JSON; taken from the launch alone, never from the job's environment."""

MAPS = Path("/run/hpcsec/gpu")
"""Where root's prolog writes the allocation maps, one ``JOB.json`` each."""
MAP_LIMIT = 64 * 1024
ROOTS = frozenset((0, 65534))
"""Root, also as seen in a user namespace that does not map it (user_namespaces(7)). Its directory is root's, too."""
_JOB = re.compile(r"[0-9A-Za-z_.\[\]-]{1,64}")


class GpuLaunch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``groups``: the user's. ``project``: whom hours are counted for. ``stand_in``, ``state``: of simulated GPUs."""

    settings: Settings = Settings()
    groups: tuple[str, ...] = ()
    project: str = ""
    stand_in: str = ""
    state: str = ""
    interval_s: float = 10.0

    def limits(self) -> IdleLimits:
        """This user's idle limits."""
        return self.settings.idle_for(self.groups)


def parse(text: str) -> GpuLaunch:
    """From JSON; empty text is the defaults. ``Malformed`` names what is wrong."""
    if len(text) > SIZE_LIMIT:
        raise Malformed(f"The GPU watch's launch has more than {SIZE_LIMIT} characters.")
    try:
        return msgspec.json.decode(text or "{}", type=GpuLaunch)
    except msgspec.DecodeError as error:
        raise Malformed(f"The GPU watch's settings can't be used: {error}.") from error


def map_path(job: str, directory: Path = MAPS) -> Path:
    """Where a job's map lies; ``Malformed`` for what is no job id."""
    if not _JOB.fullmatch(job) or job in {".", ".."}:
        raise Malformed("That is no job id.")
    return directory / f"{job}.json"


def read_map(job: str, directory: Path = MAPS, owners: frozenset[int] = ROOTS) -> Allocation | None:
    """Root's map of this job; None where there is none, or none that counts."""
    try:
        path = map_path(job, directory)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (Malformed, OSError):
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - by its descriptor: what is checked is what is read
        for found in (os.fstat(descriptor), os.stat(directory)):  # noqa: PTH116
            if found.st_uid not in owners or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        try:
            allocation = msgspec.json.decode(file.read(MAP_LIMIT), type=Allocation)
        except msgspec.DecodeError:
            return None
    return allocation if allocation.job == job else None
