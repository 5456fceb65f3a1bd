"""``hpcsec bench tunnel``: the tunnel beside OpenSSH ``-R`` and beside nothing, and the numbers that it has to hold."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench import memory
from jupyter_hpcsec.ops.bench.facts import machine
from jupyter_hpcsec.ops.bench.hub_path import OPEN_PORT, HubPath
from jupyter_hpcsec.ops.bench.load import LoadClient, module, until_exists
from jupyter_hpcsec.ops.bench.results import Results, judged
from jupyter_hpcsec.ops.bench.rounds import FULL, QUICK, Effort, Rounds, Started
from jupyter_hpcsec.ops.bench.ssh import FAST_CIPHER, PrivilegeSeparation, Ssh
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, Summary, Verdict
from jupyter_hpcsec.ops.bench.ways import Direct, Tunnel, Way
from jupyter_hpcsec.ops.family import Family, tail
from jupyter_hpcsec.ops.stopping import Stopping
from jupyter_hpcsec.ops.versions import program

Say = Callable[[str], None]
PATH_LIMIT = 30
"""Bytes of the temporary directory's parent: unix sockets below it have to fit in 107, the gateway's in less."""
PATIENCE_S = 5.0

PAIRS = {
    ("download", "gib_per_s"): Bound("throughput, one stream, tunnel : ssh -R", Kind.AT_LEAST, 1.0, 1.2),
    ("download8", "gib_per_s"): Bound("throughput, eight streams, tunnel : ssh -R", Kind.AT_LEAST, 1.0, 1.2),
    ("download", "cpu_s_per_gib"): Bound("CPU per GiB, both ends, tunnel : ssh -R", Kind.AT_MOST, 1.0, 0.85),
    ("keystroke", "p99_s"): Bound("keystroke p99 while downloading, tunnel : ssh -R", Kind.AT_MOST, 0.5),
    ("hub_download", "gib_per_s"): Bound("browser-path download, tunnel : ssh -R", Kind.AT_LEAST, 1.1),
    ("hub_small", "p50_s"): Bound("browser-path small GET p50, tunnel : ssh -R", Kind.AT_MOST, 1.0),
}
"""The numbers that compare the tunnel with ssh, by measure and figure."""

OPEN_PAIRS = {
    ("hub_download", "gib_per_s"): Bound("browser-path download, tunnel : open port", Kind.AT_LEAST, 0.7),
    ("hub_small", "p50_s"): Bound("browser-path small GET p50, tunnel : open port", Kind.AT_MOST, 1.5),
}
IDLE = Bound("idle enrolled session's memory in the gateway", Kind.AT_MOST, 65536, unit="bytes")


@dataclass(frozen=True)
class Report:
    """Everything that one run found."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    results: Results
    verdicts: list[Verdict]


def verdicts(results: Results) -> list[Verdict]:
    """The design's numbers as this run found them; those not measured are left out."""
    idle = results.values("idle", "tunnel", "bytes")
    return judged(
        [
            *((bound, results.ratio(*key, "tunnel", "ssh")) for key, bound in PAIRS.items()),
            *((bound, results.ratio(*key, "tunnel", OPEN_PORT)) for key, bound in OPEN_PAIRS.items()),
            (IDLE, Summary.of(idle) if idle else None),
        ]
    )


