"""Which frame may follow which: the state of the one stream on a lane, as a table (no I/O, no clock).

Each side of a stream goes IDLE -> OPEN -> CLOSED -> IDLE: open with OPEN (one frame opens both sides), closed with its
own EOF or RESET, idle again with its own DONE. The dialling side of a fresh lane is NEW: its first frame is DONE where
the lane is there for the peer's streams, or OPEN where it was dialled for one stream of its own. A side says DONE only
after both sides are closed, so that a lane whose two sides are idle holds no byte of the old stream and can carry the
next one.
"""

from dataclasses import dataclass
from enum import IntEnum

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel.frames import Type


class Side(IntEnum):
    """Where one side of the stream is."""

    NEW = 0
    IDLE = 1
    OPEN = 2
    CLOSED = 3


# (state of the sender, state of the other side, frame) -> (new state of the sender, new state of the other side)
_TABLE: dict[tuple[Side, Side, Type], tuple[Side, Side]] = {
    (Side.NEW, Side.IDLE, Type.DONE): (Side.IDLE, Side.IDLE),
    (Side.NEW, Side.IDLE, Type.OPEN): (Side.OPEN, Side.OPEN),
    (Side.IDLE, Side.IDLE, Type.OPEN): (Side.OPEN, Side.OPEN),
    (Side.CLOSED, Side.CLOSED, Type.DONE): (Side.IDLE, Side.CLOSED),
    (Side.CLOSED, Side.IDLE, Type.DONE): (Side.IDLE, Side.IDLE),
}
for _other in (Side.OPEN, Side.CLOSED):
    _TABLE[Side.OPEN, _other, Type.DATA] = (Side.OPEN, _other)
    _TABLE[Side.OPEN, _other, Type.EOF] = (Side.CLOSED, _other)
    _TABLE[Side.OPEN, _other, Type.RESET] = (Side.CLOSED, _other)
# A reader that goes away after its own EOF says so with RESET; it may cross the other side's EOF and DONE on the way.
for _other in Side:
    _TABLE[Side.CLOSED, _other, Type.RESET] = (Side.CLOSED, _other)


@dataclass(slots=True)
class StreamState:
    """The two sides of a lane's stream, as one end sees them."""

    local: Side = Side.IDLE
    remote: Side = Side.IDLE

    @property
    def is_idle(self) -> bool:
        """Whether the lane carries nothing and may open a stream."""
        return self.local is Side.IDLE and self.remote is Side.IDLE

    @property
    def is_over(self) -> bool:
        """Whether no more bytes of the stream can pass in either direction."""
        return self.local is not Side.OPEN and self.remote is not Side.OPEN

    @property
    def may_say_done(self) -> bool:
        """Whether everything of this stream is over but this end's DONE."""
        return self.local is Side.CLOSED and self.remote is not Side.OPEN

    def send(self, kind: Type) -> None:
        """Note a frame that this end sends; one that the table lacks is a BUG here."""
        try:
            self.local, self.remote = _TABLE[self.local, self.remote, kind]
        except KeyError as exc:
            raise ValueError(f"BUG: {kind.name} sent while {self.local.name}/{self.remote.name}") from exc

    def receive(self, kind: Type) -> None:
        """Note a frame of the peer; ``Malformed`` for one that can't follow."""
        try:
            self.remote, self.local = _TABLE[self.remote, self.local, kind]
        except KeyError as exc:
            raise Malformed(
                f"a frame {kind.name} can't follow while the stream is {self.remote.name}/{self.local.name}"
            ) from exc
