"""``hpcsec quickstart --check``: does in a person's place what a first session does, and says whether all held.

The steps are those of ``Check``; each is timed and the first that fails ends the check, with its sentence in the
report. Nothing is forgiven: a listener of the session, a hash that differs, or a process that is left is a failure.
"""

import asyncio
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.ops.browser import Browser
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.notebook import KernelSocket, Output, code_cells, find_example, judge
from jupyter_hpcsec.ops.protections import as_facts, protections_here
from jupyter_hpcsec.ops.quickstart import CONSOLE, Demo, Settings, run_demo
from jupyter_hpcsec.ops.recorded import look
from jupyter_hpcsec.ops.session_ports import View
from jupyter_hpcsec.ops.stopping import Interrupted
from jupyter_hpcsec.ops.transfer import CHUNK, compare, download, upload
from jupyter_hpcsec.ops.versions import versions

TRANSFER_CHUNKS = 64
"""Of 1 MiB: the 64 MiB file."""
KERNEL = "python3"
STOP_PATIENCE_S = 40.0
"""JupyterHub answers after 10 s even if the stop takes longer."""
RECORD_PATIENCE_S = 20.0
TICK_S = 0.2
HELD_GIB = 2
GPU_PATIENCE_S = 60.0
LEAST_PROCESSES = 4
"""Agent, server, kernel, terminal."""


@dataclass
class Report:
    """What the check found; ``ok`` only when it came to its end without an error."""

    finished: bool = False
    notebook: dict[str, Any] = field(default_factory=dict)
    transfer: dict[str, Any] = field(default_factory=dict)
    record: dict[str, int] = field(default_factory=dict)
    """Events of the audit record, by kind, that the check has caused."""
    console: dict[str, Any] = field(default_factory=dict)
    """What the security console answers: to the one who looks after security, and to the data scientist."""
    listeners: list[dict[str, Any]] | None = None
    """``None``: not looked at, which is no proof of anything."""
    gpus: dict[str, Any] = field(default_factory=dict)
    """With ``--fake-gpus``: what the watch said of a cell that pretends to hold memory."""
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    protections: dict[str, dict[str, str]] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """All of it held."""
        return self.finished and not self.errors and self.listeners == []

    @property
    def status(self) -> int:
        """Exit status: 0, 1, or 130 when a signal came."""
        return 0 if self.ok else 130 if Interrupted.__name__ in self.errors else 1

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        facts = asdict(self)
        del facts["finished"]
        return {"ok": self.ok, **facts}

    def as_text(self) -> str:
        """For a person."""
        seconds = ", ".join(f"{name} {value:.1f} s" for name, value in self.timings.items())
        return "\n".join([f"ok: {seconds}" if self.ok else "NOT ok", *(f"  {error}" for error in self.errors)])


