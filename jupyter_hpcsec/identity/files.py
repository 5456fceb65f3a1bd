"""Private files: 0600 in a directory of 0700, owned by this process's user, written so that a crash leaves old or new.

Nothing follows a symbolic link. What is found with the wrong owner or mode is refused, not mended: somebody may have
read it.
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jupyter_hpcsec.errors import Refused, Unavailable

LOCK = "lock"
_TEMPORARY = ".new"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from error


def make_directory(directory: Path) -> None:
    """Create ``directory`` (0700) where there is none; its parent must exist. Whatever is there is then checked."""
    with _translated(directory), suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        sync_directory(directory.parent)
    check_directory(directory)


def check_directory(directory: Path) -> None:
    """Refuse a key directory that is a link, somebody else's, or open to others."""
    with _translated(directory):
        found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Refused("keys.directory", f"{directory} is not a directory")
    _check(directory, found, "0700")


def read(path: Path, limit: int) -> bytes:
    """Return the content of a private file of at most ``limit`` bytes."""
    with _translated(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Refused("keys.file", f"{path} is not a regular file")
            _check(path, found, "0600")
            data = file.read(limit + 1)
    if len(data) > limit:
        raise Refused("keys.file", f"{path} is longer than {limit} bytes")
    return data


def _check(path: Path, found: os.stat_result, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise Refused(
            "keys.owner",
            f"{path} belongs to user id {found.st_uid}, not to this process's ({os.geteuid()}); run this as its owner",
        )
    if found.st_mode & 0o077:
        raise Refused(
            "keys.mode",
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); if nobody has read it:"
            f" chmod {mode} {path}, otherwise make new keys",
        )


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet; durable when this returns."""
    with _translated(path):
        _write(path, data)
        sync_directory(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put a file in the place of another one, atomically (rename(2)); durable when this returns."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    with _translated(path):
        try:
            _write(temporary, data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(path.parent)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sweep(directory: Path, ours: re.Pattern[str], keep: set[str]) -> None:
    """Remove files whose whole name ``ours`` matches and ``keep`` lacks: what a crash left, what nothing needs."""
    with _translated(directory):
        for path in directory.iterdir():
            if ours.fullmatch(path.name) and path.name not in keep:
                path.unlink()
        sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Make a directory's entries durable (fsync(2): a file's own fsync does not)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the directory's lock (flock(2)): one writer or any number of readers. It goes when its process does."""
    path = directory / LOCK
    with _translated(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with _translated(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
