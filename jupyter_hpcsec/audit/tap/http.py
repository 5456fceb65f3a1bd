"""Where HTTP/1.1 messages begin and end in a stream of bytes: one follower per direction. Pure.

Bodies are counted, not copied: of what passes at full speed only the lengths are looked at. Who is asked about a head
says how its body ends; who wants a body's bytes gets views of them.
"""

import re
from enum import Enum
from typing import Protocol

from jupyter_hpcsec.audit.tap.head import HEAD_LIMIT, Body, malformed

_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,12}\r\n")
_CHUNK_LINE_LIMIT = 14
_HEAD_END = b"\r\n\r\n"


class Listener(Protocol):
    """Who is told of the messages of one direction."""

    def head(self, raw: bytes) -> tuple[Body, int]:
        """A whole head; how its body ends, and after how many bytes where that is known."""

    def body(self, view: memoryview) -> None:
        """Some bytes of the body, without what frames them. The view is valid during the call only."""

    def end(self) -> None:
        """The message is over."""

    def raw(self, view: memoryview) -> None:
        """Bytes after ``HttpFollower.leave``: they are HTTP no more."""


class _State(Enum):
    HEAD = 0
    LENGTH = 1
    CHUNK_LINE = 2
    CHUNK = 3
    CHUNK_END = 4
    LAST = 5
    CLOSE = 6
    RAW = 7


_AFTER = {
    Body.LENGTH: _State.LENGTH,
    Body.CHUNKED: _State.CHUNK_LINE,
    Body.CLOSE: _State.CLOSE,
}


class HttpFollower:
    """One direction of a stream. At most ``HEAD_LIMIT`` bytes are held, and only of a head that is not whole yet."""

    __slots__ = ("_held", "_left", "_listener", "_state")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._state = _State.HEAD
        self._held = bytearray()
        self._left = 0

    @property
    def is_between(self) -> bool:
        """Whether no message has begun that is not over."""
        return self._state is _State.HEAD and not self._held

    def leave(self) -> None:
        """HTTP is over on this stream: what follows is another protocol's (101, RFC 9110, 15.2.2)."""
        self._state = _State.RAW

    def feed(self, view: memoryview) -> None:
        """The next bytes. ``Refused`` under ``tap.http-malformed``."""
        while view:
            taken = self._step(view)
            view = view[taken:]

    def _step(self, view: memoryview) -> int:
        match self._state:
            case _State.LENGTH | _State.CHUNK:
                return self._count(view)
            case _State.HEAD:
                return self._head(view)
            case _State.CHUNK_LINE:
                return self._chunk_line(view)
            case _State.CHUNK_END:
                return self._expect(view, _State.CHUNK_LINE)
            case _State.LAST:
                return self._expect(view, _State.HEAD)
            case _State.CLOSE:
                self._listener.body(view)
            case _State.RAW:
                self._listener.raw(view)
        return len(view)

    def _count(self, view: memoryview) -> int:
        taken = min(self._left, len(view))
        self._left -= taken
        self._listener.body(view[:taken])
        if not self._left:
            if self._state is _State.CHUNK:
                self._state = _State.CHUNK_END
            else:
                self._over()
        return taken

    def _over(self) -> None:
        self._state = _State.HEAD
        self._listener.end()

    def _head(self, view: memoryview) -> int:
        before = len(self._held)
        self._held += view[: HEAD_LIMIT + 1 - before]
        end = self._held.find(_HEAD_END, max(0, before - 3))
        if end < 0 or end + 4 > HEAD_LIMIT:
            if len(self._held) > HEAD_LIMIT:
                raise malformed(f"a head has more than {HEAD_LIMIT} bytes")
            return len(self._held) - before
        raw = bytes(self._held[: end + 4])
        self._held = bytearray()
        body, self._left = self._listener.head(raw)
        if self._state is _State.HEAD:  # else the listener has left
            if body is Body.NONE:
                self._over()
            else:
                self._state = _AFTER[body]
        return len(raw) - before

    def _chunk_line(self, view: memoryview) -> int:
        before = len(self._held)
        self._held += view[: _CHUNK_LINE_LIMIT - before]
        end = self._held.find(b"\n")
        if end < 0:
            if len(self._held) >= _CHUNK_LINE_LIMIT:
                raise malformed("the size of a chunk is no plain number")
            return len(self._held) - before
        line = bytes(self._held[: end + 1])
        self._held = bytearray()
        if not _CHUNK.fullmatch(line):
            raise malformed("the size of a chunk is no plain number")
        self._left = int(line, 16)
        self._state = _State.CHUNK if self._left else _State.LAST
        return len(line) - before

    def _expect(self, view: memoryview, after: _State) -> int:
        """The line end behind a chunk, or the one that ends the body: trailers are not for a server like ours."""
        before = len(self._held)
        self._held += view[: 2 - before]
        taken = len(self._held) - before
        if not b"\r\n".startswith(self._held):
            raise malformed("a chunk does not end where it says")
        if len(self._held) == 2:
            self._held = bytearray()
            self._state = after
            if after is _State.HEAD:
                self._over()
        return taken
