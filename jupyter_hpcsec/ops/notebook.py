"""Runs the example notebook through a kernel's websocket, cell by cell, and checks what comes back.

The messages are those of the Jupyter messaging protocol 5.4 in the websocket's JSON form. Reading and judging are pure
functions; ``KernelSocket`` is the thin shell around the connection.
"""

import base64
import binascii
import io
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable

STATISTIC_CELL = "statistic"
STATISTIC = "0.9629"
"""Pearson's r of petal length and petal width over Fisher's 150 irises (0.96286543…), rounded as the cell does."""
FIGURE_CELL = "figure"
FIGURE_LEAST_PX = 200
FIGURE_LEAST_COLOURED_PX = 500
"""An empty pair of axes is grey; 150 coloured points are several thousand pixels."""


@dataclass(frozen=True)
class Cell:
    """A code cell: its id (nbformat 4.5) and source."""

    id: str
    source: str


@dataclass
class Output:
    """What one cell gave: the last ``execute_result`` and ``display_data`` by media type, and the streams' text."""

    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""


class Connection(Protocol):
    """A websocket as tornado has it."""

    def write_message(self, message: str) -> Awaitable[None]:
        """Send one text message."""

    def read_message(self) -> Awaitable[str | bytes | None]:
        """The next message, or ``None`` when the connection is closed."""


def find_example() -> Path:
    """``examples/eda.ipynb`` beside the source, or where the wheel puts it; ``Unavailable`` names both."""
    places = [
        Path(__file__).parents[2] / "examples" / "eda.ipynb",
        Path(sys.prefix) / "share" / "jupyter-hpcsec" / "examples" / "eda.ipynb",
    ]
    for place in places:
        if place.is_file():
            return place
    raise Unavailable(f"The example notebook is neither {places[0]} nor {places[1]}.")


def code_cells(notebook: str) -> list[Cell]:
    """The code cells of a notebook's JSON text, in order; ``Malformed`` when it has none or is no notebook."""
    try:
        cells = json.loads(notebook)["cells"]
        found = [Cell(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as exc:
        raise Malformed("This is not a notebook of format 4.5.") from exc
    if not found:
        raise Malformed("The notebook has no code cell.")
    return found


def figure_facts(data: bytes) -> dict[str, Any]:
    """Size of a PNG and its pixels that are not grey, decoded in full; ``Malformed`` when that fails."""
    from PIL import Image  # noqa: PLC0415 - comes with the demo's packages, which a hub does not need

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            saturation = image.convert("RGB").convert("HSV").getchannel("S").histogram()
            coloured = sum(saturation[64:])
            return {"figure_bytes": len(data), "figure_px": list(image.size), "figure_coloured_px": coloured}
    except (OSError, SyntaxError, Image.DecompressionBombError) as exc:
        raise Malformed("The figure is not a whole PNG.") from exc


def judge(outputs: Mapping[str, Output]) -> dict[str, Any]:
    """The facts for the report; ``Refused`` when the statistic differs or the figure is missing or trivial."""
    statistic = outputs[STATISTIC_CELL].data.get("text/plain") if STATISTIC_CELL in outputs else None
    if statistic != STATISTIC:
        raise Refused("notebook.statistic", f"The statistic is {statistic!r}, not {STATISTIC}.")
    encoded = outputs[FIGURE_CELL].data.get("image/png") if FIGURE_CELL in outputs else None
    if not isinstance(encoded, str):
        raise Refused("notebook.figure", "No figure came back.")
    try:
        figure = base64.b64decode("".join(encoded.split()), validate=True)
    except binascii.Error as exc:
        raise Malformed("The figure is not base64.") from exc
    facts = figure_facts(figure)
    if min(facts["figure_px"]) < FIGURE_LEAST_PX or facts["figure_coloured_px"] < FIGURE_LEAST_COLOURED_PX:
        raise Refused("notebook.figure", f"The figure is trivial: {facts}.")
    return {"statistic": statistic, **facts}


class KernelSocket:
    """One client of one kernel."""

    def __init__(self, connection: Connection, session: str, new_id: Callable[[], str]) -> None:
        self._connection = connection
        self._session = session
        self._new_id = new_id

    async def run(self, source: str) -> Output:
        """Execute ``source``; returns when the kernel is idle again and has replied. ``Refused`` with its error."""
        message_id = self._new_id()
        await self._send("execute_request", message_id, _execution(source))
        output = Output()
        idle = replied = False
        failure: HpcsecError | None = None
        while not (idle and replied):
            message = await self._receive()
            if message.get("parent_header", {}).get("msg_id") != message_id:
                continue
            kind, content = message.get("msg_type"), message.get("content", {})
            if kind == "status":
                idle = content.get("execution_state") == "idle"
            elif kind == "execute_reply":
                replied = True
            elif kind == "error":
                failure = Refused("notebook.cell", f"{content.get('ename')}: {content.get('evalue')}")
            elif kind == "stream":
                output.text += content.get("text", "")
            elif kind in {"execute_result", "display_data"}:
                output.data.update(content.get("data", {}))
        if failure is not None:
            raise failure
        return output

    async def _send(self, kind: str, message_id: str, content: dict[str, Any]) -> None:
        header = {"msg_id": message_id, "msg_type": kind, "session": self._session, "username": "", "version": "5.4"}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        await self._connection.write_message(json.dumps(message))

    async def _receive(self) -> dict[str, Any]:
        received = await self._connection.read_message()
        if received is None:
            raise Unavailable("The kernel's websocket was closed.")
        try:
            message = json.loads(received)
        except ValueError as exc:
            raise Malformed("A kernel message is not JSON.") from exc
        if not isinstance(message, dict):
            raise Malformed("A kernel message is not an object.")
        return message


def _execution(source: str) -> dict[str, Any]:
    return {
        "code": source,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
