"""The guard's own part: what it fetches it closes, whatever that is. What it lets pass is held in ``test_sandbox``."""

import errno
import os
import socket
from pathlib import Path

import pytest

from jupyter_hpcsec.access.guard import listen_unix


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
def test_what_is_no_socket_is_refused_and_closed(flags: int) -> None:
    descriptor = os.open("/", flags)
    assert listen_unix(descriptor, 1) in {errno.ENOTSOCK, errno.EBADF}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_network_socket_is_refused_and_closed() -> None:
    descriptor = socket.socket().detach()
    assert listen_unix(descriptor, 1) == errno.EACCES
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_unix_socket_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as ours, socket.socket(socket.AF_UNIX) as visitor:
        ours.bind(str(tmp_path / "s"))
        assert listen_unix(os.dup(ours.fileno()), 1) == 0
        visitor.connect(str(tmp_path / "s"))
