"""Runs a program that is told to stop (SIGTERM) when the process that started it is gone, however that ended.

``python -I -m jupyter_hpcsec.ops.child PARENT PROGRAM ARGUMENT…`` sets the wish and becomes PROGRAM; it may do nothing
else, since it stands between ``hpcsec quickstart`` and everything that it starts.
"""

import os
import signal
import sys
from collections.abc import Sequence

from jupyter_hpcsec.access.prctl import SET_PDEATHSIG, prctl


def command(parent: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` for as long as the process ``parent`` lives."""
    return [sys.executable, "-I", "-m", "jupyter_hpcsec.ops.child", str(parent), *argv]


def main(words: Sequence[str]) -> None:
    """Become the program; exits 1 at once when the parent has gone before the wish could be set (prctl(2))."""
    parent, *argv = words
    prctl(SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
