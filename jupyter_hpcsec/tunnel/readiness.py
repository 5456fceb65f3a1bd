"""Which sockets are watched, and what a plain socket gives when it is ready.

Streams come and go many times a second, and asyncio's ``add_reader`` costs more than the rest of a short stream. So the
sockets of all lanes stand in one epoll set of their own, and the event loop watches that one descriptor.
"""

import asyncio
import select
import socket
import weakref
from collections.abc import Callable
from typing import ClassVar

from jupyter_hpcsec.tunnel.buffers import RECORD

_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_TROUBLE = select.EPOLLHUP | select.EPOLLERR
_EVENTS_AT_ONCE = 256


class Poller:
    """One epoll set inside an event loop. Level-triggered: what a callback leaves is told again."""

    _of_loop: ClassVar["weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Poller]"] = weakref.WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._interests: dict[int, Interest] = {}
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Poller":
        """The one poller of a loop."""
        poller = cls._of_loop.get(loop)
        if poller is None:
            poller = cls._of_loop[loop] = cls(loop)
        return poller

    def watch(self, interest: "Interest", fd: int, before: int, mask: int) -> None:
        """Change what is watched of a descriptor; a mask of 0 takes it out of the set."""
        if not mask:
            del self._interests[fd]
            self._epoll.unregister(fd)
        elif before:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
            self._interests[fd] = interest

    def _dispatch(self) -> None:
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            interest = self._interests.get(fd)  # an earlier callback of this round may have dropped it
            if interest is not None:
                interest.ready(events)


class Interest:
    """Which readiness of one descriptor is watched. ``none`` must be called before the descriptor is closed."""

    __slots__ = ("_fd", "_mask", "_on_read", "_on_write", "_poller")

    def __init__(self, poller: Poller, fd: int, on_read: Callable[[], None], on_write: Callable[[], None]) -> None:
        self._poller, self._fd, self._on_read, self._on_write = poller, fd, on_read, on_write
        self._mask = 0

    def read(self, wanted: bool) -> None:
        """Watch, or no longer watch, for bytes to read."""
        self._set(self._mask | _READ if wanted else self._mask & ~_READ)

    def write(self, wanted: bool) -> None:
        """Watch, or no longer watch, for room to write."""
        self._set(self._mask | _WRITE if wanted else self._mask & ~_WRITE)

    def none(self) -> None:
        """Watch no longer."""
        self._set(0)

    def _set(self, mask: int) -> None:
        if mask != self._mask:
            before, self._mask = self._mask, mask
            self._poller.watch(self, self._fd, before, mask)

    def ready(self, events: int) -> None:
        """Call back for what is watched; trouble on the socket is met by whoever reads or writes next."""
        if events & (_READ | _TROUBLE) and self._mask & _READ:
            self._on_read()
        if events & (_WRITE | _TROUBLE) and self._mask & _WRITE:
            self._on_write()


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
