"""Ports: a taken one that was asked for is refused, a taken default is replaced."""

import socket
from collections.abc import Iterator

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.ports import LOOPBACK, claim, free_ports, is_free, public_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_refused(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(Refused, match=str(taken)):
        public_port(taken, default=8000)


def test_a_port_that_another_quickstart_claims_is_refused_until_it_lets_go() -> None:
    (port,) = free_ports(1)
    _, held = public_port(port, default=8000)
    with held:
        assert claim(port) is None
        with pytest.raises(Refused, match=str(port)):
            public_port(port, default=8000)
        other, also_held = public_port(None, default=port)
        also_held.close()
        assert other != port
    again, held = public_port(port, default=8000)
    held.close()
    assert again == port


def test_a_refused_port_is_not_claimed(taken: int) -> None:
    with pytest.raises(Refused):
        public_port(taken, default=8000)
    held = claim(taken)
    assert held is not None
    held.close()


def test_a_taken_default_is_replaced_by_a_free_port(taken: int) -> None:
    found, held = public_port(None, default=taken)
    held.close()
    assert found != taken and is_free(found)


@pytest.mark.parametrize("asked", [True, False])
def test_a_free_port_is_kept(asked: bool) -> None:
    (port,) = free_ports(1)
    found, held = public_port(port if asked else None, default=1 if asked else port)
    held.close()
    assert found == port


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
