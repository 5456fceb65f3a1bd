"""The frames of a lane: bytes in, events out, never a socket and never a clock (sans-I/O).

A lane carries one byte stream at a time. A frame is a 5-byte header (type, payload length as unsigned 32-bit
big-endian) and the payload:

======= ====== =============================== =====================================================
name    type   payload                         meaning
======= ====== =============================== =====================================================
OPEN    1      target name, 1 to 64 bytes      a stream to that target begins
DATA    2      1 to ``MAX_DATA`` bytes         bytes of the stream
EOF     3      none                            the sender will send no more bytes of this stream
RESET   4      reason, 0 to 64 bytes           the sender gives the stream up, in both directions
DONE    5      none                            the sender has finished with the stream; lane reusable
======= ====== =============================== =====================================================

Anything else is :class:`~jupyter_hpcsec.errors.Malformed` and ends the lane: a peer is not asked to guess.
"""

import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from jupyter_hpcsec.errors import Malformed

HEADER = 5
"""Bytes of a frame header."""
MAX_DATA = 1 << 20
"""Bytes of payload in one DATA frame, at most."""
MAX_TEXT = 64
"""Bytes of a target name or of a reason, at most."""

_TARGET = re.compile(r"server|hub-api|app/[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_REASON = re.compile(r"[a-z0-9 .-]{0,64}")


class Type(IntEnum):
    """Frame types, as on the wire."""

    OPEN = 1
    DATA = 2
    EOF = 3
    RESET = 4
    DONE = 5


_HEADER = struct.Struct(">BI")
_KINDS = {int(kind): kind for kind in Type}
_LENGTHS = {
    Type.OPEN: (1, MAX_TEXT),
    Type.DATA: (1, MAX_DATA),
    Type.EOF: (0, 0),
    Type.RESET: (0, MAX_TEXT),
    Type.DONE: (0, 0),
}


class Open(NamedTuple):
    """The peer begins a stream to ``target``."""

    target: str


class Data(NamedTuple):
    """Bytes of the stream: a view into the caller's buffer, valid until the caller fills that buffer again."""

    view: memoryview


@dataclass(frozen=True, slots=True)
class Eof:
    """The peer sends no more bytes of this stream."""


class Reset(NamedTuple):
    """The peer gave the stream up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The peer has finished with the stream."""


Event = Open | Data | Eof | Reset | Done

_EOF, _DONE = Eof(), Done()

EOF_FRAME = bytes([Type.EOF, 0, 0, 0, 0])
DONE_FRAME = bytes([Type.DONE, 0, 0, 0, 0])
_DATA_TYPE = bytes([Type.DATA])


def check_target(name: str) -> str:
    """``name`` if it is on the fixed list of target names (never ``host:port``), else ``Malformed``."""
    if len(name) > MAX_TEXT or not _TARGET.fullmatch(name):
        raise Malformed(f"{name!r} is not a tunnel target; targets are 'server', 'hub-api' and 'app/<name>'")
    return name


def open_frame(target: str) -> bytes:
    """An OPEN frame for a checked target name."""
    payload = check_target(target).encode("ascii")
    return bytes([Type.OPEN, *len(payload).to_bytes(4, "big")]) + payload


def reset_frame(reason: str) -> bytes:
    """A RESET frame; a reason outside ``[a-z0-9 .-]{0,64}`` is a BUG of the caller."""
    if not _REASON.fullmatch(reason):
        raise ValueError(f"BUG: reset reason {reason!r} can't be sent")
    payload = reason.encode("ascii")
    return bytes([Type.RESET, *len(payload).to_bytes(4, "big")]) + payload


def data_header(length: int) -> bytes:
    """The header of a DATA frame of ``length`` payload bytes."""
    return _DATA_TYPE + length.to_bytes(4, "big")


@dataclass(slots=True)
class FrameDecoder:
    """Turns received bytes into events. DATA passes as views without a copy; the other payloads are small and kept."""

    _data_left: int = 0
    _partial: bytearray = field(default_factory=bytearray)

    def receive(self, view: memoryview, most: int) -> tuple[list[Event], int]:
        """The first ``most`` events that ``view`` completes, in order, and how many of its bytes they took.

        ``Malformed`` at the first byte that no frame can have.
        """
        events: list[Event] = []
        position, end = 0, len(view)
        while position < end and len(events) < most:
            if self._data_left:
                size = min(self._data_left, end - position)
                events.append(Data(view[position : position + size]))
                self._data_left -= size
                position += size
                continue
            if not self._partial and end - position >= HEADER:
                kind, length = _checked_header(*_HEADER.unpack_from(view, position))
                if kind is Type.DATA:
                    self._data_left = length
                    position += HEADER
                    continue
                if length <= end - position - HEADER:
                    position += HEADER + length
                    events.append(_small_event(kind, bytes(view[position - length : position])))
                    continue
            wanted = self._bytes_wanted()
            taken = view[position : position + wanted - len(self._partial)]
            self._partial += taken
            position += len(taken)
            if len(self._partial) == wanted:
                self._complete(events)
        return events, position

    def _bytes_wanted(self) -> int:
        """Bytes of header, or of header and small payload, that ``_partial`` has when it is complete."""
        if len(self._partial) < HEADER:
            return HEADER
        return HEADER + int.from_bytes(self._partial[1:HEADER], "big")

    def _complete(self, events: list[Event]) -> None:
        kind, length = _checked_header(*_HEADER.unpack_from(self._partial))
        if kind is Type.DATA:
            self._data_left = length
        elif len(self._partial) == HEADER and length:
            return  # the small payload is still to come
        else:
            events.append(_small_event(kind, bytes(self._partial[HEADER:])))
        self._partial.clear()


def _checked_header(number: int, length: int) -> tuple[Type, int]:
    kind = _KINDS.get(number)
    if kind is None:
        raise Malformed(f"frame type {number} is not one of 1 to 5")
    least, most = _LENGTHS[kind]
    if not least <= length <= most:
        raise Malformed(f"a frame {kind.name} of {length} bytes is outside {least} to {most}")
    return kind, length


def _small_event(kind: Type, payload: bytes) -> Event:
    if kind is Type.EOF:
        return _EOF
    if kind is Type.DONE:
        return _DONE
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError as exc:
        raise Malformed(f"a frame {kind.name} holds bytes that are not ASCII") from exc
    if kind is Type.OPEN:
        return Open(check_target(text))
    if not _REASON.fullmatch(text):
        raise Malformed("the reason of a RESET holds characters that no reason has")
    return Reset(text)
