"""What a kernel answered to the cells of one websocket, where outputs are recorded: at most so much per cell. Pure."""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.kinds import kernels as k
from jupyter_hpcsec.audit.tap.kernel import KernelMessage
from jupyter_hpcsec.audit.tap.teller import Site, Told

CELLS = 256
"""Cells of one websocket that may be waiting for their outputs; of more, the oldest are told as they are."""
KEPT_LIMIT = 4 << 20
"""Bytes of outputs that are held for all cells of one websocket."""
_SHOWN = {"stream", "execute_result", "display_data", "error"}


@dataclass(slots=True)
class _Cell:
    started: float
    outputs: list[str] = field(default_factory=list)
    size: int = 0
    truncated: int = 0
    status: str = ""
    execution_count: int = 0
    is_idle: bool = False


class Outputs:
    """The answers on one websocket."""

    def __init__(self, site: Site, told: Told, *, kernel: str, source: str) -> None:
        self._site, self._told, self._kernel, self._source = site, told, kernel, source
        self._cells: OrderedDict[str, _Cell] = OrderedDict()
        self._kept = 0

    def expect(self, message_id: str) -> None:
        """A cell is on its way."""
        if not self._site.recording.keeps_outputs:
            return
        self._cells[message_id] = _Cell(self._site.clock())
        while len(self._cells) > CELLS:
            self._tell(next(iter(self._cells)), "too many cells wait for their outputs")

    def take(self, message: KernelMessage) -> None:
        """One message of the kernel."""
        cell = self._cells.get(message.parent)
        if cell is None:
            return
        if message.type in _SHOWN:
            self._keep(cell, message)
        elif message.type == "execute_reply":
            count = message.content.get("execution_count")
            cell.status = str(message.content.get("status", ""))
            cell.execution_count = count if isinstance(count, int) else 0
        elif message.type == "status" and message.content.get("execution_state") == "idle":
            cell.is_idle = True
        if cell.is_idle and cell.status:
            self._tell(message.parent)

    def lost(self, why: str) -> None:
        """Answers can't be followed any further."""
        for message_id in list(self._cells):
            self._tell(message_id, f"the outputs could not be followed: {why}")

    def closed(self) -> None:
        """The websocket is over; its cells may go on."""
        for message_id in list(self._cells):
            self._tell(message_id, "the browser's connection was over before the cell was")

    def _keep(self, cell: _Cell, message: KernelMessage) -> None:
        shown: dict[str, Any] = {"output_type": message.type, **message.content}
        shown.pop("transient", None)
        text = json.dumps(shown, ensure_ascii=False)
        size = len(text.encode("utf-8", errors="replace"))
        if cell.size + size > self._site.recording.output_limit or self._kept + size > KEPT_LIMIT:
            cell.truncated += size
            return
        cell.outputs.append(text)
        cell.size += size
        self._kept += size

    def _tell(self, message_id: str, why: str = "") -> None:
        cell = self._cells.pop(message_id)
        self._kept -= cell.size
        text = self._site.recording.sealed("outputs", f"[{','.join(cell.outputs)}]")
        event = k.KernelReply(
            session=self._site.session,
            kernel=self._kernel,
            message=message_id,
            source=self._source,
            status=cell.status,
            execution_count=cell.execution_count,
            duration_ms=round(1000 * (self._site.clock() - cell.started)),
            digest=text.sha256,
            truncated=cell.truncated,
            redacted=text.redacted,
            object=Object(size=text.size),
            reason=why,
        )
        self._told.note(event, text.values)
