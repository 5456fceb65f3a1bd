"""Heads of HTTP/1.1 messages, in the one form in which nobody can disagree about them. Pure.

llhttp (by ``httptools``) parses; around it stand the checks that make its reading the only one: tornado, which will
read the same bytes, forgives what RFC 9112 lets it forgive (bare line feeds, blank lines, folded and repeated lines),
and a tap that read them otherwise could be told a different story than the server. What browsers and proxies send is in
that one form; everything else is refused, and its lane is cut.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import httptools

from jupyter_hpcsec.errors import Refused

HEAD_LIMIT = 65_536
"""Bytes of a head, as tornado's ``max_header_size``."""
LENGTH_DIGITS = 15

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINES = rb"((?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
_REQUEST = re.compile(rb"[A-Z]+ /[\x21\x22\x24-\x7e]* HTTP/1\.1\r\n" + _LINES)
_RESPONSE = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?\r\n" + _LINES)
_SINGLE = frozenset(
    {
        b"connection",
        b"content-length",
        b"host",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that come once or not at all: two readers may join repeated ones differently."""


class Body(Enum):
    """How the end of a message's body is found (RFC 9112, section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Head:
    """A message's head. ``first`` is the method or the status; names of headers are in lower case."""

    first: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    size: int

    def get(self, name: bytes) -> bytes:
        """A header's value; those of one that came several times, joined as a list (RFC 9110, 5.3)."""
        return b", ".join(value for each, value in self.headers if each == name)

    def says(self, name: bytes, word: bytes) -> bool:
        """Whether a header's list holds this word, whatever its case."""
        return word in (each.strip().lower() for each in self.get(name).split(b","))

    @property
    def length(self) -> int:
        """``Content-Length``; -1 without one."""
        value = self.get(b"content-length")
        return int(value) if value else -1

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return bool(self.get(b"transfer-encoding"))


class _Collector:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def malformed(reason: str) -> Refused:
    """The refusal of bytes that are not HTTP in its one form."""
    return Refused("tap.http-malformed", reason)


def parse_request(raw: bytes) -> Head:
    """A request's head, blank line included. ``Refused`` under ``tap.http-malformed``."""
    if not _REQUEST.fullmatch(raw):
        raise malformed("a request's head is not in the one form that everybody reads alike")
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    _feed(parser.feed_data, raw)
    method, version = parser.get_method().decode("ascii"), parser.get_http_version()
    if version != "1.1" or method == "CONNECT" or collector.url != raw.split(b" ", 2)[1]:
        raise malformed("a request is for no HTTP/1.1 server")
    head = Head(method, collector.url.decode("ascii"), tuple(collector.headers), len(raw))
    _check(head)
    return head


def parse_response(raw: bytes) -> Head:
    """A response's head, blank line included. ``Refused`` under ``tap.http-malformed``."""
    if not _RESPONSE.fullmatch(raw):
        raise malformed("an answer's head is not in the one form that everybody reads alike")
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    _feed(parser.feed_data, raw)
    head = Head(str(parser.get_status_code()), "", tuple(collector.headers), len(raw))
    _check(head)
    return head


def _feed(feed: Callable[[bytes], None], raw: bytes) -> None:
    try:
        feed(raw)
    except httptools.HttpParserUpgrade:
        return  # all of it was read
    except httptools.HttpParserError as exc:
        raise malformed(f"a head can't be parsed: {exc}") from exc


def _check(head: Head) -> None:
    """What decides where the message ends, and what follows it, stands there once and plainly."""
    names = [name for name, _ in head.headers]
    for name in _SINGLE.intersection(names):
        if names.count(name) > 1:
            raise malformed(f"a head has {name.decode()} more than once")
    length, coding = head.get(b"content-length"), head.get(b"transfer-encoding")
    if b"content-length" in names and not (length.isdigit() and len(length) <= LENGTH_DIGITS):
        raise malformed("a Content-Length is no plain number")
    if b"transfer-encoding" in names and (coding != b"chunked" or b"content-length" in names):
        raise malformed("a Transfer-Encoding is not chunked, and that alone")


def request_body(head: Head) -> Body:
    """How a request's body ends."""
    if head.is_chunked:
        return Body.CHUNKED
    return Body.LENGTH if head.length > 0 else Body.NONE


def response_body(head: Head, method: str) -> Body:
    """How the body of an answer to ``method`` ends."""
    if method == "HEAD" or head.first[0] == "1" or head.first in {"204", "304"}:
        return Body.NONE
    if head.is_chunked:
        return Body.CHUNKED
    if head.length < 0:
        return Body.CLOSE
    return Body.LENGTH if head.length else Body.NONE
