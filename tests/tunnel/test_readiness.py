"""Interest in a descriptor is registered once and gone when it is given up; plain sockets are read to what is there."""

import asyncio
import socket

import pytest

from jupyter_hpcsec.tunnel.connection import RECORD
from jupyter_hpcsec.tunnel.readiness import Interest, Poller, read_plain
from tests.tunnel.tlspair import settle


async def test_interest_is_what_was_said_last() -> None:
    poller = Poller.of(asyncio.get_running_loop())
    assert Poller.of(asyncio.get_running_loop()) is poller
    left, right = socket.socketpair()
    reads, writes = [], []
    interest = Interest(poller, left.fileno(), lambda: reads.append(1), lambda: writes.append(1))
    right.send(b"x")
    await settle()
    assert not reads and not writes
    for _ in range(3):
        interest.read(True)
        interest.write(True)
    await settle()
    assert reads and writes
    interest.none()
    interest.none()
    reads.clear()
    writes.clear()
    await settle()
    assert not reads and not writes
    assert not poller._interests
    left.close()
    right.close()


def test_reading_takes_what_is_there_and_says_whether_it_was_the_end() -> None:
    left, right = socket.socketpair()
    left.setblocking(False)
    view = memoryview(bytearray(4 * RECORD))
    assert read_plain(left, view) == (0, False)
    right.sendall(b"x" * (2 * RECORD + 5))
    assert read_plain(left, view) == (2 * RECORD + 5, False)
    right.sendall(b"y" * (4 * RECORD + 1))
    assert read_plain(left, view) == (4 * RECORD, False)
    right.shutdown(socket.SHUT_WR)
    assert read_plain(left, view)[0] == 1
    assert read_plain(left, view) == (0, True)
    left.close()
    with pytest.raises(OSError, match=r"."):
        read_plain(left, view)
    right.close()
