"""Who dials the console: the kernel's word, and only JupyterHub's proxy gets further."""

import os
import socket
import subprocess
import sys

import pytest

from jupyter_hpcsec.console.peers import uid_of
from jupyter_hpcsec.errors import Unavailable
from tests.console.conftest import Place

NOBODY = 65534
DIAL = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
visitor = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
visitor.settimeout(60)
visitor.sendall(b"GET /services/hpcsec/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(visitor.recv(12))
"""


def test_the_kernel_says_whose_connection_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, peer = server.accept()
        with accepted:
            assert uid_of(peer, accepted.getsockname()) == os.geteuid()
            with pytest.raises(Unavailable):
                uid_of((peer[0], 1), accepted.getsockname())


def test_who_sends_and_closes_at_once_does_not_pass_for_root() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as visitor:
            visitor.sendall(b"GET /services/hpcsec/live HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        accepted, peer = server.accept()
        with accepted:
            while accepted.recv(4096):  # until it is closed, and the kernel calls it root's
                pass
            with pytest.raises(Unavailable):
                uid_of(peer, accepted.getsockname())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
async def test_other_users_of_the_host_are_not_heard(place: Place) -> None:
    import asyncio

    async def dial(uid: int) -> bytes:
        argv = [sys.executable, "-I", "-c", DIAL, str(place.port), str(uid)]
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await process.communicate()
        return out + err

    stranger = await dial(NOBODY)
    assert b"HTTP" not in stranger and (b"b''" in stranger or b"reset" in stranger.lower())
    assert await dial(os.geteuid()) == b"b'HTTP/1.1 302'\n"
    [refused] = await place.events("console.refused", lambda event: event["rule"] == "console.peer")
    assert f"uid {NOBODY}" in refused["reason"]
