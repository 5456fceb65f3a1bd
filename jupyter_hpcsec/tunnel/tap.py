"""What a lane asks of whoever watches its stream, and what it waits for. Values only: a lane knows no protocol."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

_DRAINED = 1 << 20
"""Bytes that are read, to be dropped, before the last words: a socket closed with bytes unread takes them back."""

LastWords = Callable[[bytes], bytes]
"""Given what the browser sent meanwhile, which nobody will read: what to answer. Asked at the moment when it is said,
since bytes may have come back until then."""
Verdict = asyncio.Future[LastWords | None]


class Tap(Protocol):
    """Watches one stream from its first byte on. Calls come from the event loop and must not block."""

    def from_browser(self, view: memoryview) -> Verdict | None:
        """Bytes that are about to be passed on, as the peer will get them; the view is valid during the call only.

        None lets them pass. A future lets them, and all that follows, wait: they pass when it gives None; else it gives
        the last words to the browser, and the stream is over. ``Refused`` when they must not pass: the lane is cut.
        """

    def from_server(self, view: memoryview) -> None:
        """Bytes that are being passed to the browser. ``Refused``: the lane is cut."""

    def closed(self) -> None:
        """The stream is over. Called once, and nothing after it."""


def say_last(plain: socket.socket, words: LastWords) -> None:
    """Answer in the peer's stead; who is gone misses nothing."""
    with contextlib.suppress(OSError):
        unread = bytearray()
        with contextlib.suppress(BlockingIOError):
            while len(unread) < _DRAINED and (data := plain.recv(65_536)):
                unread += data
        plain.send(words(bytes(unread)))
