"""Whether a browser sends a request on behalf of this site's own pages, or of another's. Pure.

Apps know nothing of Jupyter's XSRF token, so it can't be asked for. Instead: what changes something, and every
websocket, has to come from a page of this very origin; what reads may also be a link that somebody followed.
Sources: W3C Fetch Metadata; RFC 6454 (Origin); OWASP CSRF prevention, "verifying origin with standard headers".
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

READING = {"GET", "HEAD"}


def is_from_here(headers: Mapping[str, str], method: str, *, websocket: bool = False) -> bool:
    """Decide on one request that a cookie vouches for. ``headers`` are looked up without regard to case.

    1. ``Origin``, when there, is ours (``null`` is not). 2. ``Sec-Fetch-Site``, when there, says the same; a link that
    was followed to a whole page is let through. 3. Without both, ``Referer`` is ours if something changes; a browser
    sends one of the three with everything but a plain read.
    """
    reading = method in READING and not websocket
    host = headers.get("Host", "").lower()
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if origin is not None and _authority(origin) != host:
        return False
    if site is not None and site != "same-origin":
        return reading and (site == "none" or _is_followed_link(headers))
    if origin is None and site is None and not reading:
        return _authority(headers.get("Referer", "")) == host and not websocket
    return True


def _is_followed_link(headers: Mapping[str, str]) -> bool:
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"


def _authority(url: str) -> str:
    """Host and port; for what has none, something that no ``Host`` equals."""
    try:
        parts = urlsplit(url.lower())
    except ValueError:
        return "\0"
    return parts.netloc if parts.scheme in {"http", "https"} and parts.netloc else "\0"
