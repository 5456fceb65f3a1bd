"""What passes in a kernel's websocket: cells, inputs, comms, the debugger, orders to the kernel. Pure.

Code that is about to run is required to be on record first, by whatever message it comes: ``execute_request`` (silent
or not, with its expressions), a debugger's request, an answer to ``input()``.
"""

import contextlib
import json
from typing import Any

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds import kernels as k
from jupyter_hpcsec.audit.tap import kernel, refusal
from jupyter_hpcsec.audit.tap.boundary import Boundary
from jupyter_hpcsec.audit.tap.kernel import KernelMessage
from jupyter_hpcsec.audit.tap.outputs import Outputs
from jupyter_hpcsec.audit.tap.refusal import Answer
from jupyter_hpcsec.audit.tap.teller import Site, Told
from jupyter_hpcsec.audit.tap.websocket import Agreed, WebSocketFollower
from jupyter_hpcsec.errors import Refused

QUIET = frozenset(
    {
        "comm_info_request",
        "complete_request",
        "history_request",
        "inspect_request",
        "is_complete_request",
        "kernel_info_request",
    }
)
"""Questions that a notebook asks of its kernel by itself, many a minute."""


class ChannelsSocket:
    """One websocket to a kernel."""

    def __init__(self, site: Site, told: Told, agreed: Agreed, *, kernel: str, source: str) -> None:
        self._site, self._told, self._kernel, self._source = site, told, kernel, source
        self._subprotocol = agreed.subprotocol
        self._browser = WebSocketFollower(is_browser=True, deflate=agreed.browser)
        self._server: WebSocketFollower | None = None
        self._boundary = Boundary()
        self._asked: list[dict[str, Any]] = []
        self._outputs = Outputs(site, told, kernel=kernel, source=source)
        if site.recording.keeps_outputs:
            self._server = WebSocketFollower(is_browser=False, deflate=agreed.server)

    def from_browser(self, view: memoryview) -> None:
        """Bytes on their way to the kernel. ``Refused``."""
        self._asked.clear()  # what came before has passed
        for message in self._browser.feed(view):
            self._tell(kernel.parse(message, self._subprotocol))

    def from_server(self, view: memoryview) -> None:
        """Bytes that the kernel answered: looked into only where outputs are recorded."""
        self._boundary.feed(view)
        if self._server is None:
            return
        try:
            for message in self._server.feed(view):
                self._outputs.take(kernel.parse(message, self._subprotocol))
        except Refused as refusal:  # nothing is run by an answer; what is recorded of answers ends here and says so
            self._server = None
            self._outputs.lost(refusal.reason)

    def last_words(self, answer: Answer, unread: memoryview) -> bytes:
        """Cells that did not pass, or are among what is ``unread``, get an error; others only see the end."""
        if not self._boundary.is_between:
            return b""
        with contextlib.suppress(Refused):  # what can't be read is not answered
            for message in self._browser.feed(unread):
                parsed = kernel.parse(message, self._subprotocol)
                if parsed.type == "execute_request":
                    self._ask(parsed)
        return refusal.to_cells(answer, self._asked, self._subprotocol)

    def closed(self) -> None:
        """The websocket is over."""
        self._outputs.closed()

    def _tell(self, message: KernelMessage) -> None:
        common: dict[str, Any] = {
            "kernel": self._kernel,
            "message": message.id,
            "source": self._source,
            "session": self._site.session,
        }
        match message.type:
            case "execute_request":
                self._tell_cell(message, common)
            case "input_reply":
                text = self._site.recording.sealed("input", _text(message.content.get("value")))
                on = Object(size=text.size)
                self._told.require(k.KernelInput(object=on, redacted=text.redacted, **common), text.values)
            case "debug_request":
                arguments = json.dumps(message.content.get("arguments"), ensure_ascii=False)
                text = self._site.recording.sealed("arguments", arguments)
                command = _text(message.content.get("command"))
                on = Object(size=text.size, sha256=text.sha256)
                event = k.KernelDebug(command=command, object=on, redacted=text.redacted, **common)
                self._told.require(event, text.values)
            case "interrupt_request":
                self._told.require(k.KernelInterrupted(**common))
            case "shutdown_request" if message.content.get("restart"):
                self._told.require(k.KernelRestarted(**common))
            case "shutdown_request":
                self._told.require(k.KernelShutdown(**common))
            case "comm_open" | "comm_msg" | "comm_close":
                self._tell_comm(message, common)
            case kind if kind not in QUIET:
                on = Object(size=message.size)
                self._told.require(k.KernelMessaged(type=kind, channel=message.channel, object=on, **common))

    def _tell_comm(self, message: KernelMessage, common: dict[str, Any]) -> None:
        event = k.KernelComm(
            action=message.type.removeprefix("comm_"),
            comm=_text(message.content.get("comm_id")),
            target=_text(message.content.get("target_name")),
            object=Object(size=message.size),
            **common,
        )
        self._told.note(event)

    def _tell_cell(self, message: KernelMessage, common: dict[str, Any]) -> None:
        content, recording = message.content, self._site.recording
        code = content.get("code")
        if not isinstance(code, str):
            raise kernel.malformed("the code of an execute_request is no text")
        source = recording.sealed("source", code)
        values, redacted = dict(source.values), source.redacted
        expressions = content.get("user_expressions") or {}
        if not isinstance(expressions, dict):
            raise kernel.malformed("the expressions of an execute_request are no object")
        if expressions:
            also = recording.sealed("expressions", json.dumps(expressions, ensure_ascii=False))
            values, redacted = values | dict(also.values), redacted + also.redacted
        silent = bool(content.get("silent"))
        event = k.CellExecuted(
            object=Object(size=source.size, sha256=source.sha256),
            cell=message.cell,
            channel=message.channel,
            silent=silent,
            store_history=bool(content.get("store_history", not silent)),
            expressions=len(expressions),
            redacted=redacted,
            **common,
        )
        self._told.require(event, values)
        self._outputs.expect(message.id)
        self._ask(message)

    def _ask(self, message: KernelMessage) -> None:
        header = refusal.echo(message.header)
        if header is not None:
            self._asked.append(header)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
