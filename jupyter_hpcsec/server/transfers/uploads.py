"""Uploads on disk: bytes grow in a hidden, private file beside the target, and get its name when the whole is right.

Each step opens the directory where the policy decided on it, and the partial file in it by its own identity: no link on
the way, no other file in its place (``access.gate``). All calls block; the caller has them run in threads, and lets one
at a time work on an upload.

What an upload promises:

1. nothing is made before the target is allowed, free (or named by its entity tag to be replaced) and fits;
2. what counts as arrived is on disk, in order, and is what its checksum says;
3. the target's name goes to the partial file only when the SHA-256 of what lies in it, read back from disk, is the one
   that the sender computed; else nothing is left of it;
4. what is not finished is removed ``LIFETIME_S`` after its last piece.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from jupyter_hpcsec.access.etag import etag_of
from jupyter_hpcsec.access.gate import Gate
from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.errors import HpcsecError, Malformed
from jupyter_hpcsec.server.transfers.kept import OPEN_LIMIT, Kept, Notes

PREFIX = ".hpcsec-upload-"
LIFETIME_S = 7 * 86_400.0
READ_SIZE = 2**20
_KEEP_SIZE = 1
_UNSUPPORTED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EMLINK))
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_libc = ctypes.CDLL(None, use_errno=True)


class Why(Enum):
    """Why an upload could not go on."""

    EXISTS = "exists"
    CHANGED = "changed"
    GONE = "gone"
    FULL = "full"
    MANY = "many"
    DIFFERS = "differs"
    NOT_A_FILE = "not a file"


class Failed(HpcsecError):
    """An upload can't begin or go on; ``etag`` is that of the file which is in its way."""

    def __init__(self, why: Why, reason: str, etag: str = "") -> None:
        self.why, self.etag = why, etag
        super().__init__(reason)


@dataclass
class _Hashed:
    """The SHA-256 of a partial file's beginning."""

    upto: int = 0
    state: "hashlib._Hash" = field(default_factory=hashlib.sha256)


