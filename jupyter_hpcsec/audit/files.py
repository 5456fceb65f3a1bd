"""The record's files: private, durable when a call returns, written so that a crash leaves old or new.

Nothing follows a symbolic link. What is found with the wrong owner or mode is refused, not mended. Errors of the file
system stay ``OSError`` in the calls that the record makes all the time: they mean "not now", and the caller says so.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from jupyter_hpcsec.errors import Refused, Unavailable

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """``OSError`` becomes ``Unavailable`` with the path and what the system said."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from error


def make_directory(path: Path) -> None:
    """Make the directory (0700) where there is none, then check owner and mode."""
    with translated(path):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            sync_directory(path.parent)
        found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Refused("audit.directory", f"{path} is not a directory")
    check(path, found, "0700")


def check(path: Path, found: os.stat_result, mode: str) -> None:
    """Refuse what is somebody else's or open to others."""
    if found.st_uid != os.geteuid():
        raise Refused(
            "audit.owner",
            f"{path} belongs to user id {found.st_uid}, not to this process's ({os.geteuid()}); run this as its owner",
        )
    if found.st_mode & 0o077:
        raise Refused(
            "audit.mode",
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); find out who used that, then"
            f" chmod {mode} {path}",
        )


def read(path: Path, limit: int) -> bytes:
    """A regular file's content, at most ``limit`` bytes. ``OSError`` as the system gives it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("audit.file", f"{path} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Refused("audit.file", f"{path} is longer than {limit} bytes")
    return data


def read_private(path: Path, limit: int) -> bytes:
    """The same of a file that has to be ours alone."""
    with translated(path):
        data = read(path, limit)
        check(path, path.lstat(), "0600")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a file (0600) that must not exist yet."""
    descriptor = os.open(path, _NEW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    sync_directory(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put a file (0600) in the place of another one, atomically."""
    replace_all({path: data})


def replace_all(contents: dict[Path, bytes]) -> None:
    """The same for many files: one pass of writes, one of fsync, then their names; none has half a content."""
    made: list[tuple[int, Path, Path]] = []
    try:
        for path, data in contents.items():
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
            descriptor = os.open(temporary, _NEW, 0o600)
            made.append((descriptor, temporary, path))
            write_all(descriptor, data)
        for descriptor, _, _ in made:
            os.fsync(descriptor)
        for _, temporary, path in made:
            temporary.replace(path)
    except BaseException:
        for _, temporary, _ in made:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise
    finally:
        for descriptor, _, _ in made:
            os.close(descriptor)
    sync_directories(path.parent for path in contents)


def append(path: Path, data: bytes) -> None:
    """Append to a file (0600), made where there is none; durable when this returns."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)


def replace_over(path: Path, data: bytes) -> None:
    """Replace a file atomically, then overwrite the old content where it stood."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        replace(path, data)
        write_all(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes, at: int | None = None) -> None:
    """Write all of ``data``, at an offset if given; a short write (on a disk that fills up) goes on until an error."""
    view = memoryview(data)
    while view:
        done = os.write(descriptor, view) if at is None else os.pwrite(descriptor, view, at)
        view, at = view[done:], None if at is None else at + done


def make_parents(root: Path, directory: Path) -> None:
    """Make ``directory`` below ``root``, durably."""
    missing = []
    while directory != root and not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync_directory(each.parent)


def sync_directory(directory: Path) -> None:
    """Make a directory's entries durable (fsync(2): a file's own fsync does not)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directories(directories: Iterable[Path]) -> None:
    """Each of them once."""
    for directory in set(directories):
        sync_directory(directory)


class Lock:
    """The lock of the one writer (flock(2)): it goes when its process does."""

    def __init__(self, path: Path) -> None:
        with translated(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise Refused(
                "audit.locked",
                f"another process writes the record at {path.parent}: a gateway that runs; stop it first",
            ) from error

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)


def is_locked(path: Path) -> bool:
    """Whether a writer lives. Takes nothing."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
