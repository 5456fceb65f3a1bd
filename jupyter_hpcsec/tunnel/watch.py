"""A lane's stream and its tap: bytes pass, wait for the tap's word, or end the stream."""

from typing import Protocol

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.tap import LastWords, Tap, Verdict


class Watched(Protocol):
    """What a watch does to its lane."""

    def go_on(self, data: bytes, *, is_end: bool) -> None:
        """Pass on what waited; ``is_end``: nothing follows."""

    def end_with(self, words: LastWords) -> None:
        """Say this to the browser; the stream is over."""

    def close(self, reason: str) -> None:
        """Cut the lane."""


def _nothing(unread: bytes) -> bytes:
    return b""


class Watch:
    """One stream's tap, and at most one chunk that waits for its word. Without a tap everything passes."""

    __slots__ = ("_lane", "_tap", "_waiting", "is_waiting")

    def __init__(self, lane: Watched, tap: Tap | None) -> None:
        self._lane, self._tap = lane, tap
        self._waiting: Verdict | None = None
        self.is_waiting = False

    def holds(self, view: memoryview, *, is_end: bool) -> bool:
        """Whether these bytes may not leave now: they wait, and will be passed on later, or never will."""
        if self._tap is None or not view:
            return False
        try:
            pending = self._tap.from_browser(view)
        except Refused as refusal:
            self._lane.close(refusal.reason)
            return True
        if pending is None:
            return False
        data, self._waiting, self.is_waiting = bytes(view), pending, True
        pending.add_done_callback(lambda done: self._decide(done, data, is_end))
        return True

    def _decide(self, done: Verdict, data: bytes, is_end: bool) -> None:
        if self._waiting is not done:
            return  # the stream is over meanwhile
        self._waiting, self.is_waiting = None, False
        words = _nothing if done.cancelled() or done.exception() else done.result()
        if words is None:
            self._lane.go_on(data, is_end=is_end)
        else:
            self._lane.end_with(words)

    def saw(self, view: memoryview) -> None:
        """Bytes that came back and were passed on."""
        if self._tap is not None:
            try:
                self._tap.from_server(view)
            except Refused as refusal:
                self._lane.close(refusal.reason)

    def over(self) -> None:
        """The stream is over; what waits never leaves."""
        self._waiting, self.is_waiting = None, False
        if self._tap is not None:
            tap, self._tap = self._tap, None
            tap.closed()
