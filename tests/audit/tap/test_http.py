"""Where messages begin and end, whatever the pieces in which they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.head import HEAD_LIMIT, Body, parse_request, request_body
from jupyter_hpcsec.audit.tap.http import HttpFollower
from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import pieces, request


class Heard:
    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []
        self.ended = 0
        self.leaves: HttpFollower | None = None
        self.left = b""

    def head(self, raw: bytes) -> tuple[Body, int]:
        head = parse_request(raw)
        self.messages.append([raw, b""])
        if head.get(b"upgrade") and self.leaves:
            self.leaves.leave()
        return request_body(head), max(0, head.length)

    def body(self, view: memoryview) -> None:
        self.messages[-1][1] += bytes(view)

    def end(self) -> None:
        self.ended += 1

    def raw(self, view: memoryview) -> None:
        self.left += bytes(view)


def follow(data: bytes, cuts: list[int]) -> Heard:
    heard = Heard()
    follower = HttpFollower(heard)
    for piece in pieces(data, cuts):
        follower.feed(piece)
    assert follower.is_between
    return heard


def chunked(chunks: list[bytes]) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return request("POST /", "Transfer-Encoding: chunked") + framed + b"0\r\n\r\n"


MESSAGE = st.one_of(
    st.just((request(), b"")),
    st.binary(max_size=300).map(lambda body: (request("PUT /x", body=body), body)),
    st.lists(st.binary(max_size=80), max_size=5).map(lambda chunks: (chunked(chunks), b"".join(chunks))),
)


@given(st.lists(MESSAGE, max_size=5), st.lists(st.integers(0, 5000), max_size=30))
def test_messages_are_found_in_any_pieces(messages: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    heard = follow(b"".join(data for data, _ in messages), cuts)
    assert heard.ended == len(messages)
    assert [body for _, body in heard.messages] == [body for _, body in messages]
    assert all(data.startswith(head) for (data, _), (head, _) in zip(messages, heard.messages, strict=True))


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=10))
def test_arbitrary_bytes_are_refused_or_followed_alike(data: bytes, cuts: list[int]) -> None:
    def outcome(at: list[int]) -> object:
        heard = Heard()
        follower = HttpFollower(heard)
        try:
            for piece in pieces(data, at):
                follower.feed(piece)
        except Refused as refused:
            return refused.rule
        return heard.messages, heard.ended

    assert outcome(cuts) == outcome([])


@pytest.mark.parametrize(
    "body",
    [
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5;x=y\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"fffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_chunks_have_one_form(body: bytes) -> None:
    data = request("POST /", "Transfer-Encoding: chunked") + body
    for cuts in ([], list(range(len(data)))):
        with pytest.raises(Refused, match="chunk"):
            follow(data, cuts)


def test_no_more_of_a_head_is_held_than_tornado_would() -> None:
    fits = request("GET /", "A: " + "x" * (HEAD_LIMIT - len(request("GET /", "A: "))))
    assert len(fits) == HEAD_LIMIT and follow(fits, []).ended == 1
    for data in (fits.replace(b"A: ", b"A:  "), b"x" * (HEAD_LIMIT + 1), fits[:-4] + b"x" * 100_000):
        with pytest.raises(Refused, match="65536"):
            follow(data, [10, 20_000, 65_536])


def test_what_follows_another_protocol_is_not_http() -> None:
    heard = Heard()
    follower = heard.leaves = HttpFollower(heard)
    follower.feed(memoryview(request("GET /", "Upgrade: x") + b"GET / HT"))
    follower.feed(memoryview(b"\0\xff"))
    assert heard.left == b"GET / HT\0\xff" and len(heard.messages) == 1
