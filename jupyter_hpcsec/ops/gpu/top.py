"""``hpcsec gpu top``: what of mine is on the GPUs, by notebook, in a terminal inside the job. It asks the driver.

The server's panel knows more (idle limits, alerts), but terminals have no token to ask it with, on purpose. Of other
accounts there is nothing but how many processes and how much memory.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jupyter_hpcsec.errors import printable
from jupyter_hpcsec.gpu.panel import total
from jupyter_hpcsec.gpu.processes import read
from jupyter_hpcsec.gpu.rules import why_blind
from jupyter_hpcsec.gpu.samples import Context, Device, Process, Scan

MIB = 1 << 20
NOTEBOOK_VARIABLE = b"JPY_SESSION_NAME="
"""By jupyter_server, in each kernel's environment: the path of its notebook."""
NOT_KNOWN = "?"
"""Not measurable, or not visible from here; which is not 0."""


@dataclass(frozen=True)
class Row:
    """One process of mine on one device. ``notebook`` is None where its environment can't be read."""

    device: Device
    context: Context
    process: Process
    notebook: str | None


def notebook_in(environment: bytes) -> str:
    """The notebook of ``/proc/PID/environ``, empty where none is named."""
    for entry in environment.split(b"\0"):
        if entry.startswith(NOTEBOOK_VARIABLE):
            return entry[len(NOTEBOOK_VARIABLE) :][-4096:].decode("utf-8", "replace")
    return ""


def rows(scan: Scan, environ: Callable[[int], bytes | None]) -> list[Row]:
    """Mine, by notebook; ``environ`` reads a process's environment where that is allowed."""
    mine = {process.pid: process for process in scan.processes if _is_mine(process, scan)}
    told = {pid: environ(pid) for pid in mine}
    names = {pid: None if found is None else notebook_in(found) for pid, found in told.items()}
    found = [
        Row(device, context, mine[context.pid], names[context.pid])
        for reading in scan.readings
        for device in reading.devices
        for context in (() if device.split else device.contexts)
        if context.pid in mine
    ]
    return sorted(found, key=lambda row: (not row.notebook, row.notebook or "", row.device.index, row.process.pid))


def _is_mine(process: Process, scan: Scan) -> bool:
    other_job = scan.cgroup and process.cgroup and process.cgroup != scan.cgroup
    return process.uid == scan.uid and not other_job


def environ_of(pid: int) -> bytes | None:
    """None where it can't be read: another account's, or a sandbox is between."""
    return read(f"/proc/{pid}/environ")


def table(scan: Scan, environ: Callable[[int], bytes | None] = environ_of) -> Group:
    """What is shown."""
    parts: list[Text | Table] = []
    if any(reading.simulated for reading in scan.readings):
        parts.append(Text("These GPUs are SIMULATED.", style="bold red"))
    for reading in scan.readings:
        if reading.state != "ok":
            parts.append(Text(f"{reading.source}: {reading.state}: {printable(reading.detail)}", style="red"))
    devices = [device for reading in scan.readings for device in reading.devices]
    if not devices:
        return Group(*parts, Text("No GPU is visible from here."))
    found = rows(scan, environ)
    return Group(*parts, _devices(devices, found), _processes(found))


def _devices(devices: Iterable[Device], found: Iterable[Row]) -> Table:
    made = _columns("GPU", "NAME", "STATE", ">USE", ">MEMORY MiB", ">OTHERS", ">OTHERS MiB")
    mine = {(row.device.uuid, row.context.pid) for row in found}
    for device in devices:
        others = [context for context in device.contexts if (device.uuid, context.pid) not in mine]
        used = f"{_mib(device.memory_used)} / {_mib(device.memory_total)}"
        cells = (device.name, why_blind(device) or device.state, _percent(device.utilisation), used, str(len(others)))
        made.add_row(*(Text(printable(cell, 60)) for cell in (_name(device), *cells, _mib(total(others)))))
    return made


def _processes(found: Iterable[Row]) -> Table:
    made = _columns("NOTEBOOK", "KERNEL", "GPU", ">PID", "PROCESS", ">MEMORY MiB", ">USE")
    for row in found:
        notebook = NOT_KNOWN if row.notebook is None else row.notebook or "-"
        cells = (
            notebook, row.process.kernel[:8] or "-", _name(row.device), str(row.process.pid), row.process.name,
            _mib(row.context.memory), _percent(row.context.utilisation),
        )  # fmt: skip
        made.add_row(*(Text(printable(cell, 120)) for cell in cells))
    return made


def _columns(*names: str) -> Table:
    made = Table(box=None, pad_edge=False)
    for name in names:
        made.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return made


def _name(device: Device) -> str:
    return device.uuid[:12] if device.parent else str(device.index)


def _mib(memory: int | None) -> str:
    return NOT_KNOWN if memory is None else str(memory // MIB)


def _percent(share: int | None) -> str:
    return NOT_KNOWN if share is None else f"{share} %"


def show(
    ask: Callable[[], Scan],
    console: Console,
    *,
    interval_s: float | None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Once, or with an interval again and again until it is interrupted."""
    if interval_s is None:
        console.print(table(ask()))
        return
    with Live(table(ask()), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            pause(interval_s)
            live.update(table(ask()), refresh=True)
