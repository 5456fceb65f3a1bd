"""What a person sees while the quickstart works: a line for each step, with part and seconds."""

import contextlib
import time
from collections.abc import Callable
from typing import TextIO


class Console:
    """Writes lines to ``out``. A terminal that has gone away is no error: ending cleanly matters more."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._start = clock()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def say(self, part: str, text: str) -> None:
        """One line: when, which part, what."""
        self.write(f"{self.elapsed():6.1f} s  {part:<11} {text}")

    def write(self, text: str) -> None:
        """Lines as they are."""
        with contextlib.suppress(OSError, ValueError):
            print(text, file=self._out, flush=True)
