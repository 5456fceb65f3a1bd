"""Ports: a taken one that was asked for is refused, a taken default is replaced."""

import socket
from collections.abc import Iterator

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.ports import LOOPBACK, free_ports, is_free, public_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_refused(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(Refused, match=str(taken)):
        public_port(taken, default=8000)


def test_a_taken_default_is_replaced_by_a_free_port(taken: int) -> None:
    found = public_port(None, default=taken)
    assert found != taken and is_free(found)


def test_a_free_port_is_kept() -> None:
    (port,) = free_ports(1)
    assert public_port(port, default=1) == port and public_port(None, default=port) == port


def test_a_port_of_an_ended_connection_is_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
    accepted.close()
    client.close()
    assert is_free(port)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
