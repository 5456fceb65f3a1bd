"""System calls that Python has no function for, and opening a place without being led elsewhere. No policy here."""

import ctypes
import os
import struct

SYS_OPENAT2 = 437  # one number on every architecture
AT_WORKING_DIRECTORY = -100
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x02, 0x04, 0x10


def call(name: str, *words: object) -> int:
    """A function of the C library that returns -1 for an error; OSError as the kernel says."""
    result = int(getattr(ctypes.CDLL(None, use_errno=True), name)(*words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def system(number: int, *words: object) -> int:
    """A system call by its number."""
    return call("syscall", ctypes.c_long(number), *words)


def open_place(path: str, directory: int = AT_WORKING_DIRECTORY, resolve: int = 0) -> int:
    """A place without what lies there (``O_PATH``); ELOOP where a symbolic link is on the way: openat2(2)."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    return system(SYS_OPENAT2, ctypes.c_int(directory), os.fsencode(path), how, ctypes.c_size_t(len(how)))
