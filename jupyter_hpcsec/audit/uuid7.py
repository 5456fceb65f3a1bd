"""UUID version 7 (RFC 9562, section 5.7): sortable by the millisecond that they were made in.

They name events and order nothing that matters: the record's order is its leaves', and each producer numbers its own.
"""

import uuid
from collections.abc import Callable

STEP_LIMIT_MS = 10_000
"""A clock that goes back less than this is waited out (RFC 9562, section 6.2); one that goes further is followed."""


class Uuid7:
    """Makes them in rising order. ``random(n)`` gives n random bytes. Not for several threads at once."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._last_ms = 0
        self._counter = 0

    def make(self, now_ns: int) -> str:
        """One for this Unix time in nanoseconds, in the usual form with hyphens."""
        ms = now_ns // 1_000_000
        noise = int.from_bytes(self._random(10))
        if self._last_ms - STEP_LIMIT_MS < ms <= self._last_ms:
            ms = self._last_ms
            self._counter += 1
            if self._counter > 0xFFF:  # section 6.2: an overflowing counter borrows from the clock
                ms, self._counter = ms + 1, 0
        else:
            self._counter = noise >> 69 & 0x7FF  # leaves its top bit free, so that it seldom overflows
        self._last_ms = ms
        value = (ms & (1 << 48) - 1) << 80 | 7 << 76 | self._counter << 64 | 0b10 << 62 | noise & (1 << 62) - 1
        return str(uuid.UUID(int=value))
