"""When a job would start, as the scheduler foresees it: asked aside, kept for a while, and never waited for long.

A page that shows estimates has them or says that they are not known; it is not late or broken because a scheduler is.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from jupyter_hpcsec.errors import HpcsecError

KEPT = 4096
"""Estimates that are remembered."""
AT_ONCE = 4
"""Questions to the scheduler at the same time, all users' pages together."""
_START = re.compile(r"\bto start at (\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\b")
UNKNOWN = "unknown: the scheduler did not say"


def parse_test_only(said: str, now: datetime) -> str:
    """``sbatch --test-only``'s answer in words; ``UNKNOWN`` where it says no time. Both times are this host's."""
    found = _START.search(said[:10_000])
    try:
        start = datetime.fromisoformat(found[1]) if found else None  # noqa: DTZ - Slurm writes local time without zone
    except ValueError:
        start = None
    if start is None:
        return UNKNOWN
    minutes = (start - now).total_seconds() / 60
    if minutes < 1.5:
        return "at once, as it looks now"
    if minutes < 90:
        return f"in about {round(minutes)} minutes, as it looks now"
    if minutes < 36 * 60:
        return f"in about {round(minutes / 60)} hours, as it looks now"
    return f"not before {start:%Y-%m-%d %H:%M} (the hub's time), as it looks now"


@dataclass
class _Known:
    made: float
    text: str


K = TypeVar("K", bound=Hashable)


class Estimates:
    """What was foreseen for whom. ``clock`` gives monotonic seconds; an estimate serves for ``keep_s`` of them."""

    def __init__(self, keep_s: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s, self._clock = keep_s, clock
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def of(self, questions: Mapping[K, Callable[[], Awaitable[str]]], within_s: float) -> list[str]:
        """An answer to each question, after ``within_s`` seconds at most; what is not known by then is asked on."""
        for key, ask in questions.items():
            known = self._known.get(key)
            if key not in self._asking and (known is None or self._clock() - known.made > self._keep_s):
                self._asking[key] = asyncio.create_task(self._ask(key, ask))
        tasks = {self._asking[key] for key in questions if key in self._asking and key not in self._known}
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        return [self._known[key].text if key in self._known else UNKNOWN for key in questions]

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[str]]) -> None:
        try:
            async with self._turns:
                text = await ask()
        except HpcsecError:  # no account, no command: nobody can say
            text = UNKNOWN
        finally:
            del self._asking[key]
        self._known[key] = _Known(self._clock(), text)
        self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
