"""The frame OPEN of a stream, which waits a moment for the stream's first bytes so that both leave as one record."""

import asyncio
from collections.abc import Callable

OPEN_DELAY_S = 0.002
"""How long OPEN waits for the first bytes of the stream to travel with it, at most."""


class Opening:
    """An OPEN that has not left yet; empty once it has."""

    __slots__ = ("_frame", "_timer")

    def __init__(self) -> None:
        self._frame = b""
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._frame)

    def set(self, frame: bytes) -> None:
        """This one waits."""
        self._frame = frame

    def wait(self, loop: asyncio.AbstractEventLoop, send: Callable[[], None]) -> None:
        """Call ``send`` unless the frame was taken before that."""
        if self._frame:
            self._timer = loop.call_later(OPEN_DELAY_S, send)

    def take(self) -> bytes:
        """The frame, which leaves now."""
        frame, self._frame = self._frame, b""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        return frame
