"""The measures of the tunnel by itself, taken in turns: each round asks every way, in an order that changes."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.ops.bench.cost import cpu_seconds
from jupyter_hpcsec.ops.bench.load import LoadClient, where
from jupyter_hpcsec.ops.bench.results import Results
from jupyter_hpcsec.ops.bench.statistics import percentile
from jupyter_hpcsec.ops.bench.ways import Way

MIB = 2**20
GIB = 2**30
KEYSTROKE_EVERY_S = 0.005
KEYSTROKE_BYTES = 64
PAUSE_S = 0.002
"""Between two requests on new connections: people's browsers do not open them back to back either."""


@dataclass(frozen=True)
class Effort:
    """How much to measure. ``size`` is bytes of each bulk transfer, shared by its streams.

    A measure ends after ``rounds``, or after ``measure_s`` seconds if it has ``least_rounds`` by then.
    """

    rounds: int
    least_rounds: int
    measure_s: float
    size: int
    requests: int
    keystrokes: int
    sessions: int
    hub_size: int


FULL = Effort(
    rounds=9,
    least_rounds=5,
    measure_s=25.0,
    size=384 * MIB,
    requests=150,
    keystrokes=300,
    sessions=200,
    hub_size=192 * MIB,
)
QUICK = Effort(
    rounds=3,
    least_rounds=3,
    measure_s=4.0,
    size=128 * MIB,
    requests=80,
    keystrokes=200,
    sessions=40,
    hub_size=64 * MIB,
)


async def in_turns(effort: Effort, names: Sequence[str], ask: Callable[[str], Awaitable[None]]) -> None:
    """Ask all names in each round, beginning with another one each time."""
    begin = time.monotonic()
    for number in range(effort.rounds):
        if number >= effort.least_rounds and time.monotonic() - begin > effort.measure_s:
            break
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            await ask(name)


@dataclass(frozen=True)
class Started:
    """A way that runs: where it begins, and the processes of its ends."""

    name: str
    entrance: Any
    ends: Mapping[str, int]

    @classmethod
    async def start(cls, way: Way, server: Path) -> "Started":
        """Start a way towards a server's socket."""
        entrance = await way.start(server)
        return cls(way.name, where(entrance), dict(way.ends()))


class Rounds:
    """Takes the measures of some ways with two load clients: one for the load, one for keystrokes beside it."""

    def __init__(
        self, ways: Sequence[Started], *, client: LoadClient, other: LoadClient, server_pid: int, results: Results
    ) -> None:
        self._ways, self._client, self._other, self._server_pid = list(ways), client, other, server_pid
        self._results = results

    async def _each(self, effort: Effort, names: Sequence[str], ask: Callable[[Started], Awaitable[None]]) -> None:
        ways = {way.name: way for way in self._ways}
        await in_turns(effort, names, lambda name: ask(ways[name]))

    async def warm_up(self) -> None:
        """Buffers grown, lanes dialled, windows opened: none of it is to fall on the first round."""
        for way in self._ways:
            await self._client.order("download", where=way.entrance, path=f"/bytes/{8 * MIB}", size=8 * MIB, streams=8)
            await self._client.order("one_shot", where=way.entrance, path="/small", count=20, pause_s=PAUSE_S)

    async def download(self, effort: Effort, names: Sequence[str], streams: int) -> None:
        """Bytes from the node to the hub, by one stream or by several that share the size."""
        measure, each = ("download" if streams == 1 else f"download{streams}"), effort.size // streams

        async def ask(way: Started) -> None:
            order = {"path": f"/bytes/{each}", "size": each, "streams": streams}
            await self._bulk(measure, way, each * streams, "download", order)

        await self._each(effort, names, ask)

    async def upload(self, effort: Effort, names: Sequence[str]) -> None:
        """Bytes from the hub to the node."""

        async def ask(way: Started) -> None:
            await self._bulk("upload", way, effort.size, "upload", {"size": effort.size, "streams": 1})

        await self._each(effort, names, ask)

    async def files(self, effort: Effort, prefixes: Mapping[str, str]) -> None:
        """A file from the node, as a browser downloads it; ``prefixes`` are the paths of each way's session."""

        async def ask(way: Started) -> None:
            order = {"path": f"{prefixes[way.name]}/files/bytes/{effort.size}", "size": effort.size, "streams": 1}
            await self._bulk("file", way, effort.size, "download", order)

        await self._each(effort, list(prefixes), ask)

    async def _bulk(self, measure: str, way: Started, size: int, do: str, order: Mapping[str, Any]) -> None:
        parts = {**way.ends, "server": self._server_pid}
        before = {name: cpu_seconds([pid]) for name, pid in parts.items()}
        answer = await self._client.order(do, where=way.entrance, **order)
        used = {name: (cpu_seconds([pid]) - before[name]) * GIB / size for name, pid in parts.items()}
        load = used.pop("server") + answer["cpu"] * GIB / size
        figures = {"gib_per_s": size / GIB / answer["seconds"], "load_cpu_s_per_gib": load}
        if used:
            figures |= {"cpu_s_per_gib": sum(used.values())}
            figures |= {f"cpu_s_per_gib_{end}": seconds for end, seconds in used.items()}
        self._results.add(measure, way.name, **figures)

    async def small(self, effort: Effort, names: Sequence[str]) -> None:
        """Small requests: on a connection each, and on one that stays."""

        async def ask(way: Started) -> None:
            count = effort.requests
            answer = await self._client.order(
                "one_shot", where=way.entrance, path="/small", count=count, pause_s=PAUSE_S
            )
            self._add_latencies("one_shot", way.name, answer["total"])
            self._results.add("one_shot", way.name, first_byte_p50_s=percentile(answer["first_byte"], 50))
            answer = await self._client.order("keep_alive", where=way.entrance, path="/small", count=2 * count)
            self._add_latencies("keep_alive", way.name, answer["total"])

        await self._each(effort, names, ask)

    async def writes(self, effort: Effort, names: Sequence[str]) -> None:
        """Small uploads on a connection each: what has to be on record before it passes."""

        async def ask(way: Started) -> None:
            answer = await self._client.order("writes", where=way.entrance, count=effort.requests, pause_s=PAUSE_S)
            self._add_latencies("write", way.name, answer["total"])

        await self._each(effort, names, ask)

    async def keystrokes(self, effort: Effort, names: Sequence[str]) -> None:
        """A person types while a download of the same session takes all that it can get."""

        async def ask(way: Started) -> None:
            await self._other.order("start", where=way.entrance, size=16 * GIB)
            answer = await self._client.order(
                "keystrokes",
                where=way.entrance,
                count=effort.keystrokes,
                every_s=KEYSTROKE_EVERY_S,
                size=KEYSTROKE_BYTES,
            )
            beside = await self._other.order("stop")
            self._add_latencies("keystroke", way.name, answer["total"])
            self._results.add("keystroke", way.name, gib_per_s=beside["bytes"] / GIB / beside["seconds"])

        await self._each(effort, names, ask)

    def _add_latencies(self, measure: str, way: str, seconds: Sequence[float]) -> None:
        self._results.add(measure, way, p50_s=percentile(seconds, 50), p99_s=percentile(seconds, 99))
