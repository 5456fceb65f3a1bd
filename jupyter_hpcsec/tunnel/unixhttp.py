"""HTTP to a server on a unix socket, with tornado's client. It opens that one path and nothing else."""

import os
import socket
from pathlib import Path
from typing import Any

from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient


class UnixResolver(Resolver):
    """Every name resolves to one unix socket, whatever the URL's host says."""

    def initialize(self, path: Path) -> None:
        """Called by tornado with the constructor's arguments."""
        self._address = os.fspath(path)

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """The socket's path, as an address of ``AF_UNIX``."""
        return [(socket.AF_UNIX, self._address)]


def unix_client(path: Path, *, max_clients: int = 10, max_body_size: int = 16 << 20) -> SimpleAsyncHTTPClient:
    """A client of its own (not the loop's shared one) for the server at ``path``; the caller closes it.

    ``max_body_size`` is bytes of a response; ``max_clients`` requests run at once, further ones queue.
    """
    return SimpleAsyncHTTPClient(
        force_instance=True,
        resolver=UnixResolver(path),
        max_clients=max_clients,
        max_buffer_size=max_body_size,
        max_body_size=max_body_size,
    )
