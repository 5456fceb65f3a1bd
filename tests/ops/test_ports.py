"""Ports: a taken one that was asked for is refused, a taken default is replaced, and a claimed one is kept."""

import socket
from collections.abc import Iterator

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.ops.ports import LOOPBACK, Claim, claim, claim_any, public_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def held() -> Iterator[Claim]:
    with claim_any() as found:
        yield found


def test_a_taken_port_that_was_asked_for_is_refused(taken: int) -> None:
    assert claim(taken) is None
    with pytest.raises(Refused, match=str(taken)):
        public_port(taken, default=8000)


def test_a_port_of_roots_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert claim(80) is None
    with pytest.raises(Refused, match="not allowed"):
        public_port(80, default=8000)


def test_other_errors_are_not_taken_for_a_taken_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(OSError, match="allocate"):
        claim(8000)


def test_a_port_that_another_quickstart_claims_is_refused_until_it_lets_go(held: Claim) -> None:
    assert claim(held.port) is None
    with pytest.raises(Refused, match=str(held.port)):
        public_port(held.port, default=8000)
    with public_port(None, default=held.port) as other:
        assert other.port != held.port
    held.close()
    with public_port(held.port, default=8000) as again:
        assert again.port == held.port


def test_a_claimed_port_goes_to_nobody_by_chance_and_to_a_server_by_number(held: Claim) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, held.port))
    with socket.socket() as visitor, pytest.raises(ConnectionRefusedError):
        visitor.connect((LOOPBACK, held.port))
    for _ in range(2):  # and again after the server was started anew
        with socket.create_server((LOOPBACK, held.port)) as server:
            socket.create_connection((LOOPBACK, held.port)).close()
            server.accept()[0].close()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, held.port))


def test_a_taken_default_is_replaced_by_a_free_port(taken: int) -> None:
    with public_port(None, default=taken) as found:
        assert found.port != taken


@pytest.mark.parametrize("asked", [True, False])
def test_a_free_port_is_kept(asked: bool, held: Claim) -> None:
    port = held.port
    held.close()
    with public_port(port if asked else None, default=1 if asked else port) as found:
        assert found.port == port


def test_a_port_of_an_ended_connection_is_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
    accepted.close()
    client.close()
    with public_port(port, default=8000) as found:
        assert found.port == port


def test_claims_differ() -> None:
    claims = [claim_any() for _ in range(20)]
    assert len({one.port for one in claims}) == 20
    for one in claims:
        one.close()
