"""``hpcsec bench tap``: what it costs that the gateway follows what passes: the tunnel with its tap, and without.

Also what it costs to hash files that pass, and an idle session's memory with its tap.
"""

import os
from pathlib import Path

from jupyter_hpcsec.ops.bench import memory
from jupyter_hpcsec.ops.bench.facts import machine
from jupyter_hpcsec.ops.bench.load import LoadClient, module, until_exists
from jupyter_hpcsec.ops.bench.results import Results, judged
from jupyter_hpcsec.ops.bench.rounds import FULL, QUICK, Effort, Rounds, Started
from jupyter_hpcsec.ops.bench.statistics import Bound, Kind, Summary, Verdict
from jupyter_hpcsec.ops.bench.tunnel import IDLE, Report, Say, in_family
from jupyter_hpcsec.ops.bench.ways import Tunnel
from jupyter_hpcsec.ops.family import Family

TAPPED, UNTAPPED, HASHED = "tunnel", "untapped", "hashing"
DOWN = Bound("bulk download, tap on : off", Kind.AT_LEAST, 0.95)
UP = Bound("bulk upload, tap on : off", Kind.AT_LEAST, 0.95)
ADDED = Bound("p99 that the tap and the record add to an upload's begin", Kind.AT_MOST, 5000, unit="µs")


class Hashed(Tunnel):
    """The same with the SHA-256 of each file that passes on record."""

    name = HASHED
    settings = "c.HpcsecGateway.recording_hashes_files = True\n"


class Untapped(Tunnel):
    """The same without the tap."""

    name = UNTAPPED

    def _gateway(self, config: Path) -> list[str]:
        return module("ops.bench.untapped", str(config))


async def measure(directory: Path, family: Family, client: LoadClient, effort: Effort, results: Results) -> None:
    """Bulk both ways, small requests that need no record, small ones that wait for it, files with and without a hash,
    in turns; then memory."""
    server = directory / "server.sock"
    words = module("ops.bench.load_server", str(server))
    part = family.start("server", words, environment=dict(os.environ), directory=directory)
    await until_exists(server, family, "the load server")
    tapped, hashed = Tunnel(family, directory / "tapped"), Hashed(family, directory / "hashed", prefix="hashed-")
    tunnels = [tapped, Untapped(family, directory / "untapped", prefix="untapped-"), hashed]
    ways = [await Started.start(way, server) for way in tunnels]
    rounds = Rounds(ways, client=client, other=client, server_pid=part.process.pid, results=results)
    names = [TAPPED, UNTAPPED]
    await rounds.warm_up()
    await rounds.download(effort, names, 1)
    await rounds.upload(effort, names)
    await rounds.small(effort, names)
    await rounds.writes(effort, names)
    await rounds.files(effort, {way.name: await _prefix(way) for way in (tapped, hashed)})
    on, off = (results.values("file", name, "gib_per_s") for name in (HASHED, TAPPED))
    for one, other in zip(on, off, strict=True):
        results.add("hashing", "on : off", ratio=one / other)
    await memory.measure(tapped, server, client, effort.sessions, results)


async def _prefix(way: Tunnel) -> str:
    """The path of a way's session at JupyterHub's proxy."""
    (session,) = await way.admin.sessions()
    return f"/user/{session['user']}"


def verdicts(results: Results) -> list[Verdict]:
    """The numbers, as this run found them."""
    ours, theirs = (results.values("write", name, "p99_s") for name in (TAPPED, UNTAPPED))
    idle = results.values("idle", TAPPED, "bytes")
    added = [1e6 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    return judged(
        [
            (DOWN, results.ratio("download", "gib_per_s", TAPPED, UNTAPPED)),
            (UP, results.ratio("upload", "gib_per_s", TAPPED, UNTAPPED)),
            (ADDED, Summary.of(added) if added else None),
            (IDLE, Summary.of(idle) if idle else None),
        ]
    )


async def run(*, quick: bool, say: Say) -> Report:
    """Measure. Leaves nothing behind."""
    effort, results = QUICK if quick else FULL, Results()

    async def work(directory: Path, family: Family) -> None:
        client = LoadClient("load", family, directory)
        await client.start()
        await measure(directory, family, client, effort, results)

    facts = machine(os.environ.get("PATH", os.defpath))
    await in_family(say, work)
    return Report(facts, {"quick": quick, **effort.__dict__}, results, verdicts(results))
