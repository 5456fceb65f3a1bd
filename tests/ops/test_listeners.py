"""Open ports are found in a real process tree, and a process that can't be seen is not taken to be innocent."""

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.ops.listeners import Listener, listeners, parse_address, parse_table, ports_of

OPENER = textwrap.dedent("""
    import os, socket, sys
    made = [socket.socket(family, kind) for family in (socket.AF_INET, socket.AF_INET6)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    for s in made:
        s.bind(("127.0.0.1" if s.family == socket.AF_INET else "::1", 0))
        if s.type == socket.SOCK_STREAM:
            s.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
    else:
        os.wait()
        print(*(s.getsockname()[1] for s in made), flush=True)
        for s in made: s.close()
    sys.stdin.read()
""")


@pytest.fixture
def opener() -> Iterator[tuple[int, list[int]]]:
    """A process that gives its ports to a double-forked child and closes its own; a subreaper above keeps the child."""
    keeper = (
        "import subprocess, sys, ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        "sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", keeper, OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
        process.stdin.close()


def test_ports_of_a_double_forked_child_are_found(opener: tuple[int, list[int]]) -> None:
    pid, (tcp, udp, tcp6, udp6) = opener
    found = listeners(pid)
    assert [(item.protocol, item.address, item.port) for item in found] == [
        ("tcp", "127.0.0.1", tcp),
        ("tcp6", "::1", tcp6),
        ("udp", "127.0.0.1", udp),
        ("udp6", "::1", udp6),
    ]
    assert pid not in {item.pid for item in found}


def test_a_connection_is_no_listener() -> None:
    before = set(listeners(os.getpid()))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
        mine = [item for item in listeners(os.getpid()) if item not in before and item.pid == os.getpid()]
        assert [item.port for item in mine] == [server.getsockname()[1]]
    assert [item for item in listeners(os.getpid()) if item not in before and item.pid == os.getpid()] == []


def test_a_port_nobody_visible_holds_is_held_against_the_process_that_can_not_be_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        expected = Listener(os.getpid(), "tcp", "127.0.0.1", server.getsockname()[1], inode)
        assert expected in ports_of(os.getpid(), None, visible=frozenset())
        assert expected not in ports_of(os.getpid(), None, visible=frozenset({inode}))


def test_a_process_that_is_gone_has_no_ports(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert listeners(process.pid) == []  # running or a zombie
    process.wait()
    assert listeners(process.pid) == []


def test_the_kernels_table_is_read() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 x 100 0\n"
        "   1: 0100007F:1F91 0100007F:0016 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 x 100 0\n"
    )
    assert [(row.port, row.inode, row.uid) for row in parse_table("tcp", table)] == [(8080, 4711, 1000)]
    assert [row.port for row in parse_table("udp", table)] == [8080, 8081]
    assert parse_address("0000000000000000FFFF00000100007F:0050") == ("127.0.0.1", 80)


@given(st.binary(min_size=4, max_size=4), st.integers(0, 65535))
def test_addresses_are_read_as_the_kernel_writes_them(raw: bytes, port: int) -> None:
    word = int.from_bytes(raw, sys.byteorder)
    assert parse_address(f"{word:08X}:{port:04X}") == (socket.inet_ntop(socket.AF_INET, raw), port)
