"""Refused requests, told to the record: each of the first, then how many more, so that a flood holds nothing up."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from jupyter_hpcsec.audit.events import Object, Told
from jupyter_hpcsec.audit.kinds.node import NodeRequestRefused
from jupyter_hpcsec.server.events import tell

AT_ONCE = 20
"""Events of one rule within a period; what comes beyond them is counted."""
PERIOD_S = 10.0


class Refusals:
    """``clock`` gives monotonic seconds, ``later(seconds, call)`` calls; in tests they are the test's."""

    def __init__(
        self,
        told: Callable[[Told], None] = tell,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._told, self._clock = told, clock
        self._later = later or (lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call))
        self._told_of: Counter[str] = Counter()
        self._beyond: Counter[str] = Counter()
        self._ends = 0.0

    def tell(self, path: str, rule: str, reason: str) -> None:
        """A request for ``path`` was refused by ``rule``."""
        if self._clock() >= self._ends:
            self._end()
            self._ends = self._clock() + PERIOD_S
        if self._told_of[rule] >= AT_ONCE:
            if not self._beyond:
                self._later(PERIOD_S, self._end)
            self._beyond[rule] += 1
            return
        self._told_of[rule] += 1
        what = Object(type="url", name=path)
        self._told(NodeRequestRefused(object=what, decision="refused", rule=rule, reason=reason))

    def _end(self) -> None:
        beyond, self._beyond = self._beyond, Counter()
        self._told_of.clear()
        for rule, count in beyond.items():
            self._told(
                NodeRequestRefused(decision="refused", rule=rule, count=count, reason="further requests like the last")
            )


refusals = Refusals()
"""Of this server."""
