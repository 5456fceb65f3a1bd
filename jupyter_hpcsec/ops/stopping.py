"""Ctrl-C and its relatives: the first signal asks for an orderly end, the second for a quick one."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")


class Interrupted(Exception):
    """A signal came before the work was done."""


class Stopping:
    """``stop`` is set by the first signal, ``hurry`` by the second. Handlers stay until the event loop closes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._tell = tell
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.signalled)

    def signalled(self) -> None:
        """What each signal does."""
        if not self.stop.is_set():
            self.stop.set()
            self._tell("stopping; once more to stop at once")
        elif not self.hurry.is_set():
            self.hurry.set()
            self._tell("stopping at once")

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; ``Interrupted`` when a signal came first, once ``work`` is cancelled."""
        task = asyncio.ensure_future(work)
        signal_came = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({task, signal_came}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted
        finally:
            for each in (task, signal_came):
                each.cancel()
            await asyncio.gather(task, signal_came, return_exceptions=True)