class Check:
    """One check of a running demo. ``look`` sees the session's processes and their open ports."""

    def __init__(self, demo: Demo, browser: Browser, report: Report, look: Callable[[], Awaitable[View]]) -> None:
        self._demo = demo
        self._browser = browser
        self._report = report
        self._look = look
        self._user = demo.plan.user
        self._base = f"/user/{quote(self._user)}/"
        self._sources: list[str] = []

    @asynccontextmanager
    async def _timed(self, step: str) -> AsyncIterator[None]:
        self._demo.family.check()
        begin = time.monotonic()
        yield
        self._report.timings[step] = round(time.monotonic() - begin, 3)
        self._demo.console.say("check", f"{step}: {self._report.timings[step]:.2f} s")

    async def run(self) -> None:
        """All steps; the first ``HpcsecError`` ends it."""
        async with self._timed("login"):
            await self._log_in()
        async with self._timed("spawn"):
            async for message in self._browser.spawn(self._user):
                self._report.progress.append(message)
                self._demo.console.say("session", message)
        async with self._timed("lab"):
            await self._browser.page(f"{self._base}lab")
        async with self._timed("notebook"):
            await self._run_notebook()
        async with self._timed("console"):
            await self._look_at_console()
        await self._transfer()
        async with self._timed("stop_server"):
            await self._stop_server()
        async with self._timed("record"):
            await self._look_at_record()
        self._report.finished = True

    async def _log_in(self) -> None:
        link = self._demo.login_url()
        await self._browser.page(f"{link}&next=%2Fhub%2Fhome")
        stranger = Browser(self._demo.plan.url)
        try:
            await stranger.page(link)
        except Refused:
            return
        finally:
            await stranger.close()
        raise Refused("login.reused", "The one-time link was good twice.")

    async def _run_notebook(self) -> None:
        example = find_example()
        kernel = (await self._browser.fetch("POST", f"{self._base}api/kernels", {"name": KERNEL})).json()
        await self._browser.fetch("POST", f"{self._base}api/terminals", {})
        client = uuid.uuid4().hex
        channels = f"{self._base}api/kernels/{kernel['id']}/channels?session_id={client}"
        connection = await self._browser.websocket(channels)
        try:
            runner = KernelSocket(connection, client, lambda: uuid.uuid4().hex)
            outputs: dict[str, Output] = {}
            for cell in code_cells(example.read_text(encoding="utf-8")):
                self._sources.append(cell.source)
                outputs[cell.id] = await runner.run(cell.source)
            self._report.notebook = {"name": example.name, "cells": len(outputs), **judge(outputs)}
            await self._look_at_listeners()
            if self._demo.settings.fake_gpus:
                self._sources.append(f"from jupyter_hpcsec.gpu.standin import hold; hold({HELD_GIB})")
                await runner.run(self._sources[-1])
                await self._look_at_gpus(kernel["id"])
        finally:
            connection.close()

    async def _look_at_gpus(self, kernel: str) -> None:
        """Until the watch has seen what the cell holds."""
        async with asyncio.timeout(GPU_PATIENCE_S):
            while True:
                panel = (await self._browser.fetch("GET", f"{self._base}hpcsec/api/gpu")).json()
                held = {each["id"]: each["memory"] for each in panel["kernels"]}.get(kernel, 0)
                if held:
                    break
                await asyncio.sleep(TICK_S)
        self._report.gpus = {"simulated": panel["simulated"], "devices": len(panel["devices"]), "held": held}

    async def _look_at_listeners(self) -> None:
        """Now: the kernel and the terminal run."""
        seen = await self._look()
        if seen.agents != 1 or seen.processes < LEAST_PROCESSES:
            raise Unavailable(f"Agent, server, kernel and terminal should be seen, but it is {seen}.")
        self._report.listeners = seen.ports
        if self._report.listeners:
            first = self._report.listeners[0]
            raise Refused("listeners.open", f"The session listens on {len(self._report.listeners)} port(s): {first}.")

    async def _transfer(self) -> None:
        name = f"hpcsec-check-{secrets.token_hex(4)}.bin"
        blocks = random_blocks(TRANSFER_CHUNKS)
        async with self._timed("upload"):
            sent = await upload(self._browser, self._base, name, blocks, TRANSFER_CHUNKS)
        async with self._timed("download"):
            received = await download(self._browser, self._base, name)
        self._report.transfer = compare((sent, TRANSFER_CHUNKS * CHUNK), received)
        await self._browser.fetch("DELETE", f"{self._base}api/contents/{name}")

    async def _look_at_record(self) -> None:
        """What was only noted becomes durable a moment later."""
        end = time.monotonic() + RECORD_PATIENCE_S
        while True:
            try:
                self._report.record = await asyncio.to_thread(look, self._demo.plan.record, self._sources)
            except Refused:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(TICK_S)
            else:
                return

    async def _look_at_console(self) -> None:
        """The auditor sees the session; the data scientist is refused."""
        [session] = await self._demo.sessions()
        auditor = Browser(self._demo.plan.url)
        try:
            page = await auditor.page(self._demo.auditor_url())
        finally:
            await auditor.close()
        try:
            await self._browser.page(f"{CONSOLE}live")
        except Refused as refusal:
            rule = refusal.rule
        else:
            raise Refused("console.open", "The security console lets the data scientist see all sessions.")
        sees = page.url.path == f"{CONSOLE}live" and session["id"] in page.text
        self._report.console = {"auditor_sees_session": sees, "data_scientist": rule}
        if not sees or rule != "http.403":
            raise Refused("console.wrong", f"The security console answers as it should not: {self._report.console}.")

    async def _stop_server(self) -> None:
        server = f"/hub/api/users/{quote(self._user)}/server"
        await self._browser.page("/hub/home")
        await self._browser.fetch("DELETE", server)
        end = time.monotonic() + STOP_PATIENCE_S
        while (seen := await self._look()).processes:
            if time.monotonic() > end:
                raise Refused("stop.processes", f"The server was stopped, but {seen.processes} of its processes live.")
            await asyncio.sleep(TICK_S)


def random_blocks(count: int) -> Iterator[bytes]:
    """``count`` blocks of ``CHUNK`` random bytes."""
    return (os.urandom(CHUNK) for _ in range(count))


async def checked(settings: Settings, console: Console, caller: Mapping[str, str]) -> Report:
    """Run a demo, check it, stop it; never raises an ``HpcsecError``: it is in the report."""
    report = Report(protections=as_facts(protections_here(slurm=settings.slurm)))

    async def work(demo: Demo) -> None:
        report.timings["start"] = round(console.elapsed(), 3)
        report.versions = versions(demo.programs(), caller.get("PATH", os.defpath), demo.plan.variables)
        browser = Browser(demo.plan.url)
        try:
            await Check(demo, browser, report, demo.look).run()
        finally:
            await browser.close()

    try:
        await run_demo(settings, console, caller, work)
    except HpcsecError as error:
        report.errors.append(str(error))
    except Interrupted:
        report.errors.append(Interrupted.__name__)
    report.timings["total"] = round(console.elapsed(), 3)
    return report
