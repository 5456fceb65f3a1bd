"""prctl(2): what a process asks of the kernel about itself. No policy here, and nothing about other processes."""

import ctypes
import os

SET_PDEATHSIG = 1
"""The signal sent to this process when the thread that started it ends."""
SET_DUMPABLE = 4
"""0: other processes of the same user may not trace it or read its memory, and it leaves no core file."""
SET_CHILD_SUBREAPER = 36
"""1: orphans below this process become its children."""
SET_NO_NEW_PRIVS = 38
"""1: no program gains rights by being executed; the condition for Landlock and seccomp without root."""


def prctl(option: int, value: int) -> None:
    """One integer option; OSError as the kernel says."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(word) for word in (value, 0, 0, 0))):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
