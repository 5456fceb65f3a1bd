"""``hpcsec bench lab``: JupyterLab's start in a real browser, with our extension and without it, in turns.

Two servers on this computer, alike but for ours: its extension of the server, in a session with rules, and its
extension of JupyterLab. Extensions of others are in neither. A visit is timed in the page, from the beginning of its
navigation until JupyterLab has restored itself and shows its launcher; a first visit finds an empty cache, the next a
filled one. The processor's time of the page's main thread until then is told, too: other work on the machine moves it
less.
"""

import asyncio
import contextlib
import gzip
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

import jupyter_hpcsec
from jupyter_hpcsec.access.values import ACCESS_VARIABLE, Right
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench.facts import machine
from jupyter_hpcsec.ops.bench.report import verdict_lines
from jupyter_hpcsec.ops.bench.results import verdict_as_json
from jupyter_hpcsec.ops.bench.sandbox import rules
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, Summary, Verdict, paired_ratio
from jupyter_hpcsec.ops.child import command as lives_with_us
from jupyter_hpcsec.ops.family import tail
from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any

if TYPE_CHECKING:
    from playwright.async_api import Browser

SERVER = Path(jupyter_hpcsec.__file__).parent / "server"
EXTENSIONS = SERVER / "jupyter" / "labextensions"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE_S = 120.0
PAUSE_S = 0.1

VISITS = ("first", "next")
MEASURES = {
    "first": "first visit, empty cache",
    "next": "next visit, filled cache",
    "first_cpu": "first visit, processor's time",
    "next_cpu": "next visit, processor's time",
}
SLOWER = 1.03
BUNDLE = Bound("the extension's scripts, compressed", Kind.AT_MOST, 150, unit="kB")

READY = """async () => {
  const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
  while (!window.jupyterapp || !document.querySelector(".jp-LauncherCard")) {
    await frame();
  }
  await window.jupyterapp.restored;
  return performance.now() / 1000;
}"""
"""Seconds from the beginning of the page's navigation."""


@dataclass
class Report:
    """Seconds of every round, with ours and without, by measure; ``bundle_bytes`` is what a browser loads at most."""

    machine: dict[str, Any]
    bundle_bytes: int
    ours: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    plain: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})

    def verdicts(self) -> list[Verdict]:
        """The numbers to hold."""
        return [
            *(
                Verdict(
                    Bound(f"{what}, with : without", Kind.AT_MOST, SLOWER),
                    paired_ratio(self.ours[name], self.plain[name]),
                )
                for name, what in MEASURES.items()
            ),
            Verdict(BUNDLE, Summary.of([self.bundle_bytes / 1000])),
        ]

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {**asdict(self), "numbers": [verdict_as_json(verdict) for verdict in self.verdicts()]}

    def as_text(self) -> str:
        """For a person."""
        lines = [f"  {name:<19} {value}" for name, value in self.machine.items()]
        lines += ["", "Median seconds until JupyterLab is restored, without and with the extension, and their ranges"]
        for name, what in MEASURES.items():
            plain, ours = Summary.of(self.plain[name]), Summary.of(self.ours[name])
            lines.append(f"  {what:<28} {_range(plain)} {_range(ours)}   in {ours.rounds} rounds")
        return "\n".join([*lines, *verdict_lines(self.verdicts())])


def _range(found: Summary) -> str:
    return f"{found.median:6.2f} ({found.low:.2f} to {found.high:.2f})"


def compressed(directory: Path) -> int:
    """Bytes of all scripts below a directory, each compressed by itself, as they are sent."""
    return sum(len(gzip.compress(path.read_bytes())) for path in sorted(directory.rglob("*.js")))


def command(port: int, extensions: Path, *, ours: bool) -> list[str]:
    """A server with JupyterLab, whose page shows the application to the one who measures."""
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
        f"--ServerApp.ip={LOOPBACK}", "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True",
        f"--LabApp.labextensions_path={extensions}",
        f"--ServerApp.jpserver_extensions={{'jupyter_hpcsec.server': {ours}}}",
    ]  # fmt: skip


