"""One direction of a websocket (RFC 6455), with permessage-deflate (RFC 7692): bytes in, whole messages out. Pure.

``websockets`` does the parsing: masks, fragments, control frames in between, compression with its context. A message is
held until it is whole, at most ``MESSAGE_LIMIT`` bytes of it, compressed or not; tornado takes no larger one either.
"""

import logging
import re
from dataclasses import dataclass

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from jupyter_hpcsec.errors import Refused

MESSAGE_LIMIT = 10 << 20
"""Bytes of one message: tornado's ``websocket_max_message_size``, which jupyter_server leaves as it is."""

_SILENT = logging.getLogger("jupyter_hpcsec.audit.tap.websocket")
_SILENT.setLevel(logging.CRITICAL)  # what the library would say of a peer is told as an event
_PARAMETER = re.compile(r"(server|client)_(no_context_takeover|max_window_bits)(?:=\"?(8|9|1[0-5])\"?)?")
_DEFAULT_BITS = 15


@dataclass(frozen=True, slots=True)
class Message:
    """One message, unmasked, put together and inflated."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Deflate:
    """How one direction is compressed."""

    has_no_takeover: bool
    window_bits: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the handshake agreed on: the compression of both directions, None without, and the subprotocol."""

    browser: Deflate | None
    server: Deflate | None
    subprotocol: str


def malformed(reason: str) -> Refused:
    """The refusal of bytes that are no websocket's."""
    return Refused("tap.ws-malformed", reason)


def agreed(extensions: str, subprotocol: str) -> Agreed:
    """Read the headers of a 101 answer; ``Refused`` for an extension that can't be followed."""
    extensions = extensions.strip()
    if not extensions:
        return Agreed(None, None, subprotocol.strip())
    name, *parameters = (part.strip() for part in extensions.split(";"))
    if name != "permessage-deflate":
        raise malformed("the server agreed to a websocket extension that is not permessage-deflate")
    found: dict[tuple[str, str], int] = {}
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None or (match[1], match[2]) in found or (match[3] is None) != (match[2] == "no_context_takeover"):
            raise malformed("a parameter of permessage-deflate is not of RFC 7692")
        found[match[1], match[2]] = int(match[3] or 0)
    sides = [
        Deflate((side, "no_context_takeover") in found, found.get((side, "max_window_bits"), _DEFAULT_BITS))
        for side in ("client", "server")
    ]
    return Agreed(sides[0], sides[1], subprotocol.strip())


class WebSocketFollower:
    """What one side sends. ``is_browser``: that side masks its frames, as it must."""

    __slots__ = ("_is_text", "_parts", "_protocol")

    def __init__(self, *, is_browser: bool, deflate: Deflate | None, limit: int = MESSAGE_LIMIT) -> None:
        self._protocol = Protocol(Side.SERVER if is_browser else Side.CLIENT, max_size=limit, logger=_SILENT)
        if deflate is not None:
            self._protocol.extensions = [
                PerMessageDeflate(deflate.has_no_takeover, True, deflate.window_bits, _DEFAULT_BITS)
            ]
        self._parts: list[bytes] = []
        self._is_text = False

    def feed(self, view: memoryview) -> list[Message]:
        """The messages that these bytes complete. ``Refused`` under ``tap.ws-malformed``."""
        self._protocol.receive_data(bytes(view))
        self._protocol.data_to_send()  # pongs and closes: the real ends answer, this one only listens
        if self._protocol.parser_exc is not None:
            error = self._protocol.parser_exc
            raise malformed(f"a websocket's frames can't be parsed: {type(error).__name__}: {error}") from error
        messages = []
        for event in self._protocol.events_received():
            message = self._take(event) if isinstance(event, Frame) else None
            if message is not None:
                messages.append(message)
        return messages

    def _take(self, frame: Frame) -> Message | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return None
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return None
        data, self._parts = b"".join(self._parts), []
        return Message(data, self._is_text)
