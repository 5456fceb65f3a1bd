"""Streams for the taps of tests: a site, a stream's tap, and bytes in any pieces."""

import itertools
import json
import struct
import zlib
from typing import Any

from jupyter_hpcsec.audit.events import Event, Recordable, kind_of
from jupyter_hpcsec.audit.tap.recording import Level, Recording, secrets_pattern
from jupyter_hpcsec.audit.tap.stream import StreamTap
from jupyter_hpcsec.audit.tap.teller import Site, Told

KERNEL = "0b1c2d3e-1111-2222-3333-444455556666"
V1 = "v1.kernel.websocket.jupyter.org"
MASK = b"\x11\x22\x33\x44"


def site(level: Level = Level.SOURCES, **recording: Any) -> Site:
    count = itertools.count(1)
    return Site(
        session="5" * 32,
        base=("user", "alice"),
        recording=Recording(level=level, secrets=secrets_pattern(), **recording),
        trusted=(),
        is_forwarded=True,
        clock=lambda: 0.0,
        number=lambda: f"r{next(count)}",
    )


def pieces(data: bytes, cuts: list[int]) -> list[memoryview]:
    """``data`` cut at these places, wherever they are."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [memoryview(data[a:b]) for a, b in itertools.pairwise(edges)]


class Fed:
    """A tap and all that it has told."""

    def __init__(self, tap: StreamTap | None = None) -> None:
        self.tap = tap or StreamTap(site())
        self.required: list[Recordable] = []
        self.noted: list[Recordable] = []

    def _take(self, told: Told | None) -> None:
        if told is not None:
            self.required += told.required
            self.noted += told.noted

    def browser(self, data: bytes, cuts: list[int] | None = None) -> "Fed":
        for piece in pieces(data, cuts or []):
            self._take(self.tap.from_browser(piece))
        return self

    def server(self, data: bytes, cuts: list[int] | None = None) -> "Fed":
        for piece in pieces(data, cuts or []):
            self._take(self.tap.from_server(piece))
        return self

    def close(self) -> "Fed":
        self._take(self.tap.closed())
        return self

    def of(self, kind: str) -> list[Any]:
        return [each.event for each in (*self.required, *self.noted) if kind_of(each.event) == kind]

    def values(self, kind: str) -> list[dict[str, bytes]]:
        return [dict(each.values) for each in (*self.required, *self.noted) if kind_of(each.event) == kind]

    def events(self) -> list[Event]:
        return [each.event for each in (*self.required, *self.noted)]


def request(line: str = "GET /user/alice/api/status", *headers: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: x", *headers]
    if body and not any(each.lower().startswith("transfer-encoding") for each in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def answer(status: str = "200 OK", *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body


def upgrade(path: str, *headers: str) -> bytes:
    return request(f"GET {path}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", *headers)


def agreed(*headers: str) -> bytes:
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False, mask: bytes = MASK) -> bytes:
    """One frame (RFC 6455, 5.2), masked unless ``mask`` is empty."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes([first, bit | len(payload)])
    elif len(payload) < 1 << 16:
        head = bytes([first, bit | 126]) + struct.pack("!H", len(payload))
    else:
        head = bytes([first, bit | 127]) + struct.pack("!Q", len(payload))
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Deflater:
    """permessage-deflate with its context kept (RFC 7692, 7.2.1)."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=-15)

    def __call__(self, data: bytes) -> bytes:
        return (self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(kind: str, content: Any, *, channel: str = "shell", ident: str = "m1", parent: str = "") -> dict[str, Any]:
    return {
        "header": {"msg_id": ident, "msg_type": kind, "username": "", "session": "s", "date": "", "version": "5.3"},
        "parent_header": {"msg_id": parent} if parent else {},
        "metadata": {},
        "content": content,
        "channel": channel,
        "buffers": [],
    }


def as_text(given: dict[str, Any]) -> bytes:
    return json.dumps(given).encode()


def as_binary(given: dict[str, Any], buffers: list[bytes]) -> bytes:
    """The default form with buffers, as jupyter_server's ``serialize_binary_message``."""
    parts = [json.dumps({name: value for name, value in given.items() if name != "buffers"}).encode(), *buffers]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def as_v1(given: dict[str, Any], buffers: list[bytes] | None = None) -> bytes:
    """The v1 form, as jupyter_server's ``serialize_msg_to_ws_v1``."""
    names = ("header", "parent_header", "metadata", "content")
    parts = [given["channel"].encode(), *(json.dumps(given[name]).encode() for name in names), *(buffers or [])]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def cell(code: str = "print(1)", **more: Any) -> dict[str, Any]:
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
    return message("execute_request", content | more)
