"""Buffers for the load generator that are copied at full speed."""

import mmap

CHUNK = 256 * 1024
_OFFSET = 64


def aligned(size: int = CHUNK) -> memoryview:
    """A writable buffer that begins 64 bytes into a page.

    On several processors a copy whose destination is 1 to 31 bytes behind its source modulo 4096 is several times
    slower than any other (glibc bug 30994), and a ``bytearray`` begins at just such a place.
    """
    return memoryview(mmap.mmap(-1, size + 4096))[_OFFSET : _OFFSET + size]
