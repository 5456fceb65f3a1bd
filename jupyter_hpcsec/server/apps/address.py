"""Which app a URL means: the port, and where its paths stand below the user's server. Pure."""

import re
from dataclasses import dataclass

from jupyter_hpcsec.errors import Refused

LOWEST_PORT, HIGHEST_PORT = 1024, 65535
MOUNT = "hpcsec/app/"
ABSOLUTE = "absolute"

_PORT = re.compile(r"[1-9][0-9]{3,4}")
_REST = re.compile(r"[\x21-\x7e]*")
"""No space, no control character, nothing outside ASCII: what a browser sends has all of these percent-encoded."""


@dataclass(frozen=True)
class Address:
    """One app. ``prefix`` is the path, as the browser sent it, below which the app stands; it ends without a slash.

    ``path`` is the rest, still percent-encoded, and empty or with a leading slash. With ``absolute`` the app sees
    the whole path, else only the rest (jupyter-server-proxy's ``/proxy/absolute/<port>/`` and ``/proxy/<port>/``).
    """

    port: int
    absolute: bool
    prefix: str
    path: str

    @property
    def seen(self) -> str:
        """The path that the app is asked for."""
        return f"{self.prefix if self.absolute else ''}{self.path or '/'}"

    @property
    def authority(self) -> str:
        """Where the app believes to be: what it gets as ``Host``. Apps that guard against DNS rebinding accept it."""
        return f"localhost:{self.port}"


def parse_address(path: str, base_url: str) -> Address:
    """Read the raw path of a request (no query) below ``base_url``; ``Refused`` for a port that is not one."""
    before = f"{base_url}{MOUNT}"
    if not path.startswith(before):
        raise Refused("app.path", "this is not the address of an app")
    rest = path.removeprefix(before)
    absolute = rest.startswith(f"{ABSOLUTE}/")
    if absolute:
        before, rest = f"{before}{ABSOLUTE}/", rest.removeprefix(f"{ABSOLUTE}/")
    port, slash, tail = rest.partition("/")
    if not _PORT.fullmatch(port) or not LOWEST_PORT <= int(port) <= HIGHEST_PORT:
        raise Refused("app.port", f"an app is addressed by its port, a number from {LOWEST_PORT} to {HIGHEST_PORT}")
    if not _REST.fullmatch(tail):
        raise Refused("app.path", "the path holds a character that has to be percent-encoded")
    return Address(port=int(port), absolute=absolute, prefix=f"{before}{port}", path=f"{slash}{tail}")


def link(base_url: str, port: int | str) -> str:
    """The path of an app for people; ``port`` may be a placeholder."""
    return f"{base_url}{MOUNT}{port}/"
