"""How a process that worked for the console ended, in words. Pure."""

import signal


def how_it_ended(status: int) -> str:
    """``Popen.returncode`` as the beginning of a sentence."""
    if status >= 0:
        return f"Its process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"Its process was killed ({name})"
