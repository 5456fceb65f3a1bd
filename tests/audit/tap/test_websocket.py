"""Messages of a websocket, whatever their fragments, pieces and compression; what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.websocket import MESSAGE_LIMIT, Deflate, Message, WebSocketFollower, agreed
from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import Deflater, frame, pieces

PLAIN = Deflate(False, 15)


def follow(data: bytes, cuts: list[int], *, deflate: Deflate | None = None, is_browser: bool = True) -> list[Message]:
    follower = WebSocketFollower(is_browser=is_browser, deflate=deflate)
    return [message for piece in pieces(data, cuts) for message in follower.feed(piece)]


def fragments(opcode: int, payload: bytes, cuts: list[int], *, rsv1: bool) -> bytes:
    parts = [bytes(each) for each in pieces(payload, cuts)] or [b""]
    frames = b""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        frames += frame(opcode if number == 0 else 0, part, fin=last, rsv1=rsv1 and number == 0)
        frames += b"" if last else frame(9, b"ping") + frame(10, b"")
    return frames


@given(
    st.lists(st.tuples(st.text(max_size=200), st.booleans(), st.lists(st.integers(0, 300), max_size=5)), max_size=6),
    st.lists(st.integers(0, 3000), max_size=20),
    st.booleans(),
)
def test_messages_are_put_together(
    messages: list[tuple[str, bool, list[int]]], cuts: list[int], is_compressed: bool
) -> None:
    deflater = Deflater()
    data = b""
    for text, is_text, inner in messages:
        payload = deflater(text.encode()) if is_compressed else text.encode()
        data += fragments(1 if is_text else 2, payload, inner, rsv1=is_compressed)
    found = follow(data, cuts, deflate=PLAIN if is_compressed else None)
    assert found == [Message(text.encode(), is_text) for text, is_text, _ in messages]


def test_each_message_by_itself_where_no_context_is_kept() -> None:
    data = b"".join(frame(1, Deflater()(b"hello" * 20), rsv1=True) for _ in range(3))
    assert follow(data, [5], deflate=Deflate(True, 15)) == [Message(b"hello" * 20, True)] * 3


def test_what_the_server_sends_has_no_mask() -> None:
    assert follow(frame(2, b"x", mask=b""), [1], is_browser=False) == [Message(b"x", False)]
    with pytest.raises(Refused):
        follow(frame(2, b"x", mask=b""), [])


BOMB = Deflater()(bytes(MESSAGE_LIMIT + 1))
HALF = frame(2, bytes(MESSAGE_LIMIT // 2), fin=False)


@pytest.mark.parametrize(
    ("data", "deflate"),
    [
        (frame(3, b""), None),
        (frame(0, b"x"), None),
        (frame(1, b"a", fin=False) + frame(1, b"b"), None),
        (frame(9, b"x" * 126), None),
        (frame(9, b"x", fin=False), None),
        (frame(1, b"x", rsv1=True), None),
        (frame(1, b"\xff\xff\xff", rsv1=True), PLAIN),
        (frame(1, BOMB, rsv1=True), PLAIN),
        (b"\x82\xff" + (MESSAGE_LIMIT + 1).to_bytes(8, "big") + b"mask", None),
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + b"mask", None),
        (HALF + b"\x80\xff" + MESSAGE_LIMIT.to_bytes(8, "big") + b"mask", None),
        (frame(8, b"\x03"), None),
    ],
    ids=["opcode", "continuation", "begun twice", "long ping", "ping in parts", "rsv", "no deflate", "bomb", "too long",
         "63 bits", "too long in parts", "short close"],
)  # fmt: skip
def test_what_is_no_websocket_is_refused(data: bytes, deflate: Deflate | None) -> None:
    with pytest.raises(Refused) as refused:
        follow(data, [3, 7], deflate=deflate)
    assert refused.value.rule == "tap.ws-malformed"


def test_what_follows_a_close_is_nothing_to_anybody() -> None:
    assert follow(frame(8, b"\x03\xe8") + frame(1, b"late"), [4]) == []


@pytest.mark.parametrize(
    "extensions",
    [
        "x-webkit-deflate-frame",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; x",
    ],
)
def test_an_extension_that_can_not_be_followed_is_refused(extensions: str) -> None:
    with pytest.raises(Refused):
        agreed(extensions, "")


def test_what_was_agreed_on() -> None:
    assert agreed("", " v1 ").browser is None and agreed("", " v1 ").subprotocol == "v1"
    both = agreed("permessage-deflate; server_no_context_takeover; client_max_window_bits=10", "")
    assert both.browser == Deflate(False, 10) and both.server == Deflate(True, 15)
