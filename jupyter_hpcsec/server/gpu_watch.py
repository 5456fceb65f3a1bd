"""The GPU watch in the server: started where there is a GPU, told to the record, and what a site wants done is done."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_hpcsec.audit.events import Told
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert, GpuReleased, GpuUse, GpuWatch
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.gpu import launch
from jupyter_hpcsec.gpu.alerts import TITLES, Alert, Finding
from jupyter_hpcsec.gpu.devices import present
from jupyter_hpcsec.gpu.keeper import WatchNote
from jupyter_hpcsec.gpu.processes import Processes
from jupyter_hpcsec.gpu.samples import KernelFact
from jupyter_hpcsec.gpu.watch import Report, Watch, Word
from jupyter_hpcsec.server.events import show
from jupyter_hpcsec.server.facts import read_facts
from jupyter_hpcsec.server.gpu_cells import Cells, listen
from jupyter_hpcsec.server.gpu_kernels import SWEEP_S, adopt_orphans, kernel_facts, reap
from jupyter_hpcsec.server.gpu_shown import Shown

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

SETTING = "hpcsec_gpu_watch"
"""Of the web application: the running ``Watch``; not there where there is no GPU."""

AGAIN_S = 10.0
"""Until a watch that failed is started again."""

ANNOUNCED = "hpcsecGpus"
"""JupyterLab's page option that there are GPUs: elsewhere its panel costs nothing, not even a question."""


def event_of(told: Word, *, project: str = "", simulated: bool = False) -> Told:
    """As the record keeps it."""
    if isinstance(told, Alert):
        finding = told.finding
        return GpuAlert(
            state="raised" if told.raised else "cleared",
            rule=finding.rule,
            reason=TITLES[finding.rule],
            device=finding.device,
            kernel=finding.kernel,
            pid=finding.pid,
            confidence=finding.confidence,
            threshold=finding.threshold,
            action=finding.action,
            evidence=json.dumps(dict(finding.evidence), sort_keys=True),
            simulated=simulated,
        )
    if isinstance(told, Report):
        return GpuUse(
            kernel=told.kernel,
            notebook=told.notebook,
            project=project,
            span_s=round(told.use.span_s),
            used_s=round(told.use.used_s),
            held_s=round(told.use.held_s),
            unknown_s=round(told.use.unknown_s),
            memory=told.use.memory,
            simulated=simulated,
        )
    blind = json.dumps(msgspec.to_builtins(told.blind))
    return GpuWatch(state=told.state, reason=told.reason, blind=blind, devices=told.devices)


class Actions:
    """Does what the site's settings want done, in this server."""

    def __init__(self, app: "ServerApp", tell: Callable[[Told], None]) -> None:
        self._app, self._tell = app, tell

    async def __call__(self, finding: Finding) -> None:
        """One action of one alert."""
        title = TITLES[finding.rule]
        if finding.action == "end session":
            self._app.log.warning("hpcsec: the session ends: %s", title)
            self._app.stop()
        elif finding.action == "shutdown kernel" and finding.kernel in self._app.kernel_manager:
            self._app.log.warning("hpcsec: kernel %s is shut down: %s", finding.kernel, title)
            self._tell(GpuReleased(kernel=finding.kernel, rule=finding.rule, reason=title))
            await self._app.kernel_manager.shutdown_kernel(finding.kernel)  # type: ignore[no-untyped-call]


def make(app: "ServerApp", environment: Mapping[str, str], tell: Callable[[Told], None]) -> Watch | None:
    """The watch of this session; None where there is no GPU. ``HpcsecError`` for settings that can't be used."""
    given = launch.parse(environment.get(launch.VARIABLE, ""))
    if not given.stand_in and not present():
        return None
    processes = Processes(os.getuid())
    facts = read_facts(environment)
    cells = Cells()
    listen(app.kernel_manager, cells)

    async def kernels() -> list[KernelFact]:
        return await kernel_facts(app, processes, cells)

    def say(told: Word) -> None:
        if isinstance(told, WatchNote):
            app.log.info("hpcsec: GPU watch %s: %s", told.state, told.reason)
        tell(event_of(told, project=given.project, simulated=bool(given.stand_in)))

    watch = Watch(
        kernels=kernels,
        tell=say,
        act=Actions(app, tell),
        settings=given.settings,
        limits=given.limits(),
        allocation=lambda: launch.read_map(facts.job) if facts is not None else None,
        stand_in=given.stand_in,
        state=given.state,
        interval_s=given.interval_s,
    )
    watch.record = Shown(show, watch.idle_s)
    return watch


def announce(app: "ServerApp", environment: Mapping[str, str]) -> None:
    """Have JupyterLab's page say that there are GPUs, also where the settings then turn out to be no good."""
    try:
        is_simulated = bool(launch.parse(environment.get(launch.VARIABLE, "")).stand_in)
    except HpcsecError:
        is_simulated = False
    if is_simulated or present():
        app.web_app.settings.setdefault("page_config_data", {})[ANNOUNCED] = "true"


async def start(app: "ServerApp", tell: Callable[[Told], None]) -> None:
    """Start the watch beside the server, if there is something to watch. Never keeps the server from starting."""
    try:
        watch = make(app, os.environ, tell)
    except HpcsecError as error:
        app.log.critical("hpcsec: GPUs are not watched: %s", error.reason)
        tell(GpuWatch(state="ended", reason=error.reason))
        return
    if watch is None:
        return
    if not adopt_orphans():
        app.log.warning("hpcsec: this node's kernel does not list children: double-forked processes leave the server")
    app.web_app.settings[SETTING] = watch
    app.web_app.settings[f"{SETTING}_tasks"] = [
        asyncio.create_task(watch_for_ever(watch.run, app.log)),
        asyncio.create_task(_reap_for_ever(Processes(os.getuid()))),
    ]


async def watch_for_ever(
    run: Callable[[], Awaitable[None]], log: Any, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Begin again where the watch fails: it reads what other parts of the server change, and must not end by them."""
    while True:
        try:
            await run()
        except Exception:  # whatever it is, it is logged and recorded, and the watch goes on
            log.exception("hpcsec: the GPU watch failed, and is started again")
        await pause(AGAIN_S)


async def _reap_for_ever(processes: Processes) -> None:
    waiting: set[tuple[int, int]] = set()
    while True:
        await asyncio.sleep(SWEEP_S)
        waiting = reap(waiting, processes)
