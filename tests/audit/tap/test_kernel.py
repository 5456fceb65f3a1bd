"""Kernel messages in all their forms; a form in which server and kernel could read something else is refused."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.kernel import V1, KernelMessage, parse
from jupyter_hpcsec.audit.tap.websocket import Message
from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import as_binary, as_text, as_v1, cell, message

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=10), VALUE, max_size=4), st.lists(st.binary(max_size=50), max_size=3))
def test_all_forms_say_the_same(content: dict[str, Any], buffers: list[bytes]) -> None:
    given_ = message("comm_msg", content, parent="p")
    text = parse(Message(as_text(given_), True), "")
    binary = parse(Message(as_binary(given_, buffers), False), "")
    first = parse(Message(as_v1(given_, buffers), False), V1)
    for found in (text, binary, first):
        assert (found.channel, found.type, found.id, found.parent) == ("shell", "comm_msg", "m1", "p")
        assert found.content == content


@given(st.binary(max_size=200), st.booleans(), st.sampled_from(["", V1]))
def test_arbitrary_bytes_are_refused_or_a_message(data: bytes, is_text: bool, subprotocol: str) -> None:
    try:
        assert isinstance(parse(Message(data, is_text), subprotocol), KernelMessage)
    except Refused as refused:
        rule = refused.rule
    else:
        return
    assert rule == "tap.kernel-malformed"


def test_as_jupyter_server_reads_them() -> None:
    base = pytest.importorskip("jupyter_server.services.kernels.connection.base")
    binary = as_binary(cell("x"), [b"buf", b""])
    assert base.deserialize_binary_message(binary)["content"]["code"] == "x"
    channel, parts = base.deserialize_msg_from_ws_v1(as_v1(cell("x"), [b"buf"]))
    assert channel == "shell" and json.loads(parts[3])["code"] == "x" and parts[4] == b"buf"


def changed(**more: Any) -> bytes:
    return as_text(cell() | more)


TWICE = b'{"header": {"msg_type": "comm_msg", "msg_type": "execute_request"}, "content": {}, "channel": "shell"}'
V = as_v1(cell())
OVERLAP = V[:16] + V[8:16] + V[24:]


@pytest.mark.parametrize(
    ("data", "is_text", "subprotocol"),
    [
        (changed(content=json.dumps({"code": "hidden"})), True, ""),
        (changed(header="execute_request"), True, ""),
        (changed(header={"msg_type": 1}), True, ""),
        (changed(channel=["shell"]), True, ""),
        (TWICE, True, ""),
        (b"[]", True, ""),
        (b"null", True, ""),
        (b"[" * 100_000, True, ""),
        (b'\xff\xfe{"a": 1}', True, ""),
        (as_text(cell()), True, V1),
        (as_text(cell()).decode().encode("utf-16"), False, V1),
        (V + b"x", False, V1),
        (V[:-1], False, V1),
        (OVERLAP, False, V1),
        (struct.pack("<Q", 1 << 40), False, V1),
        (struct.pack("<Q", 2) + bytes(16), False, V1),
        (V, False, ""),
        (struct.pack("!I", 0), False, ""),
        (struct.pack("!I", 1 << 31), False, ""),
        (struct.pack("!2I", 1, 4) + as_text(cell()), False, ""),
    ],
)
def test_what_could_be_read_otherwise_is_refused(data: bytes, is_text: bool, subprotocol: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(Message(data, is_text), subprotocol)
    assert refused.value.rule == "tap.kernel-malformed"


def test_no_channel_is_the_shell() -> None:
    assert parse(Message(changed(channel=None), True), "").channel == "shell"
