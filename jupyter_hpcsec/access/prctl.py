"""prctl(2): what a process asks of the kernel about itself. No policy here, and nothing about other processes."""

import contextlib
import ctypes
import struct
from pathlib import Path

from jupyter_hpcsec.access.syscalls import call

SET_PDEATHSIG = 1
"""The signal sent to this process when the thread that started it ends."""
SET_DUMPABLE = 4
"""0: other processes of the same user may not trace it or read its memory, and it leaves no core file."""
SET_CHILD_SUBREAPER = 36
"""1: orphans below this process become its children."""
SET_NO_NEW_PRIVS = 38
"""1: no program gains rights by being executed; the condition for Landlock and seccomp without root."""

DROP_FROM_BOUNDING_SET, SET_SECUREBITS, AMBIENT = 24, 28, 47
CLEAR_ALL, AMBIENT_RAISE = 4, 2
SYS_PTRACE = 19
"""CAP_SYS_PTRACE: looking at other accounts' processes where /proc hides them (capabilities(7))."""
ALL_SECUREBITS = 0b11101111
"""No privilege comes with the user id 0 or with changing it, none is kept or made ambient; and that is locked."""


def prctl(option: int, value: int) -> None:
    """One integer option; OSError as the kernel says."""
    call("prctl", ctypes.c_int(option), *(ctypes.c_ulong(word) for word in (value, 0, 0, 0)))


def drop_capabilities(keep: int | None = None) -> None:
    """Give up every privilege for good, root's too, but for ``keep``: none is held, none can be regained by executing.

    What can't be taken away without a privilege of its own (the bounding set) is left to no_new_privs.
    """
    kept = 0 if keep is None else 1 << keep & held()
    prctl(AMBIENT, CLEAR_ALL)
    if kept and keep is not None:
        _set_capabilities(held(), inheritable=kept)
        call("prctl", ctypes.c_int(AMBIENT), *(ctypes.c_ulong(word) for word in (AMBIENT_RAISE, keep, 0, 0)))
    with contextlib.suppress(PermissionError):
        prctl(SET_SECUREBITS, ALL_SECUREBITS)
        for capability in range(64):
            if capability == keep:
                continue
            try:
                prctl(DROP_FROM_BOUNDING_SET, capability)
            except PermissionError:
                raise
            except OSError:  # no capability of that number: that was all of them
                break
    _set_capabilities(kept, inheritable=kept)


def held() -> int:
    """The privileges that this process may use, as bits (``CapPrm`` of proc_pid_status(5))."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    raise OSError("the kernel does not say which privileges this process has")


def _set_capabilities(bits: int, *, inheritable: int) -> None:
    low, high = bits & 0xFFFFFFFF, bits >> 32
    words = (low, low, inheritable & 0xFFFFFFFF, high, high, inheritable >> 32)
    version = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words each of effective, permitted, inheritable
    call("capset", struct.pack("=Ii", version, 0), struct.pack("=6I", *words))
