"""``hpcsec quickstart``: hub, proxy, gateway and JupyterLab on this computer, from a temporary directory.

``Demo`` starts and stops the parts; ``run_demo`` gives it to some work (a person's session, or a check) and stops it
in every case. It needs no root, listens on the loopback address only, and may leave no process and no file behind.
"""

import asyncio
import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.gpu import standin
from jupyter_hpcsec.hub import consoleroles
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.demo_plan import AUDITOR, Plan, render
from jupyter_hpcsec.ops.demo_policy import demo_policy
from jupyter_hpcsec.ops.family import Family, tail
from jupyter_hpcsec.ops.listeners import listeners
from jupyter_hpcsec.ops.notebook import find_example
from jupyter_hpcsec.ops.ports import Claim, public_port
from jupyter_hpcsec.ops.protections import as_lines, protections_here
from jupyter_hpcsec.ops.session_ports import View
from jupyter_hpcsec.ops.sites import Site, choose_site, fake_gpus
from jupyter_hpcsec.ops.stopping import Stopping
from jupyter_hpcsec.tunnel.admin import AdminClient

DEFAULT_PORT = 8000
START_PATIENCE_S = 90.0
HUB_PATIENCE_S = 20.0
PART_PATIENCE_S = 5.0
ADMIN_TIMEOUT_S = 5.0
TICK_S = 0.1
WATCH_S = 0.5
STATE_PATH_LIMIT = 15
"""Bytes of the directory that gets ours: unix sockets have at most 107 (unix(7)), and a kernel's below it are long."""

CONSOLE = f"/services/{consoleroles.NAME}/"

