"""Three ways to tell JupyterHub of a unix socket, without batch system and gateway. Loaded by a hub under test.

The socket is the test's own; a server behind it is there all the time.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.spawner import Spawner

from jupyter_hpcsec.hub.route import UnixSocketRoute


def path() -> str:
    """The socket of this test."""
    return (Path(os.environ["HOME"]) / "socket-path").read_text()


def url() -> str:
    """Its URL."""
    return "http+unix://" + quote(path(), safe="")


class UrlSpawner(Spawner):  # type: ignore[misc]
    """Way 1: only returns the URL from ``start``."""

    running = False

    async def start(self) -> str:
        self.running = True
        return url()

    async def stop(self, now: bool = False) -> None:
        self.running = False

    async def poll(self) -> int | None:
        return None if self.running else 1

    def get_state(self) -> dict[str, Any]:
        return {"running": self.running}

    def load_state(self, state: dict[str, Any]) -> None:
        self.running = bool(state.get("running"))


class StartSpawner(UrlSpawner):
    """Way 2: sets the address to connect to, once, in ``start``."""

    async def start(self) -> str:
        self.server.connect_url = url()
        return await super().start()


class PropertySpawner(UnixSocketRoute, UrlSpawner):
    """Way 3, ours: whoever asks for the server gets it with the right address."""

    async def start(self) -> str:
        self.socket = path()
        return await super().start()

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.socket = path() if self.running else ""
