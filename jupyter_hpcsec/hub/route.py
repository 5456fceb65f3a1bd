"""The session's socket as JupyterHub and the proxy want it; why so: ``docs/decisions/0001-unix-socket-route.md``."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.errors import Malformed

SCHEME = "http+unix"
SUN_PATH_LIMIT = 107
"""Bytes of a unix socket's path (``unix(7)``: 108 with the final zero)."""


def socket_url(path: Path) -> str:
    """``http+unix://%2Frun%2F…``: the path percent-encoded in the place of the host.

    Raises ``Malformed`` for a path that would not survive the way to the proxy: URL hosts are lower-cased on it.
    """
    text = str(path)
    if not path.is_absolute() or ".." in path.parts or len(text.encode()) > SUN_PATH_LIMIT:
        raise Malformed(
            f"A session's socket needs an absolute path of at most {SUN_PATH_LIMIT} bytes. Shorten run_directory."
        )
    if text != text.lower() or not text.isascii() or not text.isprintable():
        raise Malformed(
            "A session's socket needs a path in lower-case ASCII: proxies fold the case. Rename run_directory."
        )
    return f"{SCHEME}://{quote(text, safe='')}"


class UnixSocketRoute:
    """Put before a spawner class: its ``server`` is reached by ``socket``, whoever asks for it and whenever."""

    socket = ""
    """Path of the session's unix socket on the hub host; empty when there is none."""

    @property
    def server(self) -> Any:
        """JupyterHub's own object, with the socket as the address to connect to.

        The database keeps only scheme, host and port of a URL, so that what a restarted hub makes of it has a wrong
        address (``…:80``). Setting it each time makes it right for every reader.
        """
        server = super().server  # type: ignore[misc]  # the spawner class that this stands before
        if server is not None and self.socket:
            server.proto = SCHEME
            server.connect_url = socket_url(Path(self.socket)) + server.base_url
        return server

    @server.setter
    def server(self, server: Any) -> None:
        super(UnixSocketRoute, type(self)).server.__set__(self, server)  # type: ignore[misc]
