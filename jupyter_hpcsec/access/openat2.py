"""Opening exactly the path that was decided on: openat2(2), and nothing that lies elsewhere.

A path is first resolved, then decided on, then opened. In between someone may have swapped a directory for a symbolic
link; the kernel then refuses here, since a resolved path has no link left in it. It decides nothing itself.
Source: Linux ``include/uapi/linux/openat2.h``, openat2(2).
"""

import ctypes
import os
import struct

SYS_OPENAT2 = 437  # one number on every architecture

NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x02, 0x04, 0x08
RESOLVE = NO_MAGICLINKS | NO_SYMLINKS | BENEATH

_HOW = struct.Struct("=QQQ")  # flags, mode, resolve

_libc = ctypes.CDLL(None, use_errno=True)


def open_resolved(path: str, flags: int, mode: int = 0) -> int:
    """Open an absolute path that has no symbolic link in it; a descriptor that no program started later inherits.

    OSError as the kernel says: ELOOP when a link is on the way by now, ENOSYS before Linux 5.6. Opening a FIFO or a
    device does not block and does not make it the controlling terminal.
    """
    if not path.startswith("/"):
        raise AssertionError(f"BUG: {path!r} is not absolute")
    flags |= os.O_CLOEXEC
    if not flags & os.O_PATH:
        flags |= os.O_NOCTTY | os.O_NONBLOCK
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _HOW.pack(flags, mode if flags & os.O_CREAT else 0, RESOLVE)
        relative = os.fsencode(path.lstrip("/") or ".")
        descriptor = int(_libc.syscall(ctypes.c_long(SYS_OPENAT2), root, relative, how, ctypes.c_size_t(len(how))))
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return descriptor
    finally:
        os.close(root)
