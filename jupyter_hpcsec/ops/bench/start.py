"""``hpcsec bench start``: from the click to a server that answers, ours beside plain batchspawner with an open port.

Two whole hubs on this computer, over the same local batch system, start a server in turn. It measures the whole way
from the browser's request to JupyterLab's page, not only from the moment the job runs: the queue is empty.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from jupyter_hpcsec.ops.bench.facts import machine
from jupyter_hpcsec.ops.bench.statistics import Summary, paired_ratio
from jupyter_hpcsec.ops.browser import Browser
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.demo_plan import Config, Plan
from jupyter_hpcsec.ops.ports import LOOPBACK
from jupyter_hpcsec.ops.quickstart import Demo, Settings
from jupyter_hpcsec.ops.sites import LocalSite
from jupyter_hpcsec.ops.stopping import Stopping

BOUND = 1.15
PAUSE_S = 1.0
STOP_TRIES = 30


@dataclass(frozen=True)
class PlainPlan(Plan):
    """A hub that jobs reach by TCP, with batchspawner's own spawner."""

    hub_port: int = 0

    @property
    def hub_socket_url(self) -> str:
        """An open port: ``batchspawner-singleuser`` knows no other way."""
        return f"http://{LOOPBACK}:{self.hub_port}"


class PlainSite(LocalSite):
    """The same computer with the rival's spawner."""

    def spawner_settings(self, state: Path, admin_socket: Path) -> Config:
        """As the documentation of batchspawner has it."""
        jobs = {"HPCSEC_LOCALJOB_DIR": str(state / "jobs")}
        return {"PlainSpawner": {"demo_home": str(state / "home"), "environment": jobs}}


class PlainDemo(Demo):
    """A demo with the rival's hub."""

    def _make_plan(self, state: Path, site: Any, proxy: tuple[str, ...], port: int) -> Plan:
        plan = super()._make_plan(state, site, proxy, port)
        rival = PlainSite()
        changed = {
            **{name: getattr(plan, name) for name in plan.__dataclass_fields__},
            "spawner": "jupyter_hpcsec.ops.bench.plain_spawner.PlainSpawner",
            "spawner_settings": rival.spawner_settings(state, plan.admin_socket),
            "hub_port": self.family.port(),
        }
        return PlainPlan(**changed)

    async def _hub_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                return (await client.get(f"{self.plan.url}/hub/health")).is_success
        except httpx.TransportError:
            return False


@dataclass(frozen=True)
class Report:
    """Seconds from the request to *ready*, a value a round for each way, and the paired ratio."""

    machine: dict[str, Any]
    ours_s: list[float]
    plain_s: list[float]
    ratio: Summary

    @property
    def is_held(self) -> bool:
        """Whether the design's number holds."""
        return self.ratio.median <= BOUND

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "machine": self.machine,
            "ours_s": self.ours_s,
            "plain_batchspawner_s": self.plain_s,
            "ratio": self.ratio.median,
            "bound": BOUND,
            "held": self.is_held,
        }

    def as_text(self) -> str:
        """For a person."""
        ours, plain = Summary.of(self.ours_s), Summary.of(self.plain_s)
        return (
            f"request to ready: ours {ours.median:.2f} s, plain batchspawner with an open port {plain.median:.2f} s\n"
            f"{'held' if self.is_held else 'NOT HELD'}: ratio {self.ratio.median:.2f} "
            f"({self.ratio.low:.2f} to {self.ratio.high:.2f} in {self.ratio.rounds} rounds), at most {BOUND}"
        )


async def _one_start(demo: Demo, browser: Browser) -> float:
    """Start a server, wait until its page answers, stop it; seconds of the first two."""
    user = demo.plan.user
    begin = time.monotonic()
    async for _ in browser.spawn(user):
        pass
    await browser.page(f"/user/{quote(user)}/lab")
    took = time.monotonic() - begin
    await browser.page("/hub/home")
    await browser.fetch("DELETE", f"/hub/api/users/{quote(user)}/server")
    for _ in range(STOP_TRIES):
        if not (await browser.fetch("GET", f"/hub/api/users/{quote(user)}")).json().get("servers"):
            break
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(PAUSE_S)
    return took


async def run(*, rounds: int, console: Console, caller: Mapping[str, str], say: Callable[[str], None]) -> Report:
    """Measure; leaves nothing behind."""
    stopping = Stopping(say)
    ours, plain = Demo(Settings(), console, caller), PlainDemo(Settings(), console, caller)
    times: dict[str, list[float]] = {"ours": [], "plain": []}

    async def measure() -> None:
        browsers = {}
        for name, demo in (("ours", ours), ("plain", plain)):
            await demo.start()
            browsers[name] = Browser(demo.plan.url)
            await browsers[name].page(f"{demo.login_url()}&next=%2Fhub%2Fhome")
        for number in range(rounds + 1):
            for name, demo in (("ours", ours), ("plain", plain)):
                took = await _one_start(demo, browsers[name])
                say(f"round {number} {name}: {took:.2f} s{'' if number else ' (warm-up, not counted)'}")
                if number:
                    times[name].append(took)

    try:
        await stopping.unless_stopped(measure())
    finally:
        await plain.stop(stopping.hurry)
        await ours.stop(stopping.hurry)
    facts = machine(caller.get("PATH", os.defpath))
    return Report(facts, times["ours"], times["plain"], paired_ratio(times["ours"], times["plain"]))