DEMO_PROJECT = "demo"
DEMO_REVIEW = timedelta(days=60)

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What a person may choose."""

    port: int | None = None
    slurm: bool = False
    keep_logs: Path | None = None
    fake_gpus: int = 0


def find_proxy(path: str) -> tuple[str, ...]:
    """The command of configurable-http-proxy: on ``path``, or where ``make`` puts it. ``Unavailable`` says the fix."""
    places = [Path(sys.prefix).parent, Path(__file__).parents[2]]
    search = os.pathsep.join([path, *(str(place / ".tools" / "node_modules" / ".bin") for place in places)])
    found = shutil.which("configurable-http-proxy", path=search)
    if found is None:
        raise Unavailable(
            "configurable-http-proxy is not installed: `make demo` does it, or npm install -g with its name."
        )
    if shutil.which("node", path=path) is None:
        raise Unavailable("Node.js is not on the PATH; configurable-http-proxy needs version 20 or later.")
    return (found,)


def make_state(candidates: tuple[str, ...]) -> Path:
    """A fresh directory of mode 0700 below the first candidate that has a short, lower-case path and takes it."""
    for candidate in candidates:
        path = str(Path(candidate).resolve())
        if path == path.lower() and len(os.fsencode(path)) <= STATE_PATH_LIMIT:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="hpcsec-", dir=path))
    raise Unavailable(f"No directory for temporary files with a short, lower-case path among {', '.join(candidates)}.")


def remove_state(state: Path) -> None:
    """Remove the directory, also what a notebook made unreadable; ``Unavailable`` names what could not be removed."""

    def unlock(_: Any, path: str, __: Any) -> None:
        for each in (Path(path).parent, Path(path)):
            if not each.is_symlink() and each.is_dir():
                each.chmod(stat.S_IRWXU)

    shutil.rmtree(state, onerror=unlock)
    shutil.rmtree(state, ignore_errors=True)
    if state.exists():
        raise Unavailable(f"{state} could not be removed; remove it by hand.")


def log_files(state: Path) -> list[Path]:
    """The logs of the parts and of the jobs."""
    return sorted([*(state / "log").glob("*.log"), *(state / "home" / ".hpcsec").glob("*.log")])


class Demo:
    """The parts of one quickstart. ``start`` may be cancelled at any point; ``stop`` undoes whatever it had done."""

    def __init__(self, settings: Settings, console: Console, caller: Mapping[str, str]) -> None:
        self.settings = settings
        self.console = console
        self._caller = caller
        self._state: Path | None = None
        self._family: Family | None = None
        self._plan: Plan | None = None
        self._site: Site | None = None
        self._jobs: set[str] = set()
        self._claim: Claim | None = None

    @property
    def plan(self) -> Plan:
        """Addresses and paths; once ``start`` has begun."""
        if self._plan is None:
            raise AssertionError("BUG: the plan is asked for before the start")
        return self._plan

    @property
    def family(self) -> Family:
        """The processes; once ``start`` has begun."""
        if self._family is None:
            raise AssertionError("BUG: the processes are asked for before the start")
        return self._family

    async def start(self) -> None:
        """Start all parts; returns when the hub answers through the proxy."""
        proxy = find_proxy(self._caller.get("PATH", os.defpath))
        self._claim = public_port(self.settings.port, DEFAULT_PORT)
        port = self._claim.port
        if port != DEFAULT_PORT and self.settings.port is None:
            self.console.say("proxy", f"port {DEFAULT_PORT} is taken, so it is {port} this time")
        self._state = make_state((self._caller.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp"))  # noqa: S108 - mkdtemp
        self.console.say("state", f"{self._state} (0700, removed at the end)")
        self._family = Family(self._state / "log")
        self._site = choose_site(slurm=self.settings.slurm, fake_gpus=self.settings.fake_gpus > 0)
        await _to_its_end(self._site.open, lambda text: self.console.say("cluster", text))
        self._plan = self._make_plan(self._state, self._site, proxy, port)
        self._write_files(self._plan)
        self._start_part("gateway", "jupyter_hpcsec.cli.main", "gateway")
        await self._until("the gateway answers", self._gateway_answers)
        await self._open_project()
        self.console.say("gateway", f"waits for jobs on {self._plan.gateway} (TLS 1.3)")
        self._start_part("hub", "jupyterhub")
        await self._until("the hub answers", self._hub_answers)
        self.console.say("proxy", f"forwards {self._plan.url} to the hub")

    def _make_plan(self, state: Path, site: Site, proxy: tuple[str, ...], port: int) -> Plan:
        return Plan(
            state=state,
            user=site.user,
            proxy_command=proxy,
            public_port=port,
            proxy_api_port=self.family.port(),
            console_port=self.family.port(),
            gateway=site.gateway,
            programs=str(Path(sys.executable).parent),
            attestors=site.attestors,
            spawner=site.spawner,
            spawner_settings=site.spawner_settings(state, Plan.admin_socket_in(state)),
            variables=site.variables,
        )

    def _write_files(self, plan: Plan) -> None:
        for directory in plan.directories:
            directory.mkdir(mode=0o700)
        (plan.state / "hub" / "config.py").write_text(render(plan.hub_config()))
        (plan.state / "gateway" / "config.py").write_text(render(plan.gateway_config()))
        plan.console_config_file.write_text(render(plan.console_config()))
        plan.policy_file.write_text(demo_policy(landlock.abi()))
        example = find_example()
        (plan.state / "home" / example.name).write_bytes(example.read_bytes())
        if self.settings.fake_gpus:
            standin.prepare(fake_gpus(plan.state), self.settings.fake_gpus)
            self.console.say("gpus", f"{self.settings.fake_gpus} simulated ones, which do not exist (docs/gpu.md)")

    def _start_part(self, name: str, module: str, *arguments: str) -> None:
        directory = self.plan.state / name
        command = [sys.executable, "-I", "-m", module, *arguments, "--config", str(directory / "config.py")]
        environment = self.plan.environment(self._caller)
        part = self.family.start(name, command, environment=environment, directory=directory)
        self.console.say(name, f"starts (process {part.process.pid})")

    async def _until(self, what: str, true: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a part; ``Unavailable`` when one ends instead, or when nothing happens for too long."""
        end = asyncio.get_running_loop().time() + START_PATIENCE_S
        while not await true():
            self.family.check()
            if asyncio.get_running_loop().time() > end:
                raise Unavailable(f"Waited {START_PATIENCE_S:.0f} s in vain until {what}.")
            await asyncio.sleep(TICK_S)

    async def _gateway_answers(self) -> bool:
        try:
            await self.gateway.status()
        except Unavailable:
            return False
        return True

    async def _open_project(self) -> None:
        """The demonstration's one project, approved for as long as any demonstration takes."""
        title, purpose = "A first look at hpcsec", "To try it out on this computer."
        owner = self.plan.user
        await self.gateway.project_propose(DEMO_PROJECT, title=title, purpose=purpose, owner=owner, on_behalf=owner)
        await self.gateway.project_approve(DEMO_PROJECT, str(datetime.now(UTC).date() + DEMO_REVIEW))

    @property
    def gateway(self) -> AdminClient:
        """The gateway's admin API."""
        return AdminClient(self.plan.admin_socket, timeout_s=ADMIN_TIMEOUT_S)

    async def sessions(self) -> list[dict[str, Any]]:
        """The sessions that have not ended; their jobs are remembered, to be cancelled at the end."""
        sessions = await self.gateway.sessions()
        self._jobs |= {str(session["job_id"]) for session in sessions if session["job_id"]}
        return sessions

    async def _hub_answers(self) -> bool:
        """Whether our hub answers through our proxy: another program may have been faster at the port."""
        if not self.plan.hub_socket.exists():
            return False
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                if not (await client.get(f"{self.plan.url}/hub/health")).is_success:
                    return False
        except httpx.TransportError:
            return False
        ours = listeners(self.family.parts["hub"].process.pid)
        return any(listener.port == self.plan.public_port for listener in ours)

    def login_url(self) -> str:
        """The current one-time link."""
        code = self.plan.code_file.read_text().strip()
        return f"{self.plan.url}/hub/onetime?code={code}"

    def auditor_url(self) -> str:
        """The current one-time link of the person who looks after security: it leads to the console."""
        code = self.plan.auditor_code_file.read_text().strip()
        return f"{self.plan.url}/hub/onetime?code={code}&next={quote(CONSOLE, safe='')}"

    def programs(self) -> dict[str, tuple[str, ...]]:
        """What to ask for its version, and how."""
        proxy = {"configurable-http-proxy": (*self.plan.proxy_command, "--version"), "node": ("node", "--version")}
        return proxy | dict(self._site.programs if self._site else {})

    async def look(self) -> View:
        """The processes of this demo's sessions, and their open TCP and UDP ports."""
        if self._site is None:
            raise AssertionError("BUG: asked for before the start")
        await self.sessions()
        return self._site.look(self._jobs, self.family.living())

    async def stop(self, hurry: asyncio.Event) -> None:
        """Undo ``start`` in order: servers and jobs, hub and proxy, gateway, whatever is left, the files."""
        try:
            if self._family is not None:
                await self._stop_processes(self._family, hurry)
        finally:
            if self._state is not None:
                self._keep_logs(self._state)
                remove_state(self._state)
                self.console.say("state", f"{self._state} is removed")
            if self._claim is not None:
                self._claim.close()

    async def _stop_processes(self, family: Family, hurry: asyncio.Event) -> None:
        if "gateway" in family.parts:
            with contextlib.suppress(HpcsecError):
                await self.sessions()
        if "hub" in family.parts:
            self.console.say("hub", "stops your servers, the proxy and itself")
            await family.stop("hub", HUB_PATIENCE_S, hurry)
        await family.stop("gateway", PART_PATIENCE_S, hurry)
        try:
            if self._site is not None:
                await _to_its_end(self._site.cancel, self._jobs)
                await _to_its_end(self._site.close)
        finally:
            await self._end_processes(family, hurry)

    async def _end_processes(self, family: Family, hurry: asyncio.Event) -> None:
        killed = await family.end(PART_PATIENCE_S, hurry)
        self.console.say("processes", f"all ended ({len(killed)} by force)" if killed else "all ended")

    def _keep_logs(self, state: Path) -> None:
        if self.settings.keep_logs is not None and (state / "log").is_dir():
            self.settings.keep_logs.mkdir(parents=True, exist_ok=True)
            for log in log_files(state):
                shutil.copy(log, self.settings.keep_logs)
            self.console.say("logs", f"kept in {self.settings.keep_logs}")

    def show_last_words(self) -> None:
        """Print the end of each log."""
        for log in log_files(self._state) if self._state else ():
            self.console.write(f"--- last lines of {log.name} ---\n{tail(log)}")


