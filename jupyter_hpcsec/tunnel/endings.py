"""Which sessions ended, in their order, for a hub that waits for it: it has their jobs to cancel.

One list for all sessions: a hub asks once for thousands of them. It is no memory: who asks with a number of an earlier
gateway, or one that is too old, learns that, and looks at its sessions one by one.
"""

import asyncio
import secrets
from collections import deque
from typing import Any

from jupyter_hpcsec.tunnel.session import By

KEPT = 4096
"""Endings remembered: far more than end between two questions of one hub."""


class Endings:
    """``boot`` names this gateway's start: numbers count from 1 within it."""

    def __init__(self, kept: int = KEPT) -> None:
        self.boot = secrets.token_hex(8)
        self._kept: deque[dict[str, str]] = deque(maxlen=kept)
        self._last = 0
        self._changed = asyncio.Event()

    def add(self, session_id: str, reason: str, by: By) -> None:
        """A session ended now."""
        self._kept.append({"session": session_id, "reason": reason, "by": by})
        self._last += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def by(self, session_id: str) -> str:
        """Who ended a session; empty where that is not remembered."""
        return next((each["by"] for each in reversed(self._kept) if each["session"] == session_id), "")

    async def after(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """What ended after number ``after`` of ``boot``: at once if there is something, else as soon as there is, or
        nothing after ``timeout_s`` seconds.

        ``{"boot", "last", "ended": [{"session", "reason", "by"}], "missed"}``; ``missed`` says that more may have ended
        than is listed.
        """
        if boot == self.boot and after == self._last:
            changed = self._changed
            try:
                async with asyncio.timeout(timeout_s):
                    await changed.wait()
            except TimeoutError:
                pass
        if boot != self.boot or not self._last - len(self._kept) <= after <= self._last:
            return self._answer([], missed=True)
        new = self._last - after
        return self._answer(list(self._kept)[-new:] if new else [], missed=False)

    def _answer(self, ended: list[dict[str, str]], *, missed: bool) -> dict[str, Any]:
        return {"boot": self.boot, "last": self._last, "ended": ended, "missed": missed}
