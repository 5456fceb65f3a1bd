"""TLS in memory over a non-blocking socket: every byte arrives, nothing stalls, ends are seen, cuts are no ends."""

import os
import select
import socket
from collections.abc import Iterator

import pytest

from jupyter_hpcsec.tunnel import connection
from jupyter_hpcsec.tunnel.connection import RECORD, TlsConnection
from tests.tunnel.tlspair import tls_pair

Pair = tuple[TlsConnection, TlsConnection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = tls_pair()
    yield made
    for each in made:
        each.close()


def buffer(size: int = 256 * 1024) -> memoryview:
    return memoryview(bytearray(size))


def test_a_cut_is_an_error_and_what_came_before_is_read_first(pair: Pair) -> None:
    client, server = pair
    client.write(b"last words")
    client.close()
    view = buffer()
    assert server.read_into(view) == 10
    with pytest.raises(OSError, match=r"."):
        server.read_into(view)
    with pytest.raises(OSError, match=r"."):
        server.read_into(view)


def test_garbage_in_place_of_a_record_is_an_error(pair: Pair) -> None:
    client, server = pair
    client._raw.send(b"\x17\x03\x03\x00\x20" + os.urandom(32))
    with pytest.raises(OSError, match=r"."):
        server.read_into(buffer())


def test_nothing_there_is_zero_and_not_an_end(pair: Pair) -> None:
    assert pair[0].read_into(buffer()) == 0


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 200_000, 1_000_000])
@pytest.mark.parametrize("view_size", [RECORD, 3 * RECORD + 5, 256 * 1024])
def test_all_bytes_arrive_whatever_the_sizes(pair: Pair, size: int, view_size: int) -> None:
    client, server = pair
    data, got, view = os.urandom(size), b"", buffer(view_size)
    is_sent = client.write(data)
    while len(got) < size:
        count = server.read_into(view)
        got += view[:count]
        is_sent = is_sent or client.flush()
    assert got == data
    assert is_sent


def test_a_full_view_leaves_the_rest_in_the_engine_and_not_in_the_socket(pair: Pair) -> None:
    """So that whoever reads must come back without being woken: the socket is not ready any more."""
    client, server = pair
    client.write(bytes(4 * RECORD))
    view = buffer(RECORD)
    assert server.read_into(view) == RECORD
    assert not select.select([server.fileno()], [], [], 0)[0]
    assert [server.read_into(view) for _ in range(3)] == [RECORD] * 3
    assert server.read_into(view) == 0


def test_a_peer_that_reads_nothing_blocks_and_then_goes_on(pair: Pair) -> None:
    client, server = pair
    data, sent, got, view = os.urandom(1 << 20), 0, b"", buffer()
    while client.write(data):
        sent += 1
    sent += 1
    assert not client.flush()
    while len(got) < sent * len(data):
        got += view[: server.read_into(view)]
        client.flush()
    assert got == data * sent


def test_a_closed_connection_has_no_descriptor(pair: Pair) -> None:
    client, _ = pair
    client.close()
    client.close()
    assert client.fileno() == -1
    with pytest.raises(OSError, match=r"."):
        client.write(b"x")


def test_a_shared_receive_buffer_mixes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_received", memoryview(bytearray(1000)))
    pairs = [tls_pair() for _ in range(3)]
    data = [bytes([number]) * 50_000 for number in range(3)]
    got = [b""] * 3
    for (client, _), each in zip(pairs, data, strict=True):
        client.write(each)
    while any(len(each) < 50_000 for each in got):
        for number, (client, server) in enumerate(pairs):
            client.flush()
            view = buffer(RECORD)
            got[number] += view[: server.read_into(view)]
    assert got == data
    for each in pairs:
        each[0].close()
        each[1].close()


def test_an_unexpected_socket_error_is_told(pair: Pair) -> None:
    client, server = pair
    server._raw.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError, match=r"."):
        client.write(bytes(100_000))
