"""The ways on which bytes can get from a client to the server: directly, through our tunnel, through OpenSSH.

Each way is started as it would be in production, two processes for its two ends, and is asked where it begins and which
processes its ends are. Ending them is left to the family of processes that all belong to.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench.load import READY_S, module, until_exists
from jupyter_hpcsec.ops.family import Family
from jupyter_hpcsec.ops.ports import LOOPBACK
from jupyter_hpcsec.tunnel.admin import AdminClient

GATEWAY_CONFIG = """\
c = get_config()  # noqa: F821
c.HpcsecGateway.listen = ["{host}:{port}"]
c.HpcsecGateway.public_endpoints = ["{host}:{port}"]
c.HpcsecGateway.state_directory = "{directory}/state"
c.HpcsecGateway.run_directory = "{directory}/run"
c.HpcsecGateway.attestors = ["none"]
c.HpcsecGateway.unsafe_no_attestation = True
c.HpcsecGateway.unsafe_no_access_control = True
c.HpcsecGateway.handshakes_per_second = 10000
c.HpcsecGateway.handshake_burst = 100000
"""
"""Production's defaults but for what a single computer has not (a scheduler) and for many agents from one address."""


class Way(Protocol):
    """One way from a client's unix socket to the server's."""

    name: str

    async def start(self, server: Path) -> Path:
        """Start it towards the server's socket; the socket where it begins. ``Unavailable`` says what is missing."""

    def ends(self) -> Mapping[str, int]:
        """The process of each end by the end's name; descendants belong to it."""


class Direct:
    """No tunnel at all: what the server, the client and the kernel cost by themselves."""

    name = "direct"

    async def start(self, server: Path) -> Path:
        """The server's own socket."""
        return server

    def ends(self) -> Mapping[str, int]:
        """None."""
        return {}


class Tunnel:
    """Our gateway and agent. ``count`` sessions are enrolled by one agent process, of which the first is the way."""

    name = "tunnel"
    settings = ""
    """Lines of the gateway's configuration beside ``GATEWAY_CONFIG``."""

    def __init__(self, family: Family, directory: Path, *, prefix: str = "") -> None:
        self._family, self._directory, self._prefix = family, directory, prefix
        self.admin = AdminClient(directory / "run" / "admin.sock")
        self._agents = 0

    async def start(self, server: Path) -> Path:
        """Start the gateway, and the agent of one session."""
        self._directory.mkdir(mode=0o700)
        config = self._directory / "gateway_config.py"
        port = self._family.port()
        config.write_text(GATEWAY_CONFIG.format(host=LOOPBACK, port=port, directory=self._directory) + self.settings)
        self._start("gateway", self._gateway(config))
        await until_exists(self._directory / "run" / "admin.sock", self._family, "the gateway")
        sockets = await self.add_sessions(1, server)
        return sockets[0]

    def _gateway(self, config: Path) -> list[str]:
        return module("cli.main", "gateway", "--config", str(config))

    async def add_sessions(self, count: int, server: Path) -> list[Path]:
        """Enrol so many sessions with one agent process, and wait until each has its lanes; their sockets."""
        self._agents += 1
        name = "agent" if self._agents == 1 else f"agent{self._agents}"
        listing = self._directory / f"{name}.sessions"
        run = str(self._directory / "run")
        self._start(name, module("ops.bench.agents", run, str(count), str(server), str(listing)))
        await until_exists(listing, self._family, "the agent", READY_S + count * 0.1)
        wanted = set(listing.read_text().split())
        await self._until_idle(wanted, READY_S + count * 0.1)
        return [self._directory / "run" / "s" / f"{session}.sock" for session in sorted(wanted)]

    async def _until_idle(self, wanted: set[str], patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    shown = {each["id"]: each for each in await self.admin.sessions()}
                    if all(shown[session]["idle_lanes"] > 0 for session in wanted):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError as exc:
            raise Unavailable(f"the agent did not dial its lanes within {patience_s:g} s") from exc

    def _start(self, name: str, argv: list[str]) -> None:
        self._family.start(self._prefix + name, argv, environment=dict(os.environ), directory=self._directory)

    def ends(self) -> Mapping[str, int]:
        """Gateway and agent."""
        return {name: self._family.parts[self._prefix + name].process.pid for name in ("gateway", "agent")}