@dataclass
class Uploads:
    """All uploads of this server. ``gate`` gives the gate of the moment."""

    gate: Callable[[], Gate]
    notes: Notes
    clock: Callable[[], float] = time.time
    _hashed: dict[str, _Hashed] = field(default_factory=dict)

    def create(self, path: str, shown: str, length: int, replaces: str) -> Kept:
        """Begin; ``path`` is absolute, ``shown`` how the user calls it. ``Refused``, ``Failed`` or OSError."""
        gate = self.gate()
        real = gate.require(path, Right.WRITE, shown=shown)
        above, name = os.path.split(real)
        upload = secrets.token_hex(16)
        gate.require(
            os.path.join(above, PREFIX + upload), Right.WRITE, follow=False, shown=os.path.dirname(shown) or "/"
        )
        self.sweep()
        if sum(1 for _ in self.notes.all()) >= OPEN_LIMIT:
            raise Failed(Why.MANY, f"{OPEN_LIMIT} uploads are not finished: finish or cancel some of them first.")
        with _holding(gate, above) as held:
            _check_target(held, name, shown, replaces)
            _check_room(held, length, shown)
            descriptor = os.open(PREFIX + upload, _CREATE, 0o600, dir_fd=held)
            try:
                _reserve(descriptor, length, shown)
                facts = os.fstat(descriptor)
                kept = Kept(
                    id=upload, directory=os.fsencode(above), name=os.fsencode(name), device=facts.st_dev,
                    inode=facts.st_ino, length=length, offset=0, replaces=replaces, touched=self.clock(),
                )  # fmt: skip
                self.notes.write(kept)
            except BaseException:
                os.unlink(PREFIX + upload, dir_fd=held)
                raise
            finally:
                os.close(descriptor)
        return kept

    def find(self, upload: str, path: str, shown: str) -> Kept:
        """An upload of this user that is for this path; ``Failed`` where there is none."""
        try:
            kept = self.notes.read(upload)
        except (FileNotFoundError, Malformed):
            raise _gone() from None
        real = self.gate().require(path, Right.WRITE, shown=shown)
        if os.fsencode(real) != os.path.join(kept.directory, kept.name):
            raise _gone()
        with self._partial(kept):
            return kept

    def write(self, kept: Kept, offset: int, data: bytes | bytearray) -> None:
        """Put bytes behind what has arrived; they count when ``arrived`` says so."""
        if offset < kept.offset or offset + len(data) > kept.length:
            raise AssertionError("BUG: a piece lies outside of its upload")
        with self._partial(kept) as (descriptor, _):
            try:
                view = memoryview(data)
                while view:
                    done = os.pwrite(descriptor, view, offset)
                    offset, view = offset + done, view[done:]
            except OSError as error:
                raise _translated(error) from error

    def arrived(self, kept: Kept, offset: int) -> Kept:
        """Bytes up to ``offset`` are whole, and on disk from here on."""
        with self._partial(kept) as (descriptor, _):
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                raise _translated(error) from error
        now = msgspec.structs.replace(kept, offset=offset, touched=self.clock())
        self.notes.write(now)
        return now

    def hash_on(self, kept: Kept, most: int = 2**63) -> None:
        """Read and hash what has arrived and is not hashed yet, at most so many bytes of it."""
        hashed = self._hashed.setdefault(kept.id, _Hashed())
        stop = min(kept.offset, hashed.upto + most)
        with self._partial(kept) as (descriptor, _):
            while hashed.upto < stop:
                data = os.pread(descriptor, min(READ_SIZE, stop - hashed.upto), hashed.upto)
                if not data:
                    raise _gone()
                hashed.state.update(data)
                hashed.upto += len(data)

    def finish(self, kept: Kept, digest: bytes) -> tuple[str, os.stat_result]:
        """Give the file its name if its SHA-256 is ``digest``: (path, facts). ``Failed`` else, and nothing is left."""
        if kept.offset != kept.length:
            raise AssertionError("BUG: an upload is to be finished that is not whole")
        self.hash_on(kept)
        if self._hashed[kept.id].state.digest() != digest:
            self.drop(kept)
            raise Failed(Why.DIFFERS, "What arrived is not what was sent: SHA-256 differs. Nothing of it was kept.")
        with self._partial(kept) as (descriptor, held):
            name = os.fsdecode(kept.name)
            _publish(descriptor, held, PREFIX + kept.id, name, kept.replaces)
            facts = os.fstat(descriptor)
        self.notes.forget(kept.id)
        self._hashed.pop(kept.id, None)
        return os.path.join(os.fsdecode(kept.directory), name), facts

    def drop(self, kept: Kept) -> None:
        """Remove what there is of an upload."""
        with contextlib.suppress(Failed, OSError, HpcsecError), self._partial(kept) as (_, held):
            os.unlink(PREFIX + kept.id, dir_fd=held)
        self.notes.forget(kept.id)
        self._hashed.pop(kept.id, None)

    def expires(self, kept: Kept) -> float:
        """When it is removed unless something arrives. Unix seconds."""
        return kept.touched + LIFETIME_S

    def sweep(self) -> None:
        """Remove what has expired, and forget what is gone."""
        for kept in self.notes.all():
            if self.expires(kept) <= self.clock():
                self.drop(kept)
            with contextlib.suppress(HpcsecError, OSError), self._partial(kept):
                continue

    @contextlib.contextmanager
    def _partial(self, kept: Kept) -> Iterator[tuple[int, int]]:
        """Descriptors of the partial file and of its directory."""
        gate = self.gate()
        directory = os.fsdecode(kept.directory)
        gate.require(os.path.join(directory, os.fsdecode(kept.name)), Right.WRITE, follow=False)
        try:
            with _holding(gate, directory) as held:
                descriptor = os.open(PREFIX + kept.id, _OPEN, dir_fd=held)
                try:
                    facts = os.fstat(descriptor)
                    same = (facts.st_dev, facts.st_ino, facts.st_uid) == (kept.device, kept.inode, os.geteuid())
                    if not same or not stat.S_ISREG(facts.st_mode):
                        raise _gone()
                    yield descriptor, held
                finally:
                    os.close(descriptor)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                self.notes.forget(kept.id)
                raise _gone() from error
            raise


