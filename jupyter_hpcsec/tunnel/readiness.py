"""Which sockets the event loop watches, and what a plain socket gives when it is ready."""

import asyncio
import socket
from collections.abc import Callable

from jupyter_hpcsec.tunnel.connection import RECORD


class Interest:
    """Which readiness of one descriptor the loop watches, so that nothing is registered twice."""

    __slots__ = ("_fd", "_loop", "_on_read", "_on_write", "_reading", "_writing")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, on_read: Callable[[], None], on_write: Callable[[], None]
    ) -> None:
        self._loop, self._fd, self._on_read, self._on_write = loop, fd, on_read, on_write
        self._reading = self._writing = False

    def read(self, wanted: bool) -> None:
        """Watch, or no longer watch, for bytes to read."""
        if wanted and not self._reading:
            self._loop.add_reader(self._fd, self._on_read)
        elif self._reading and not wanted:
            self._loop.remove_reader(self._fd)
        self._reading = wanted

    def write(self, wanted: bool) -> None:
        """Watch, or no longer watch, for room to write."""
        if wanted and not self._writing:
            self._loop.add_writer(self._fd, self._on_write)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._fd)
        self._writing = wanted

    def none(self) -> None:
        """Watch no longer: to be called before the descriptor is closed."""
        self.read(False)
        self.write(False)


def read_plain(plain: socket.socket, view: memoryview) -> tuple[int, bool]:
    """Bytes read into ``view`` and whether the sender has ended; what comes in small pieces is not waited for."""
    size = 0
    while size < len(view):
        try:
            count = plain.recv_into(view[size:])
        except BlockingIOError:
            break
        if count == 0:
            return size, True
        size += count
        if count < RECORD:
            break
    return size, False
