"""Where a process that is not closed in yet finds modules: nowhere below the directory that it happens to stand in."""

import sys


def leave_working_directory() -> None:
    """Take relative names off ``sys.path``. A job stands in its user's home: what is found there would run unconfined.

    ``python -I`` puts none there itself; an editable installation has one, that of its own hook, which nobody keeps a
    user from making a directory of.
    """
    sys.path[:] = [place for place in sys.path if place.startswith("/")]
