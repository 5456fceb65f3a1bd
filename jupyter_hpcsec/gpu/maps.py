"""Root's allocation maps, written: one ``JOB.json`` each, which ``launch.read_map`` reads in the job. For root alone.

Replaced in one step, or not at all. No link is followed; a directory that others could change is refused, not mended.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.gpu.launch import MAP_LIMIT, MAPS, map_path, read_map
from jupyter_hpcsec.gpu.samples import Allocation

MAPS_LIMIT = 4096
"""Maps on one node that are looked at."""


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """The maps' directory, checked and held open: names in it can't be led elsewhere any more."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{directory}: {error.strerror}; the allocation maps belong there.") from error
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Refused("gpu.maps", f"{directory} can be changed by others than this account: no map in it counts")
        yield descriptor
    except OSError as error:
        raise Unavailable(f"{directory}: {error.strerror}.") from error
    finally:
        os.close(descriptor)


def write(allocation: Allocation, directory: Path = MAPS) -> Path:
    """Write a job's map, for everybody to read; makes the directory and the one above it where they are missing."""
    path, data = map_path(allocation.job, directory), msgspec.json.encode(allocation)
    if len(data) > MAP_LIMIT:
        raise Malformed(f"The allocation map would be longer than {MAP_LIMIT} bytes.")
    for made in (directory.parent, directory):
        try:
            made.mkdir(mode=0o755)
            made.chmod(0o755)  # whatever the umask: the job's user has to read it
        except FileExistsError:
            continue
        except OSError as error:
            raise Unavailable(f"{made}: {error.strerror}.") from error
    with _opened(directory) as place:
        fresh = f".{path.name}.{secrets.token_hex(8)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(descriptor, 0o644)
                file.flush()
                os.fsync(descriptor)
            os.rename(fresh, path.name, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh, dir_fd=place)
            raise
    return path


def remove(job: str, directory: Path = MAPS) -> bool:
    """Remove a job's map; whether there was one."""
    name = map_path(job, directory).name
    if not directory.exists():
        return False
    with _opened(directory) as place:
        try:
            os.unlink(name, dir_fd=place)
        except FileNotFoundError:
            return False
    return True


def read_all(directory: Path = MAPS, owners: frozenset[int] | None = None) -> dict[str, Allocation]:
    """Every map that counts, by job; ``owners`` are those whose maps do, this account's by default."""
    try:
        names = sorted(path.stem for path in directory.glob("[!.]*.json"))[:MAPS_LIMIT]
    except OSError:
        return {}
    counted = frozenset([os.geteuid()]) if owners is None else owners
    maps = {name: read_map(name, directory, counted) for name in names}
    return {name: found for name, found in maps.items() if found is not None}


def others(job: str, directory: Path = MAPS) -> frozenset[str]:
    """Every device that the map of another job names: it is shared, or was given on already."""
    return frozenset(device for name, each in read_all(directory).items() if name != job for device in each.devices)
