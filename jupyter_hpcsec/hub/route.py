"""The session's socket as JupyterHub and the proxy want it (``docs/decisions/0001-unix-socket-route.md``). Pure."""

from pathlib import Path
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