async def _to_its_end(work: Callable[..., None], *arguments: Any) -> None:
    """Blocking work in a thread. A cancellation waits for its end: half a cluster could not be taken down."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait({thread})
        raise


async def run_demo(
    settings: Settings, console: Console, caller: Mapping[str, str], work: Callable[[Demo], Awaitable[T]]
) -> T:
    """Start a demo, do ``work`` with it, stop it whatever happens. ``Interrupted`` when a signal came first."""
    if settings.slurm and settings.fake_gpus:
        raise Refused("gpus.slurm", "Simulated GPUs are for one computer: leave --slurm or --fake-gpus out.")
    if settings.slurm and os.geteuid() != 0:
        raise Refused("slurm.root", "--slurm starts a real Slurm in namespaces of this computer, which needs root.")
    stopping = Stopping(lambda text: console.say("signal", text))
    demo = Demo(settings, console, caller)

    async def start_and_work() -> T:
        await demo.start()
        return await work(demo)

    try:
        return await stopping.unless_stopped(start_and_work())
    except Unavailable:
        demo.show_last_words()
        raise
    finally:
        await demo.stop(stopping.hurry)


def news(before: Mapping[str, str], sessions: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """What each session does now, by id, and a line for each that does something else than ``before``."""
    now = {str(s["id"]): f"{s['user']}: {s['state']}{' on ' + s['node'] if s['node'] else ''}" for s in sessions}
    gone = [f"{text.partition(':')[0]}: ended" for session, text in before.items() if session not in now]
    return now, gone + [text for session, text in now.items() if before.get(session) != text]


async def serve(demo: Demo) -> None:
    """A person's session: shows the link, and a new one each time it was used, until a signal comes."""
    for line in ("", *as_lines(protections_here(slurm=demo.settings.slurm)), ""):
        demo.console.write(line)
    shown = shown_auditor = ""
    states: dict[str, str] = {}
    while True:
        states, lines = news(states, await demo.sessions())
        for line in lines:
            demo.console.say("session", line)
        link = demo.login_url()
        if link != shown:
            text = "used; the next one, should you need it" if shown else "open this in a browser of this computer"
            demo.console.say("login", f"{text} (good once):\n\n    {link}\n")
            if not shown:
                demo.console.write("Press Ctrl-C to stop; files that you have not downloaded are then removed.\n")
            shown = link
        auditor = demo.auditor_url()
        if auditor != shown_auditor:
            text = (
                "used; the next one" if shown_auditor else f"as `{AUDITOR}` in a private window, the security console"
            )
            demo.console.say("console", f"{text} (good once):\n\n    {auditor}\n")
            shown_auditor = auditor
        demo.family.check()
        demo.family.reap_orphans()
        await asyncio.sleep(WATCH_S)
