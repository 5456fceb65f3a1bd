"""Cookies between a browser and an app: an app gets back only what it set itself, and sets nothing outside its path.

A browser sends an app everything that stands at the paths above it: the Hub's and the server's cookies, those of a
single sign-on in front of them. A list of names to hold back can't be complete, and a name proves nothing, since an
app may set a cookie of the same name. So the pairs of name and value that an app set are remembered, and only those
pass.
"""

import hashlib
import re
from collections import OrderedDict

REMEMBERED = 256
"""Pairs that are remembered of one app; the oldest go."""
COOKIE_LIMIT = 4096
"""Bytes of one ``Set-Cookie``: what browsers keep (RFC 6265, 6.1)."""

SPACE = " \t"
"""What browsers trim (RFC 6265, 5.2); ``str.strip`` would trim control characters too."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e]*(?: [\x21-\x3a\x3c-\x7e]+)*")
_RESERVED = re.compile(r"(?i)(?:_xsrf\Z|jupyter|username-|__host-|__http-|__host-http-)")
"""Names of Jupyter and its Hub, and prefixes that would not hold at our path."""
_KEPT = {"expires", "max-age", "secure", "httponly", "samesite"}
"""Attributes that pass. ``Domain`` would reach other hosts; ``Path`` is ours."""


class CookieJar:
    """What the app on each port set."""

    def __init__(self) -> None:
        self._known: dict[int, OrderedDict[bytes, None]] = {}

    def confine(self, port: int, cookie: str, prefix: str, *, absolute: bool) -> str | None:
        """The ``Set-Cookie`` for the browser, within the app's path, remembered; None for one that is not to be set."""
        if len(cookie) > COOKIE_LIMIT:
            return None
        pair, *attributes = [part.strip(SPACE) for part in cookie.split(";")]
        name, equals, value = (part.strip(SPACE) for part in pair.partition("="))
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or _RESERVED.match(name):
            return None
        kept = [item for item in attributes if _attribute(item) in _KEPT and item.isprintable()]
        paths = [item.partition("=")[2].strip(SPACE) for item in attributes if _attribute(item) == "path"]
        self._remember(port, name, value)
        return "; ".join([f"{name}={value}", *kept, f"Path={_path(paths[-1] if paths else '', prefix, absolute)}"])

    def passing(self, port: int, header: str) -> str:
        """The ``Cookie`` header for the app; empty when nothing of it is the app's."""
        known = self._known.get(port, OrderedDict())
        pairs = [part.strip(SPACE) for part in header.split(";")]
        return "; ".join(pair for pair in pairs if _digest(*_halves(pair)) in known)

    def _remember(self, port: int, name: str, value: str) -> None:
        known = self._known.setdefault(port, OrderedDict())
        digest = _digest(name, value)
        known[digest] = None
        known.move_to_end(digest)
        while len(known) > REMEMBERED:
            known.popitem(last=False)


def _attribute(item: str) -> str:
    return item.partition("=")[0].strip(SPACE).lower()


def _halves(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name.strip(SPACE), value.strip(SPACE)


def _digest(name: str, value: str) -> bytes:
    return hashlib.sha256(f"{name}={value}".encode(errors="surrogatepass")).digest()


def _path(asked: str, prefix: str, absolute: bool) -> str:
    """The path of a cookie: what the app asked for, when that can be had below its prefix."""
    inside = asked == prefix or asked.startswith(f"{prefix}/")
    if not asked.startswith("/") or not _VALUE.fullmatch(asked) or (absolute and not inside):
        return f"{prefix}/"
    return asked if inside else f"{prefix}{asked}"
