"""What a browser is told on a websocket in the server's stead, when what it asked for can't be recorded. Pure.

Frames are whole, not masked and not compressed, which permessage-deflate allows for any message (RFC 7692, 6.1). The
only thing of the browser's in them is the header of its own request, as it was parsed and written anew, and only where
that is small: a client finds its request by it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from websockets.frames import Close, CloseCode, Frame, Opcode

from jupyter_hpcsec.audit.tap import kernel

HEADER_LIMIT = 4096
"""Bytes of a request's header, as JSON, past which nothing is said to that request."""
WORDS_LIMIT = 65_536
"""Bytes of all that is said: less than a socket's buffer takes at once."""
_FIELDS, _NAME, _TEXT = 32, 64, 512
"""Fields of a header, characters of a name and of a value."""
_CLOSING = "it can't be recorded now"


@dataclass(frozen=True, slots=True)
class Answer:
    """Why, and what a kernel's messages need beside it: the time (RFC 3339), and numbers that do not repeat."""

    sentence: str
    date: str
    number: Callable[[], str]


def echo(header: Mapping[str, Any]) -> dict[str, Any] | None:
    """A request's header as it may be repeated; None for one that no Jupyter client would have sent."""
    if len(header) > _FIELDS or any(len(name) > _NAME for name in header):
        return None
    for value in header.values():
        if not (value is None or isinstance(value, bool) or (isinstance(value, str) and len(value) <= _TEXT)):
            return None
    return dict(header) if len(_json(dict(header))) <= HEADER_LIMIT else None


def closing() -> bytes:
    """A close frame: come back later (1013)."""
    return Frame(Opcode.CLOSE, Close(CloseCode.TRY_AGAIN_LATER, _CLOSING).serialize()).serialize(mask=False)


def to_terminal(answer: Answer) -> bytes:
    """A line in the terminal, and the end."""
    line = _json(["stdout", f"\r\n{answer.sentence}\r\n"])
    return Frame(Opcode.TEXT, line).serialize(mask=False) + closing()


def to_cells(answer: Answer, headers: Sequence[dict[str, Any]], subprotocol: str) -> bytes:
    """To each request with one of these headers that it has failed, and the end."""
    said, end = b"", closing()
    for header in headers:
        frames = _to_cell(answer, header, subprotocol)
        if len(said) + len(frames) + len(end) > WORDS_LIMIT:
            break
        said += frames
    return said + end


def _to_cell(answer: Answer, header: dict[str, Any], subprotocol: str) -> bytes:
    error = {"ename": "NotRecorded", "evalue": answer.sentence, "traceback": [answer.sentence]}
    reply: dict[str, Any] = {"status": "error", "execution_count": None, "user_expressions": {}, "payload": [], **error}
    said = b""
    for channel, kind, content in (
        ("iopub", "error", error),
        ("shell", "execute_reply", reply),
        ("iopub", "status", {"execution_state": "idle"}),
    ):
        own = {
            "msg_id": f"hpcsec-{answer.number()}",
            "msg_type": kind,
            "username": "hpcsec",
            "session": "hpcsec",
            "date": answer.date,
            "version": "5.3",
        }
        if subprotocol == kernel.V1:
            parts = [channel.encode(), _json(own), _json(header), _json({}), _json(content)]
            said += Frame(Opcode.BINARY, kernel.join_v1(parts)).serialize(mask=False)
        else:
            message = {
                "header": own,
                "msg_id": own["msg_id"],
                "msg_type": kind,
                "parent_header": header,
                "metadata": {},
                "content": content,
                "buffers": [],
                "channel": channel,
            }
            said += Frame(Opcode.TEXT, _json(message)).serialize(mask=False)
    return said


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")
