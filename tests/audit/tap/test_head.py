"""Heads: only one form of each is taken, and what decides its end stands there once."""

import pytest

from jupyter_hpcsec.audit.tap.head import Body, parse_request, parse_response, request_body, response_body
from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import request

REFUSED = {
    "bare LF": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF in a header": b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "a blank line first": b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "space before the colon": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
    "a huge length": b"POST / HTTP/1.1\r\nContent-Length: 10000000000000000\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
    "CL.TE": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "TE.TE": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "another coding": b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "an absolute target": b"GET http://x/ HTTP/1.1\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n\r\n",
    "not ASCII": b"GET /\xe9 HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT /x HTTP/1.1\r\n\r\n",
    "an unknown method": b"EVIL / HTTP/1.1\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_request(REFUSED[name])
    assert refused.value.rule == "tap.http-malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_answers_likewise(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse_response(raw)


def test_a_head_is_read() -> None:
    raw = request("PUT /user/alice/api/contents/a%20b?x=1", "X-Forwarded-For: 1.2.3.4", "X-Two: a", "X-Two: \xe9")
    head = parse_request(raw[:-2] + b"Content-Length: 007\r\n\r\n")
    assert (head.first, head.target, head.length) == ("PUT", "/user/alice/api/contents/a%20b?x=1", 7)
    assert head.get(b"x-forwarded-for") == b"1.2.3.4" and head.get(b"x-two") == b"a, \xe9" and head.get(b"none") == b""
    assert request_body(head) is Body.LENGTH
    chunked = parse_request(b"POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n")
    assert request_body(chunked) is Body.CHUNKED and request_body(parse_request(request())) is Body.NONE
    upgrade = parse_request(request("GET /", "Connection: keep-alive, Upgrade", "Upgrade: websocket"))
    assert upgrade.says(b"connection", b"upgrade") and not upgrade.says(b"connection", b"close")


@pytest.mark.parametrize(
    ("head", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n", "GET", Body.CLOSE),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n", "GET", Body.NONE),
        (b"HTTP/1.1 200 \r\nContent-Length: 5\r\n", "HEAD", Body.NONE),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", "GET", Body.NONE),
        (b"HTTP/1.1 204 No Content\r\n", "PUT", Body.NONE),
        (b"HTTP/1.1 100 (Continue)\r\n", "PUT", Body.NONE),
        (b"HTTP/1.1 200 \xc3\xa9\r\nTransfer-Encoding: chunked\r\n", "GET", Body.CHUNKED),
    ],
)
def test_how_an_answer_ends(head: bytes, method: str, body: Body) -> None:
    assert response_body(parse_response(head + b"\r\n"), method) is body
