"""Buffers for bytes in flight: where copies are fast, used again, and none kept by what is idle."""

import mmap

from jupyter_hpcsec.tunnel.frames import HEADER

ALIGNMENT = 64
"""Bytes. A copy to an address 1 to 31 bytes behind its source's, modulo a page, runs at a fifth of the usual speed on
some processors (glibc bug 30994); ``bytearray`` gives such addresses, a page's start and this offset do not."""


def aligned_buffer(size: int) -> memoryview:
    """A writable buffer of ``size`` bytes that begins ``ALIGNMENT`` bytes behind a page's start."""
    return memoryview(mmap.mmap(-1, size + ALIGNMENT))[ALIGNMENT:]


RECORD = 16 * 1024
"""Bytes of plaintext in a full TLS record (RFC 8446, 5.1)."""
CHUNK = 16 * RECORD - HEADER
"""Bytes of payload gathered before a write: system calls and callbacks are then a small part of the cost, and with its
header a chunk is whole records."""
HEADROOM = 2 * ALIGNMENT
"""Space before the payload, for OPEN and the header of DATA; it keeps the payload where copies are fast."""
TAILROOM = 2 * HEADER
"""Space behind the payload, for EOF and DONE: a short answer and its end are one TLS record."""
_KEPT = 16
"""Buffers kept for the next bytes in flight."""


class BufferPool:
    """Buffers for all lanes of a process: the few that are in flight at once, used again."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """A buffer of ``HEADROOM + CHUNK + TAILROOM`` bytes, contents undefined."""
        return self._free.pop() if self._free else aligned_buffer(HEADROOM + CHUNK + TAILROOM)

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back; no slice of it may be used any more."""
        if len(self._free) < _KEPT:
            self._free.append(buffer)


def put_before(view: memoryview, start: int, frame: bytes) -> int:
    """Write ``frame`` so that it ends where ``start`` was; the new start."""
    view[start - len(frame) : start] = frame
    return start - len(frame)


def put_behind(view: memoryview, end: int, frame: bytes) -> int:
    """Write ``frame`` from ``end`` on; the new end."""
    view[end : end + len(frame)] = frame
    return end + len(frame)
