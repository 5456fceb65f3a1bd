"""Only a whole HTTP/1.1 head that says ``Connection: close`` is changed; everything else passes byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.tunnel.hop import HEAD_LIMIT, keep_connection

CLOSING = b"GET /api HTTP/1.1\r\nHost: hub\r\nconnection: close\r\nAccept: */*\r\n\r\n"


def passed(data: bytes, room: int = 64) -> bytes:
    view = memoryview(bytearray(data + bytes(room)))
    return bytes(view[: keep_connection(view, len(data))])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nConnection: close\r\n",
        b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close, te\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Connection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\nConnection: close\n\n",
        b"SSH-2.0-OpenSSH\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_LIMIT + b"\r\nConnection: close\r\n\r\n",
    ],
)
def test_everything_else_passes_as_it_came(data: bytes) -> None:
    assert passed(data) == data


@given(st.binary(max_size=300))
def test_no_bytes_are_lost_or_raise(data: bytes) -> None:
    assert passed(data) in (data, data.replace(b"onnection: close", b"onnection: keep-alive"))


@given(st.binary(max_size=200))
def test_a_closing_request_is_kept_and_its_body_untouched(body: bytes) -> None:
    assert passed(CLOSING + body) == CLOSING.replace(b"connection: close", b"Connection: keep-alive") + body


def test_without_room_nothing_changes() -> None:
    assert passed(CLOSING, room=4) == CLOSING
    assert passed(CLOSING, room=5) != CLOSING
