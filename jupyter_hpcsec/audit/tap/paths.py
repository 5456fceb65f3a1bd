"""What a request's target names in a Jupyter server. Pure.

The fixed words of a route are compared as they came, for tornado does so too; the names within are percent-decoded
once, as tornado does, and dot segments are resolved as ``os.path.abspath`` does for the contents manager and the files
handler.
"""

import posixpath
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote_to_bytes

NAME_LIMIT = 255


class Area(StrEnum):
    """Parts of a Jupyter server that the tap tells apart."""

    OUTSIDE = "outside"
    """Not below the path of the session's server, which has nothing there."""
    OTHER = "other"
    QUIET = "quiet"
    """Programs, styles and state of the interface: nothing that is anybody's data."""
    CONTENTS = "contents"
    CHECKPOINTS = "checkpoints"
    FILES = "files"
    NBCONVERT = "nbconvert"
    UPLOAD = "upload"
    DIGEST = "digest"
    KERNELS = "kernels"
    KERNEL = "kernel"
    INTERRUPT = "interrupt"
    RESTART = "restart"
    CHANNELS = "channels"
    SESSIONS = "sessions"
    SESSION = "session"
    TERMINALS = "terminals"
    TERMINAL = "terminal"
    TERMINAL_SOCKET = "terminal-socket"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes. ``path`` is the canonical path of a file (bytes, without a leading slash)."""

    area: Area
    path: bytes = b""
    name: str = ""
    query: str = ""

    def asks(self, name: str) -> str:
        """A parameter of the query, the last of several, as tornado has it; empty without one."""
        return dict(parse_qsl(self.query, keep_blank_values=True)).get(name, "")


_ID = r"\w+-\w+-\w+-\w+-\w+"
_ROUTES: tuple[tuple[re.Pattern[str], Area], ...] = tuple(
    (re.compile(pattern), area)
    for pattern, area in (
        (rf"api/kernels/(?P<name>{_ID})/channels", Area.CHANNELS),
        (rf"api/kernels/(?P<name>{_ID})/interrupt", Area.INTERRUPT),
        (rf"api/kernels/(?P<name>{_ID})/restart", Area.RESTART),
        (rf"api/kernels/(?P<name>{_ID})", Area.KERNEL),
        (r"api/kernels", Area.KERNELS),
        (rf"api/sessions/(?P<name>{_ID})", Area.SESSION),
        (r"api/sessions", Area.SESSIONS),
        (r"terminals/websocket/(?P<name>\w+)", Area.TERMINAL_SOCKET),
        (r"api/terminals/(?P<name>\w+)", Area.TERMINAL),
        (r"api/terminals", Area.TERMINALS),
        (r"api/contents(?P<path>(?:/.*)?)/checkpoints(?:/[\w-]+)?", Area.CHECKPOINTS),
        (r"api/contents(?P<path>(?:/.*)?)", Area.CONTENTS),
        (r"files/(?P<path>.*)", Area.FILES),
        (r"nbconvert/[^/]+(?P<path>(?:/.*)?)", Area.NBCONVERT),
        (r"hpcsec/api/transfers/uploads(?P<path>(?:/.*)?)", Area.UPLOAD),
        (r"hpcsec/api/transfers/digests(?P<path>/.*)", Area.DIGEST),
        (r"(?:static|lab|kernelspecs|custom|logo|favicon\.ico|hpcsec/api)(?:/.*)?", Area.QUIET),
        (r"api(?:/(?:me|status|kernelspecs|config|spec\.yaml|events|nbconvert)(?:/.*)?)?", Area.QUIET),
        (r"oauth_callback|login|logout|metrics|", Area.QUIET),
    )
)


def base_path(user: str, server: str) -> tuple[str, ...]:
    """The segments, decoded, below which a user's server answers, wherever the hub itself is."""
    return ("user", user, *([server] if server else []))


def canonical(path: str) -> bytes:
    """A file's path, decoded once; what leads above the root keeps its ``..`` for all to see."""
    decoded = unquote_to_bytes(path).strip(b"/")
    return posixpath.normpath(decoded).lstrip(b"/") if decoded else b""


def place_of(target: str, base: tuple[str, ...]) -> Place:
    """Where a request's target leads in the server at ``base``; OTHER for what it does not know."""
    raw, _, query = target.partition("?")
    segments = raw.split("/")[1:]
    decoded = tuple(unquote_to_bytes(each).decode("utf-8", errors="replace") for each in segments)
    starts = range(len(segments) - len(base) + 1)
    start = next((at for at in starts if decoded[at : at + len(base)] == base), None)
    if start is None:
        return Place(Area.OUTSIDE, query=query)
    rest = "/".join(segments[start + len(base) :])
    for pattern, area in _ROUTES:
        found = pattern.fullmatch(rest)
        if found:
            groups = found.groupdict()
            return Place(area, canonical(groups.get("path", "")), groups.get("name", "")[:NAME_LIMIT], query)
    return Place(Area.OTHER, query=query)


def shown(target: str) -> bytes:
    """A target for people: its path decoded once; the query stays out, for tokens stand in it."""
    return unquote_to_bytes(target.partition("?")[0])
