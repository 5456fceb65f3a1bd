"""What the spawn page is told while a server starts: a list that grows, read by any number of pages, never waited for.

No I/O but the waiting of readers. A writer never blocks and a slow reader costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator

EVENT_LIMIT = 200
"""Events kept. A job that waits for days changes its queue position often; the page needs the latest ones."""
MESSAGE_LIMIT = 300


def printable(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """One bounded line of printable characters, for words that come from a scheduler or a job."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 2]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class ProgressFeed:
    """Messages of one start. ``message`` is plain text: JupyterHub's page sets it as text, not as HTML."""

    def __init__(self) -> None:
        self._events: list[dict[str, str | int]] = []
        self._dropped = 0
        self._closed = False
        self._changed = asyncio.Event()

    def post(self, message: str, percent: int) -> None:
        """Add one message; the same message twice in a row is one. Progress never goes back."""
        if self._closed:
            return
        event: dict[str, str | int] = {"message": printable(message), "progress": max(percent, self.percent)}
        if self._events and self._events[-1]["message"] == event["message"]:
            return
        self._events.append(event)
        if len(self._events) > EVENT_LIMIT:
            del self._events[0]
            self._dropped += 1
        self._wake()

    @property
    def percent(self) -> int:
        """The progress reached so far, 0..100."""
        return int(self._events[-1]["progress"]) if self._events else 0

    @property
    def last(self) -> str:
        """The latest message; empty when there is none."""
        return str(self._events[-1]["message"]) if self._events else ""

    def close(self) -> None:
        """End every reader after the last message."""
        self._closed = True
        self._wake()

    @property
    def is_closed(self) -> bool:
        """Whether the last message was posted."""
        return self._closed

    async def follow(self) -> AsyncIterator[dict[str, str | int]]:
        """All events so far, then each new one, until the feed is closed."""
        seen = 0
        while True:
            changed = self._changed
            while seen < self._dropped + len(self._events):
                seen = max(seen, self._dropped)
                event = self._events[seen - self._dropped]
                seen += 1
                yield dict(event)
            if self._closed:
                return
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