class Bench:
    """One run in a directory of its own, whose processes are all in ``family``."""

    def __init__(self, directory: Path, family: Family, effort: Effort, say: Say, results: Results) -> None:
        self._directory, self._family, self._effort, self._say = directory, family, effort, say
        self.results = results
        self._client = LoadClient("load", family, directory)
        self._other = LoadClient("other", family, directory)

    async def start_clients(self) -> None:
        """Both load clients."""
        await self._client.start()
        await self._other.start()

    async def tunnel(self) -> None:
        """The tunnel by itself."""
        server = self._directory / "server.sock"
        words = module("ops.bench.load_server", str(server))
        part = self._family.start("server", words, environment=dict(os.environ), directory=self._directory)
        await until_exists(server, self._family, "the load server")
        tunnel = Tunnel(self._family, self._directory / "tunnel")
        fast = Ssh(self._family, self._directory / "ssh", cipher=FAST_CIPHER)
        usual = Ssh(self._family, self._directory / "ssh2", cipher="", name="ssh_default_cipher")
        self._say("starting the ways")
        ways = [await Started.start(way, server) for way in (Direct(), tunnel, fast, usual)]
        rounds = Rounds(ways, client=self._client, other=self._other, server_pid=part.process.pid, results=self.results)
        await rounds.warm_up()
        await self._take(rounds, [way.name for way in ways])
        self._say(f"memory of {self._effort.sessions} idle sessions")
        await memory.measure(tunnel, server, self._client, self._effort.sessions, self.results)
        await self._family_end("agent2", "agent3")

    async def _take(self, rounds: Rounds, names: list[str]) -> None:
        effort, three = self._effort, names[:3]
        self._say("one stream")
        await rounds.download(effort, names, 1)
        self._say("eight streams")
        await rounds.download(effort, three, 8)
        self._say("one stream to the node")
        await rounds.upload(effort, three)
        self._say("small requests")
        await rounds.small(effort, three)
        self._say("keystrokes")
        await rounds.keystrokes(effort, three)

    async def _family_end(self, *names: str) -> None:
        """The idle agents are not wanted beside what comes next."""
        for name in names:
            await self._family.stop(name, PATIENCE_S, asyncio.Event())
            self._family.parts.pop(name)

    async def hub(self, proxy: list[str]) -> None:
        """The browser's path."""
        path = HubPath(self._family, self._directory / "hub", proxy)
        tunnel = Tunnel(self._family, self._directory / "tunnel2", prefix="hub-")
        rival = Ssh(self._family, self._directory / "ssh3", cipher=FAST_CIPHER, prefix="hub-")
        ways: list[Way] = [tunnel, rival]
        self._say("starting the proxy and the ways behind it")
        await path.start(ways, self._effort.hub_size)
        self._say("the browser's path")
        await path.measure(self._client, self._effort, self.results)


async def run(*, quick: bool, proxy: list[str] | None, say: Say) -> Report:
    """Measure. ``proxy`` is the command of configurable-http-proxy, None for no browser path. Leaves nothing behind."""
    effort = QUICK if quick else FULL
    facts = machine(os.environ.get("PATH", os.defpath))
    if proxy:
        facts["proxy"] = program((*proxy, "--version"), os.environ.get("PATH", os.defpath))
    results = Results()
    with PrivilegeSeparation():
        await in_family(say, lambda directory, family: _measure(Bench(directory, family, effort, say, results), proxy))
    settings = {"quick": quick, "hub": bool(proxy), **effort.__dict__, "ssh_cipher": FAST_CIPHER}
    return Report(facts, settings, results, verdicts(results))


async def in_family(say: Say, work: Callable[[Path, Family], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` in a fresh directory with a family of processes; neither is left behind, whatever comes."""
    stopping = Stopping(say)
    directory = _make_directory()
    logs = directory / "logs"
    logs.mkdir()
    family = Family(logs)
    try:
        await stopping.unless_stopped(work(directory, family))
    except Unavailable:
        say(last_words(family))
        raise
    finally:
        await family.end(PATIENCE_S, stopping.hurry)
        shutil.rmtree(directory, ignore_errors=True)


def last_words(family: Family) -> str:
    """What the parts that ended by themselves had to say."""
    return "".join(f"\n{part.name}:\n{tail(part.log)}" for part in family.parts.values() if not part.is_running)


def _make_directory() -> Path:
    """A fresh directory of mode 0700 whose path suits unix sockets."""
    parent = Path(tempfile.gettempdir()).resolve()
    if str(parent) != str(parent).lower() or len(os.fsencode(parent)) > PATH_LIMIT:
        raise Unavailable(f"{parent} is too long, or not lower case, for unix sockets: set TMPDIR to a shorter path")
    return Path(tempfile.mkdtemp(prefix="hpcsec-bench-", dir=parent))


async def _measure(bench: Bench, proxy: list[str] | None) -> None:
    await bench.start_clients()
    await bench.tunnel()
    if proxy:
        await bench.hub(proxy)
