"""Where a node's events wait until the gateway has them: a file of fixed size, in the order of their numbers.

The file has no name (``O_TMPFILE``, open(2)): nothing inside the session, and nobody of the same user, can open it,
alter it or remove it, and nothing is left of it when the agent ends. It is not synced, since nobody could read it after
a crash: an agent that was killed comes back neither with its key nor with its numbers. It is allocated in full at the
start, so that a disk that fills up later costs no event.
"""

import contextlib
import os
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

SPOOL_BYTES = 4 << 20
SPOOL_EVENTS = 16_384


class Spool:
    """A queue of records in an open file of ``size`` bytes; ``most`` records at once. It closes ``descriptor``."""

    def __init__(self, descriptor: int, size: int = SPOOL_BYTES, most: int = SPOOL_EVENTS) -> None:
        self._file, self._size, self._most = descriptor, size, most
        self._records: deque[tuple[int, int, int]] = deque()  # (number, offset, length)
        self._end = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def is_crowded(self) -> bool:
        """Half of the room is taken."""
        waits = self._end - self._records[0][1] if self._records else 0
        return 2 * len(self._records) >= self._most or 2 * waits >= self._size

    def append(self, number: int, record: bytes) -> bool:
        """Keep a record under a number that is larger than all before; False, and nothing kept, without room."""
        if len(self._records) >= self._most:
            return False
        if self._end + len(record) > self._size:
            self._move_to_begin()
            if self._end + len(record) > self._size:
                return False
        if os.pwrite(self._file, record, self._end) != len(record):
            return False
        self._records.append((number, self._end, len(record)))
        self._end += len(record)
        return True

    def first(self, count: int, size: int) -> list[bytes]:
        """The first records: ``count`` of them and ``size`` bytes at most, and one in any case."""
        found: list[bytes] = []
        for _, offset, length in self._records:
            size -= length
            if found and (size < 0 or len(found) >= count):
                break
            found.append(os.pread(self._file, length, offset))
        return found

    def drop(self, number: int) -> None:
        """Forget the records up to this number."""
        while self._records and self._records[0][0] <= number:
            self._records.popleft()
        if not self._records:
            self._end = 0

    def close(self) -> None:
        """Give the file up."""
        self._records.clear()
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _move_to_begin(self) -> None:
        if not self._records:
            self._end = 0
            return
        begin = self._records[0][1]
        if begin == 0:
            return
        live = os.pread(self._file, self._end - begin, begin)
        os.pwrite(self._file, live, 0)
        self._records = deque((number, offset - begin, length) for number, offset, length in self._records)
        self._end -= begin


def open_spool(candidates: Iterable[Path], size: int = SPOOL_BYTES) -> Spool:
    """A spool in the first directory that has room for it; in memory, of the same size, where none has."""
    for directory in candidates:
        try:
            descriptor = _nameless(directory)
        except OSError:
            continue
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            continue
        return Spool(descriptor, size)
    return Spool(os.memfd_create("hpcsec-spool", os.MFD_CLOEXEC), size)


def _nameless(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system that has no such files: one whose name is gone at once
        descriptor, name = tempfile.mkstemp(dir=directory)
        os.unlink(name)  # noqa: PTH108 - the name is text already
        return descriptor
