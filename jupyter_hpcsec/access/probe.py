"""Whether this account can have a mount namespace here: tried, by a process of its own that ends right after.

Run by its path as ``python -I -S …/access/probe.py``, without the package and without ``site``: each session's start
waits for it. Exit status 0, or 1 with the reason on standard output. It decides nothing.

It is a process of its own and no fork, for what it tries makes it another user's in its own namespace: the memory of an
agent, which holds a key, must not come along. Source: user_namespaces(7), fsopen(2).
"""

import ctypes
import os
import sys

NEW_MOUNTS, NEW_IPC, NEW_USER = 0x00020000, 0x08000000, 0x10000000
SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432  # one number on every architecture
FSCONFIG_CREATE = 6


def why_not() -> str:
    """Try it, for good; why it failed, empty when it did not.

    A namespace alone says little: some systems give one and no privilege in it (AppArmor's restriction).
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def system(number: int, *words: object) -> int:
        return int(libc.syscall(ctypes.c_long(number), *words))

    if libc.unshare(ctypes.c_int(NEW_USER | NEW_MOUNTS | NEW_IPC)):
        return os.strerror(ctypes.get_errno())
    context = system(SYS_FSOPEN, b"tmpfs", ctypes.c_uint(1))
    if context < 0 or system(SYS_FSCONFIG, context, FSCONFIG_CREATE, None, None, 0) < 0:
        return os.strerror(ctypes.get_errno())
    return (
        "" if system(SYS_FSMOUNT, context, ctypes.c_uint(1), ctypes.c_uint(0)) >= 0 else os.strerror(ctypes.get_errno())
    )


if __name__ == "__main__":
    WHY = why_not()
    print(WHY)
    sys.exit(1 if WHY else 0)