_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _gone() -> Failed:
    return Failed(Why.GONE, "There is no such upload: it is finished, was cancelled or has expired.")


def _translated(error: OSError) -> Exception:
    if error.errno in _FULL:
        return Failed(Why.FULL, "The disk is full, or your quota is used up. Make room, then resume.")
    return error


@contextlib.contextmanager
def _holding(gate: Gate, directory: str) -> Iterator[int]:
    held = gate.hold(directory)
    try:
        yield held
    finally:
        os.close(held)


def _facts(held: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=held, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_target(held: int, name: str, shown: str, replaces: str) -> None:
    """Whether the name is free, or holds the very file that the user said may be replaced."""
    facts = _facts(held, name)
    if facts is None:
        if replaces:
            raise Failed(Why.CHANGED, f"{shown} is not there any more.")
        return
    if not stat.S_ISREG(facts.st_mode):
        raise Failed(Why.NOT_A_FILE, f"{shown} is there and is not a file.")
    if not replaces:
        raise Failed(Why.EXISTS, f"{shown} is there already.", etag_of(facts))
    if replaces != etag_of(facts):
        raise Failed(Why.CHANGED, f"{shown} has changed meanwhile.", etag_of(facts))
    if not os.access(name, os.W_OK, dir_fd=held):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def _check_room(held: int, length: int, shown: str) -> None:
    room = os.fstatvfs(held)
    if length > room.f_bavail * room.f_frsize:
        free = room.f_bavail * room.f_frsize / 2**30
        raise Failed(Why.FULL, f"{shown} does not fit: its file system has {free:.1f} GiB left.")


def _reserve(descriptor: int, length: int, shown: str) -> None:
    """Take the room now (fallocate(2), without changing the size), where the file system can."""
    if not length:
        return
    if _libc.fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(length)) == 0:
        return
    number = ctypes.get_errno()
    if number in _FULL:
        raise Failed(Why.FULL, f"{shown} does not fit: quota or file system have less than {length} bytes left.")
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), shown)


def _publish(descriptor: int, held: int, partial: str, name: str, replaces: str) -> None:
    """Give the very file behind ``descriptor`` its name, and see that it has it."""
    if replaces:
        before = _facts(held, name)
        if before is None or etag_of(before) != replaces:
            raise Failed(Why.CHANGED, "The file that was to be replaced has changed meanwhile.")
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)
        os.fsync(descriptor)
        _check_same(descriptor, held, partial)
        os.replace(partial, name, src_dir_fd=held, dst_dir_fd=held)
    else:
        os.fchmod(descriptor, 0o666 & ~_umask())
        os.fsync(descriptor)
        _name(descriptor, held, partial, name)
    _check_same(descriptor, held, name)
    with contextlib.suppress(OSError):  # not all file systems do this to a directory
        above = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def _check_same(descriptor: int, held: int, name: str) -> None:
    found = _facts(held, name)
    if found is None or not os.path.samestat(found, os.fstat(descriptor)):
        raise Failed(Why.CHANGED, "Somebody put another file in the place of this one.")


def _name(descriptor: int, held: int, partial: str, name: str) -> None:
    """Link what is open to a name that nobody has; by its descriptor, so that it can be no other file."""
    try:
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=held)
    except FileExistsError as error:
        found = _facts(held, name)
        if found is None or not os.path.samestat(found, os.fstat(descriptor)):  # else it was cut right here before
            raise Failed(Why.EXISTS, "Meanwhile there is a file of that name.") from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.EXDEV}:
            raise
        if _facts(held, name) is not None:
            raise Failed(Why.EXISTS, "Meanwhile there is a file of that name.") from error
        _check_same(descriptor, held, partial)
        os.rename(partial, name, src_dir_fd=held, dst_dir_fd=held)
        return
    os.unlink(partial, dir_fd=held)


def _umask() -> int:
    """The process's mask, read where reading does not change it."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next((int(line.split()[1], 8) for line in file if line.startswith("Umask:")), 0o077)
