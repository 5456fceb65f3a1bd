"""Whether one side of a websocket stands between two messages (RFC 6455, 5.2), so that a word of ours fits in. Pure.

Only the heads of frames are looked at. It has no opinion on what is malformed: where it can't follow, it says no.
"""

FRAMES_LIMIT = 8192
"""Frames of one call that are followed: a flood of tiny ones must not hold up the other sessions."""
_MORE = {126: 2, 127: 8}
_CONTROL, _CLOSE = 0x8, 0x8


class Boundary:
    """The server's side; its frames are not masked. Holds at most one frame's head."""

    __slots__ = ("_head", "_is_lost", "_is_within", "_left")

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        self._is_within = self._is_lost = False

    @property
    def is_between(self) -> bool:
        """Whether a message may begin here: none is unfinished, and that side has not said its last word."""
        return not (self._is_lost or self._is_within or self._left or self._head)

    def feed(self, view: memoryview) -> None:
        """The next bytes."""
        for _ in range(FRAMES_LIMIT):
            skipped = min(self._left, len(view))
            self._left -= skipped
            view = view[skipped:]
            if not view or self._is_lost:
                return
            view = view[self._take_head(view) :]
        self._is_lost = self._is_lost or bool(view)

    def _take_head(self, view: memoryview) -> int:
        head = self._head
        taken = min(max(0, 2 - len(head)), len(view))
        head += view[:taken]
        if len(head) < 2:
            return taken
        size = 2 + _MORE.get(head[1] & 0x7F, 0)
        more = min(size - len(head), len(view) - taken)
        head += view[taken : taken + more]
        if len(head) == size:
            self._begin(bytes(head))
            head.clear()
        return taken + more

    def _begin(self, head: bytes) -> None:
        opcode, is_last = head[0] & 0x0F, bool(head[0] & 0x80)
        self._left = int.from_bytes(head[2:], "big") if len(head) > 2 else head[1] & 0x7F
        if head[1] & 0x80 or opcode == _CLOSE:
            self._is_lost = True
        elif not opcode & _CONTROL:
            self._is_within = not is_last
