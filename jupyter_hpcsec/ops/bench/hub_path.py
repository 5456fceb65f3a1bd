"""The browser's path: JupyterHub's own proxy in front of an open port, of our tunnel, and of ``ssh -R``.

No hub process takes part, since none touches the bytes: the routes are added by the proxy's REST API, as the hub does
it. All routes are in one proxy process, warmed up, because its speed falls with the requests that it has seen.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.route import socket_url
from jupyter_hpcsec.ops.bench.cost import cpu_seconds
from jupyter_hpcsec.ops.bench.load import LoadClient, module, until_exists
from jupyter_hpcsec.ops.bench.results import Results
from jupyter_hpcsec.ops.bench.rounds import GIB, MIB, Effort, in_turns
from jupyter_hpcsec.ops.bench.statistics import percentile
from jupyter_hpcsec.ops.bench.ways import Way
from jupyter_hpcsec.ops.family import Family
from jupyter_hpcsec.ops.ports import LOOPBACK

OPEN_PORT = "open_port"
WARM_REQUESTS = 2000
BIG = "big.bin"


class HubPath:
    """The web server, the proxy, and a route for the open port and for each way."""

    def __init__(self, family: Family, directory: Path, proxy: Sequence[str]) -> None:
        self._family, self._directory, self._proxy = family, directory, list(proxy)
        self._port = 0
        self._parts: dict[str, dict[str, int]] = {}

    async def start(self, ways: Sequence[Way], size: int) -> None:
        """Start everything; a file of ``size`` bytes lies ready."""
        self._directory.mkdir(mode=0o700)
        files = self._directory / "files"
        files.mkdir()
        _write_file(files / BIG, size)
        socket = self._directory / "web.sock"
        open_port, self._port, api_port = (self._family.port() for _ in range(3))
        words = module("ops.bench.web_server", str(socket), str(open_port), str(files))
        self._start("web", words, os.environ)
        await until_exists(socket, self._family, "the web server")
        token = secrets.token_hex(16)
        words = [*self._proxy, "--ip", LOOPBACK, "--port", str(self._port), "--api-ip", LOOPBACK]
        words += ["--api-port", str(api_port), "--log-level", "error"]
        self._start("proxy", words, {**os.environ, "CONFIGPROXY_AUTH_TOKEN": token})
        targets = {OPEN_PORT: f"http://{LOOPBACK}:{open_port}"}
        self._parts[OPEN_PORT] = {}
        for way in ways:
            targets[way.name] = socket_url(await way.start(socket))
            self._parts[way.name] = dict(way.ends())
        for name, target in targets.items():
            await self._add_route(api_port, token, name, target)

    def _start(self, name: str, argv: list[str], environment: Mapping[str, str]) -> None:
        self._family.start(name, argv, environment=environment, directory=self._directory)

    def _pid(self, name: str) -> int:
        return self._family.parts[name].process.pid

    async def _add_route(self, port: int, token: str, name: str, target: str) -> None:
        order = HTTPRequest(
            f"http://{LOOPBACK}:{port}/api/routes/{name}",
            method="POST",
            headers={"Authorization": f"token {token}"},
            body=json.dumps({"target": target}),
        )
        for _ in range(100):
            self._family.check()
            try:
                await AsyncHTTPClient().fetch(order)
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
            else:
                return
        raise Unavailable("the proxy did not begin to listen within 10 s")

    async def measure(self, client: LoadClient, effort: Effort, results: Results) -> None:
        """Warm up, then downloads and small requests of all routes in turns."""
        names = list(self._parts)
        for name in names:
            await self._small(client, name, WARM_REQUESTS // len(names), None)
            await self._download(client, name, effort.hub_size, None)

        async def download(name: str) -> None:
            await self._download(client, name, effort.hub_size, results)

        async def small(name: str) -> None:
            await self._small(client, name, 2 * effort.requests, results)

        await in_turns(effort, names, download)
        await in_turns(effort, names, small)

    async def _small(self, client: LoadClient, name: str, count: int, results: Results | None) -> None:
        answer = await client.order("keep_alive", where=self._where(), path=f"/{name}/small", count=count)
        if results:
            seconds = answer["total"]
            figures = {"p50_s": percentile(seconds, 50), "p99_s": percentile(seconds, 99)}
            results.add("hub_small", name, **figures, connections_per_request=answer["connections"] / count)

    async def _download(self, client: LoadClient, name: str, size: int, results: Results | None) -> None:
        ends = self._parts[name]
        parts = {**ends, "proxy": self._pid("proxy"), "server": self._pid("web")}
        before = {part: cpu_seconds([pid]) for part, pid in parts.items()}
        answer = await client.order("download", where=self._where(), path=f"/{name}/files/{BIG}", size=size, streams=1)
        if results is None:
            return
        used = {part: (cpu_seconds([pid]) - before[part]) * GIB / size for part, pid in parts.items()}
        figures = {"gib_per_s": size / GIB / answer["seconds"]}
        figures |= {f"cpu_s_per_gib_{part}": seconds for part, seconds in used.items()}
        if ends:
            figures["cpu_s_per_gib"] = sum(used[end] for end in ends)
        figures["cpu_s_per_gib_load"] = answer["cpu"] * GIB / size
        results.add("hub_download", name, **figures)

    def _where(self) -> list[Any]:
        return [LOOPBACK, self._port]


def _write_file(path: Path, size: int) -> None:
    """Written now, so that it is read from the page cache: a disk is not what is measured."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
