"""Jupyter's kernel messages as they travel in a websocket, in both forms. Pure.

The default form is JSON in a text message, or JSON with buffers behind it in a binary one;
``v1.kernel.websocket.jupyter.org`` is binary with the parts of the message apart (jupyter_server, "WebSocket kernel
wire protocols"). Which one it is was agreed in the handshake. Only forms are taken that jupyter_server and every kernel
must read alike: a name that stands twice in an object, parts that overlap, a content that is a string of JSON are
refused, and their lane is cut.
"""

import itertools
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.audit.tap.websocket import Message
from jupyter_hpcsec.errors import Refused

V1 = "v1.kernel.websocket.jupyter.org"
PARTS = ("header", "parent_header", "metadata", "content")
BUFFERS_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class KernelMessage:
    """One message. ``size`` is that of all of it, in bytes, buffers included; ``cell`` the id of a notebook's cell."""

    channel: str
    type: str
    id: str
    parent: str
    content: Mapping[str, Any]
    size: int
    header: Mapping[str, Any]
    cell: str


def malformed(reason: str) -> Refused:
    """The refusal of what is no kernel message."""
    return Refused("tap.kernel-malformed", reason)


def parse(message: Message, subprotocol: str) -> KernelMessage:
    """Read one message of a kernel's websocket. ``Refused`` under ``tap.kernel-malformed``."""
    try:
        parts = _v1(message) if subprotocol == V1 else _default(message)
        header, content = parts["header"], parts["content"]
        if not isinstance(header, dict) or not isinstance(content, dict):
            raise malformed("header or content of a kernel message is no object")
        kind = header["msg_type"]
        if not isinstance(kind, str) or not isinstance(parts["channel"], str):
            raise malformed("type or channel of a kernel message is no text")
    except (ValueError, KeyError, TypeError, struct.error, RecursionError) as exc:
        raise malformed(f"a kernel message can't be read: {type(exc).__name__}") from exc
    parent, metadata = parts.get("parent_header"), parts.get("metadata")
    return KernelMessage(
        channel=parts["channel"],
        type=kind,
        id=_text(header.get("msg_id")),
        parent=_text(parent.get("msg_id")) if isinstance(parent, dict) else "",
        content=content,
        size=len(message.data),
        header=header,
        cell=_text(metadata.get("cellId")) if isinstance(metadata, dict) else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _default(message: Message) -> dict[str, Any]:
    data = message.data
    if not message.is_text:
        (count,) = struct.unpack_from("!I", data)
        if not 1 <= count <= BUFFERS_LIMIT:
            raise malformed("a kernel message has no parts, or too many")
        offsets = struct.unpack_from(f"!{count}I", data, 4)
        _in_order([4 * (count + 1), *offsets, len(data)], offsets[0])
        data = data[offsets[0] : offsets[1] if count > 1 else len(data)]
    found = _object(data)
    if found.get("channel") is None:
        found["channel"] = "shell"  # as jupyter_server does
    return found


def _v1(message: Message) -> dict[str, Any]:
    data = message.data
    if message.is_text:
        raise malformed("a text where the binary form was agreed on")
    (count,) = struct.unpack_from("<Q", data)
    if not len(PARTS) + 2 <= count <= BUFFERS_LIMIT:
        raise malformed("a kernel message has not all its parts, or too many")
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    _in_order([8 * (count + 1), *offsets], offsets[0])
    if offsets[-1] != len(data):
        raise malformed("the parts of a kernel message do not end with it")
    found: dict[str, Any] = {"channel": data[offsets[0] : offsets[1]].decode("utf-8")}
    for index, name in enumerate(PARTS, 1):
        found[name] = _object(data[offsets[index] : offsets[index + 1]])
    return found


def join_v1(parts: Sequence[bytes]) -> bytes:
    """A message in the binary form: its channel, the four ``PARTS``, its buffers."""
    offsets = itertools.accumulate(map(len, parts), initial=8 * (len(parts) + 2))
    return struct.pack(f"<{len(parts) + 2}Q", len(parts) + 1, *offsets) + b"".join(parts)


def _in_order(offsets: list[int], first: int) -> None:
    if first != offsets[0] or any(before > after for before, after in itertools.pairwise(offsets)):
        raise malformed("the parts of a kernel message are not one behind the other")


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise malformed("a part of a kernel message is no object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise malformed("a name stands twice in an object of a kernel message")
    return found
