"""Messages: a closed list, sizes first, and nothing but Malformed for what is not on it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel import messages as m

HELLO = m.Hello(version="1", state="ready", message="", lanes=2)


def test_a_message_comes_back() -> None:
    wire = m.encode(HELLO)
    assert m.body_length(wire[: m.PREFIX], m.MAX_MESSAGE) == len(wire) - m.PREFIX
    assert m.decode_from_agent(wire[m.PREFIX :]) == HELLO


def test_bytes_travel_unchanged() -> None:
    wire = m.encode(m.Renew(request=bytes(range(256))))
    assert m.decode_from_agent(wire[m.PREFIX :]) == m.Renew(request=bytes(range(256)))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    for decode in (m.decode_from_agent, m.decode_from_gateway):
        with contextlib.suppress(Malformed):
            decode(body)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "hello"},
        {"type": "hello", "version": "1", "state": "ready", "message": "", "lanes": 2, "user": "bob"},
        {"type": "hello", "version": 1, "state": "ready", "message": "", "lanes": 2},
        {"type": "hello", "version": "1", "state": "ready", "message": "", "lanes": -1},
        {"type": "hello", "version": "1", "state": "ready", "message": "", "lanes": True},
        {"type": "hello", "version": "1", "state": "ready", "message": "x" * 1001, "lanes": 2},
        {"type": "renew", "request": "not base64!"},
        {"type": "lanes", "total": 5},
        {"type": "enrolled"},
        {"type": "exec", "argv": ["sh"]},
        {"type": ["hello"]},
        [],
        None,
    ],
)
def test_what_an_agent_may_not_send(body: object) -> None:
    with pytest.raises(Malformed):
        m.decode_from_agent(json.dumps(body).encode())


def test_deep_json_is_refused() -> None:
    with pytest.raises(Malformed):
        m.decode_from_agent(b'{"type":"enrol","evidence":' + b"[" * 50_000)


@pytest.mark.parametrize("length", [0, m.MAX_MESSAGE + 1, 0xFFFFFFFF])
def test_a_length_outside_the_bounds_is_refused_before_a_byte_is_read(length: int) -> None:
    with pytest.raises(Malformed):
        m.body_length(length.to_bytes(4, "big"), m.MAX_MESSAGE)


def test_too_large_a_message_is_not_sent() -> None:
    with pytest.raises(Malformed):
        m.encode(m.Report(state="ready", message="", facts={f"{n}": "x" * 1000 for n in range(100)}))
