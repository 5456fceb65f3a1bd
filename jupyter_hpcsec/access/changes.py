"""Changes to files through the gate: each names its directory by a descriptor, so that it happens where it was decided.

The forms are those that Jupyter's file contents manager needs. Errors are ``Refused`` or OSError; what they mean for an
HTTP request is the caller's business.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from typing import IO, Any

from jupyter_hpcsec.access.gate import Gate
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import Right


@contextlib.contextmanager
def _directory(gate: Gate, real: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that holds ``real``, and the name in it."""
    above, name = os.path.split(real)
    held = gate.hold(above)
    try:
        yield held, name
    finally:
        os.close(held)


@contextlib.contextmanager
def writing(gate: Gate, path: str, *, text: bool, encoding: str | None, keep: bool) -> Iterator[IO[Any]]:
    """A file to write anew; with ``keep`` its old content comes back if that fails.

    As Jupyter does it: the old content waits beside it as ``.~name``, and the file itself stays the same one, with its
    owner, mode and links. Without leave to write beside it, it is written directly.
    """
    real = gate.require(path, Right.WRITE)
    with _directory(gate, real) as (directory, name):
        aside = f".~{name}"
        beside = os.path.join(os.path.dirname(real), aside)
        keeps = keep and gate.may(beside, Right.WRITE, follow=False) and _may_write_in(directory)
        kept = keeps and _keep(gate, real, directory, name, aside)
        try:
            descriptor = gate.open_regular(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        except BaseException:
            if kept:
                os.unlink(aside, dir_fd=directory)
            raise
        # Text files have Unix line ends, whatever the platform's are.
        file = os.fdopen(descriptor, "w" if text else "wb", encoding=encoding, newline="\n" if text else None)
        try:
            with file:
                yield file
                file.flush()
                if keep:
                    os.fsync(file.fileno())
        except BaseException:
            if kept:
                os.replace(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
            raise
        if kept:
            os.unlink(aside, dir_fd=directory)


def _may_write_in(directory: int) -> bool:
    return os.access(f"/proc/self/fd/{directory}", os.W_OK | os.X_OK)


def _keep(gate: Gate, real: str, directory: int, name: str, aside: str) -> bool:
    """Put the old content beside the file; false when there is none."""
    try:
        source = gate.open_regular(real, os.O_RDONLY)
    except FileNotFoundError:
        return False
    with os.fdopen(source, "rb") as old:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(aside, flags, 0o600, dir_fd=directory), "wb") as new:
            shutil.copyfileobj(old, new)
            _copy_facts(old.fileno(), new.fileno())
    return True


def append(gate: Gate, path: str, content: bytes) -> None:
    """Add to the end of a file; it is made when it is not there."""
    with os.fdopen(gate.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
        file.write(content)


def copy_file(gate: Gate, source: str, target: str) -> str:
    """Copy content, mode and times of one file; where it went, as ``shutil.copytree`` wants its copy function."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with (
        os.fdopen(gate.open_regular(source, os.O_RDONLY), "rb") as old,
        os.fdopen(gate.open_regular(target, writing), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
        new.flush()
        _copy_facts(old.fileno(), new.fileno())
    return target


def _copy_facts(source: int, target: int) -> None:
    """Mode and times; a file system that does not take them is no reason to fail."""
    facts = os.fstat(source)
    with contextlib.suppress(PermissionError, NotImplementedError):
        os.fchmod(target, stat.S_IMODE(facts.st_mode))
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def make_directory(gate: Gate, path: str) -> None:
    """Make one directory; FileExistsError when something is there."""
    with _directory(gate, gate.require(path, Right.WRITE)) as (directory, name):
        os.mkdir(name, dir_fd=directory)


def remove(gate: Gate, path: str) -> None:
    """Remove a file, a symbolic link itself, or a directory with all that is in it."""
    with _directory(gate, gate.require_whole(path)) as (directory, name):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


def move(gate: Gate, old: str, new: str) -> None:
    """Rename; to another file system, copy and remove."""
    source, target = gate.require_whole(old), gate.require_whole(new)
    with _directory(gate, source) as (from_directory, from_name), _directory(gate, target) as (to_directory, to_name):
        try:
            os.rename(from_name, to_name, src_dir_fd=from_directory, dst_dir_fd=to_directory)
        except OSError as error:
            # Landlock, too, says EXDEV, where a move would change what is allowed; the copy is then refused in turn.
            if error.errno != errno.EXDEV:
                raise
            shutil.move(source, target)


def copy_tree(gate: Gate, source: str, target: str) -> None:
    """Copy a directory with all that is in it, symbolic links as what they lead to; nothing is left out in silence."""
    real = gate.require(source, Right.READ)
    real_target = gate.require(target, Right.WRITE)
    for entry in gate.below(real):
        gate.require(entry.path, Right.READ)
    if is_below(real_target, real):
        raise OSError(errno.EINVAL, "a directory can't be copied into itself", source)

    def check(directory: str, _names: list[str]) -> list[str]:
        gate.require(directory, Right.READ)
        return []

    shutil.copytree(real, real_target, ignore=check, copy_function=lambda old, new: copy_file(gate, old, new))
