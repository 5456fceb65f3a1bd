"""Buffers: where copies are fast, used again, never more kept than a few, and no frame written over a payload."""

import ctypes
import mmap

import pytest

from jupyter_hpcsec.tunnel.buffers import (
    ALIGNMENT,
    CHUNK,
    HEADROOM,
    TAILROOM,
    BufferPool,
    aligned_buffer,
    put_before,
    put_behind,
)
from jupyter_hpcsec.tunnel.frames import DONE_FRAME, EOF_FRAME, MAX_DATA, data_header, open_frame


@pytest.mark.parametrize("size", [1, 4096, CHUNK, 300_001])
def test_a_buffer_begins_where_copies_are_fast(size: int) -> None:
    buffer = aligned_buffer(size)
    assert len(buffer) == size
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    assert address % mmap.PAGESIZE == ALIGNMENT


def test_the_longest_frames_fit_around_a_full_payload() -> None:
    longest = open_frame("app/" + "a" * 32) + data_header(CHUNK)
    assert len(longest) <= HEADROOM
    assert len(EOF_FRAME + DONE_FRAME) <= TAILROOM
    assert CHUNK <= MAX_DATA
    view = BufferPool().take()
    view[HEADROOM : HEADROOM + CHUNK] = b"p" * CHUNK
    start = put_before(view, HEADROOM, data_header(CHUNK))
    start = put_before(view, start, open_frame("server"))
    end = put_behind(view, put_behind(view, HEADROOM + CHUNK, EOF_FRAME), DONE_FRAME)
    expected = open_frame("server") + data_header(CHUNK) + b"p" * CHUNK + EOF_FRAME + DONE_FRAME
    assert bytes(view[start:end]) == expected


def test_buffers_are_used_again_and_few_are_kept() -> None:
    pool = BufferPool()
    first = pool.take()
    pool.give(first)
    assert pool.take() is first
    many = [pool.take() for _ in range(100)]
    assert len({id(each) for each in many}) == 100
    for each in many:
        pool.give(each)
    assert len(pool._free) == 16
