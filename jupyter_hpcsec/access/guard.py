"""The listen guard: outside the sandbox it carries out ``listen`` for the processes inside, on unix sockets only.

The filter can't tell what a descriptor is. To look and then let the call continue would be a race: another thread could
put a TCP socket under the same number in between. So the guard fetches the very socket (pidfd_getfd(2)), looks at it,
and does the listening itself on what it fetched; the call inside never runs.

The guard never lets a call continue. When it dies, ``listen`` fails inside with ENOSYS. A process that made itself
undumpable (``ssh-agent``) can't be looked into and is refused.
Source: seccomp_unotify(2), Linux ``include/uapi/linux/seccomp.h``.
"""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path

SYS_PIDFD_GETFD = 438  # one number on every architecture

# struct seccomp_notif: u64 id, u32 pid, u32 flags, struct seccomp_data; struct seccomp_notif_resp
REQUEST = struct.Struct("=QIIiIQ6Q")
RESPONSE = struct.Struct("=QqiI")


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


RECEIVE = _ioctl(3, 0, REQUEST.size)
SEND = _ioctl(3, 1, RESPONSE.size)
IS_VALID = _ioctl(1, 2, 8)


class ListenGuard:
    """Answers the requests of one filter. The owner calls ``answer`` whenever ``fileno()`` is readable."""

    def __init__(self, notifications: int, *, on_refused: Callable[[int], None]) -> None:
        """Takes over the descriptor; ``on_refused`` gets the pid of each process whose ``listen`` was refused."""
        self._notifications = notifications
        self._on_refused = on_refused
        self._poll = select.poll()
        self._poll.register(notifications, select.POLLIN)

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._notifications

    def close(self) -> None:
        """From now on ``listen`` fails inside."""
        os.close(self._notifications)

    def answer(self) -> bool:
        """Answer what is there; false once no process is left inside."""
        for _, events in self._poll.poll(0):
            if not events & select.POLLIN:
                return False
            request = bytearray(REQUEST.size)
            try:
                fcntl.ioctl(self._notifications, RECEIVE, request)
            except FileNotFoundError:  # who asked was killed meanwhile
                continue
            identity, pid, *_, descriptor, backlog, _, _, _, _ = REQUEST.unpack(request)
            error = self._listen(identity, pid, descriptor & 0xFFFFFFFF, backlog & 0xFFFFFFFF)
            self._send(identity, error)
            if error == errno.EACCES:
                self._on_refused(pid)
        return True

    def _send(self, identity: int, error: int) -> None:
        try:
            fcntl.ioctl(self._notifications, SEND, RESPONSE.pack(identity, 0, -error, 0))
        except FileNotFoundError:
            return

    def _listen(self, identity: int, pid: int, descriptor: int, backlog: int) -> int:
        """Listen for another process; the error number for its answer, 0 for success."""
        try:
            fetched = fetch_descriptor(thread_group(pid), descriptor)
        except PermissionError:
            return errno.EACCES
        except OSError as error:
            return error.errno or errno.EACCES
        # The pid was this process's at a time when the socket was already ours: not a later owner's of the same pid.
        if not self._is_waiting(identity):
            os.close(fetched)
            return errno.ESRCH
        return listen_unix(fetched, backlog)

    def _is_waiting(self, identity: int) -> bool:
        try:
            fcntl.ioctl(self._notifications, IS_VALID, struct.pack("=Q", identity))
        except FileNotFoundError:
            return False
        return True


def thread_group(thread: int) -> int:
    """The process that a thread belongs to: proc_pid_status(5)."""
    for line in Path(f"/proc/{thread}/status").read_text(errors="replace").splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise AssertionError("BUG: the kernel names every thread's process")


def fetch_descriptor(pid: int, descriptor: int) -> int:
    """A copy of another process's descriptor. It refers to the same open file, whatever happens to the number there."""
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        fetched = int(libc.syscall(ctypes.c_long(SYS_PIDFD_GETFD), process, ctypes.c_uint(descriptor), 0))
    finally:
        os.close(process)
    if fetched < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fetched


def listen_unix(descriptor: int, backlog: int) -> int:
    """Listen on a unix socket, refuse on any other; takes the descriptor over and returns an error number or 0."""
    try:
        fetched = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)  # never became a socket object, which would close it
        return error.errno or errno.EACCES
    with fetched:
        if fetched.family != socket.AF_UNIX:
            return errno.EACCES
        try:
            fetched.listen(min(backlog, 0x7FFFFFFF))
        except OSError as error:
            return error.errno or errno.EACCES
    return 0