def environment(caller: Mapping[str, str], home: Path, token: str, *, ours: bool) -> dict[str, str]:
    """The server's: a home of its own, no settings of the caller's, and with ours a session's two files.

    They lie beside the home: what holds a session's files is closed to its user.
    """
    jupyter = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    lab = {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    facts, access = session_files(home)
    session = {"JUPYTER_HPCSEC_SESSION": str(facts), ACCESS_VARIABLE: str(access)}
    kept = {name: value for name, value in caller.items() if not name.startswith(("JUPYTER", "JPY_"))}
    return {**kept, **jupyter, **lab, "HOME": str(home), "JUPYTER_TOKEN": token, **(session if ours else {})}


def session_files(home: Path) -> tuple[Path, Path]:
    """The facts and the rules of the session whose user's home this is."""
    return home.parent / "session" / "session.json", home.parent / "session" / "access.json"


def write_session(home: Path, now: float) -> None:
    """What a session's agent writes down for its server: the facts and the rules, which open the whole home."""
    where = session_files(home)
    where[0].parent.mkdir(mode=0o700)
    facts = {
        "user": "bench", "server": "", "session": "0" * 32, "job": "1", "node": "node", "ends_at": int(now) + 86_400,
        "endpoints": [], "ca_pin": "0" * 64, "protections": {"enforcement": "required"},
    }  # fmt: skip
    access = {"rules": rules(home, (home, Right.WRITE)), "digest": "", "receipt": {}}
    for path, content in zip(where, (facts, access), strict=True):
        path.write_bytes(msgspec.json.encode(content))


async def run(*, rounds: int, caller: Mapping[str, str], say: Callable[[str], None]) -> Report:
    """Measure; ``Unavailable`` where there is no browser, or no built extension. Leaves nothing behind."""
    if not (EXTENSIONS / "jupyter-hpcsec" / "package.json").exists():
        raise Unavailable("The JupyterLab extension is not built here: install the package with Node.js at hand.")
    path = caller.get("PATH", os.defpath)
    report = Report(machine(path), compressed(EXTENSIONS))
    async with browser(path) as chromium, server(caller, ours=False) as plain, server(caller, ours=True) as ours:
        for number in range(rounds + 1):
            ways = [(report.plain, plain), (report.ours, ours)]
            for times, url in ways if number % 2 else reversed(ways):
                took = await _visits(chromium, url, number)
                if number:  # the first round warms the servers
                    for name, seconds in took.items():
                        times[name].append(seconds)
            say(f"round {number} of {rounds}{'' if number else ' (warm-up, not counted)'}")
    return report


@contextlib.asynccontextmanager
async def browser(path: str) -> AsyncIterator["Browser"]:
    """The system's Chromium, driven by Playwright; ``Unavailable`` says which of them is missing."""
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415 - who measures alone needs it
    except ImportError as error:
        raise Unavailable("Playwright drives the browser: pip install playwright.") from error
    program = next((found for name in CHROMIUM if (found := shutil.which(name, path=path))), None)
    if program is None:
        raise Unavailable("There is no Chromium: install your system's package (Debian: chromium).")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield launched
        finally:
            await launched.close()


@contextlib.asynccontextmanager
async def server(caller: Mapping[str, str], *, ours: bool) -> AsyncIterator[str]:
    """A new server; the address of its JupyterLab, with ``{}`` for the workspace's name. Its token is for this run."""
    with tempfile.TemporaryDirectory(prefix="hpcsec-bench-", ignore_cleanup_errors=True) as made, claim_any() as claim:
        home, log, token = Path(made) / "home", Path(made) / "log", secrets.token_urlsafe(24)
        home.mkdir()
        (home / "labextensions").mkdir()
        write_session(home, time.time())
        argv = command(claim.port, EXTENSIONS if ours else home / "labextensions", ours=ours)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *lives_with_us(os.getpid(), argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(caller, home, token, ours=ours),
                cwd=home,
            )
        try:
            url = f"http://{LOOPBACK}:{claim.port}"
            if not await _answers(process, url):
                raise Unavailable(f"JupyterLab's server did not come up:\n{tail(log)}")
            yield f"{url}/lab/workspaces/{{}}?token={token}"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, url: str) -> bool:
    end = time.monotonic() + PATIENCE_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None and time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/api")).is_success:
                    return True
            await asyncio.sleep(PAUSE_S)
    return False


async def _visits(chromium: "Browser", url: str, number: int) -> dict[str, float]:
    """Seconds by measure, in a browser without a past; each visit finds a new workspace, as it was never opened."""
    context = await chromium.new_context(viewport={"width": 1200, "height": 760})
    try:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        devtools = await context.new_cdp_session(page)
        await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        took = {}
        for visit in VISITS:
            await page.goto(url.format(f"{visit}-{number}"), wait_until="commit")
            took[visit] = float(await page.evaluate(READY))
            metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
            took[f"{visit}_cpu"] = next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")
            await page.goto("about:blank")
        return took
    finally:
        await context.close()
