"""The head of a request on its way to an app, and of the answer on its way back. Pure.

What vouches for the owner stays here: cookies, tokens, ``Authorization``, what proxies in front said about the person.
What an app answers may speak for the app, not for the site that it stands on.
"""

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from tornado.httputil import HTTPHeaders

from jupyter_hpcsec.server.apps.address import Address
from jupyter_hpcsec.server.apps.cookies import CookieJar

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect",
    "http2-settings",
}  # fmt: skip
"""They belong to one connection (RFC 9110, 7.6.1)."""
HELD_BACK = {
    "host",
    "cookie",
    "cookie2",
    "origin",
    "referer",
    "authorization",
    "x-xsrftoken",
    "via",
    "x-real-ip",
    "x-scheme",
}
HELD_BACK_PREFIXES = (
    "proxy-", "x-forwarded", "forwarded", "x-auth-", "x-authenticated-", "x-remote-", "remote-", "x-client-cert",
    "x-client-dn",
    "x-ssl-", "ssl-", "oidc", "x-oidc", "x-proxycontext", "x-jupyter", "sec-websocket-",
)  # fmt: skip
"""What proxies and single sign-on tell the server about the person, tokens among it."""
SECRET_PARAMETERS = {"token", "_xsrf"}
"""Parameters of a query by which Jupyter knows its owner."""

SITE_WIDE = {
    "access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-headers",
    "access-control-allow-methods", "access-control-allow-private-network", "access-control-expose-headers",
    "alt-svc", "clear-site-data", "expect-ct", "nel", "origin-agent-cluster", "public-key-pins", "report-to",
    "reporting-endpoints", "service-worker-allowed", "set-cookie", "set-cookie2", "set-login",
    "strict-transport-security", "use-as-dictionary", "www-authenticate", "proxy-authenticate",
    "x-accel-redirect", "x-sendfile", "x-lighttpd-send-file", "x-reproxy-url", "x-jupyterhub-version",
}  # fmt: skip
"""Answers that speak for the whole origin (its storage, transport, reports, logins, other sites' access to it)
or to a web server in front of the Hub."""
SITE_WIDE_PREFIXES = ("x-accel-",)

COOKIES_LIMIT = 32
"""``Set-Cookie`` lines of one answer that are looked at."""

_FIELD = re.compile(r"[!#$%&'*+\-.^`|~0-9A-Za-z]{1,128}")
"""A field's name, without the underscore: CGI-like servers can't tell it from a hyphen, so that it smuggles names."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def request_headers(came: HTTPHeaders, address: Address, jar: CookieJar, *, scheme: str) -> HTTPHeaders:
    """What the app gets of a request's headers. ``scheme`` is the browser's."""
    connection = _listed(came)
    sent = HTTPHeaders()
    xsrf = {pair.partition("=")[2].strip() for pair in _pairs(came) if pair.startswith("_xsrf=")}
    for name, value in came.get_all():
        lower = name.lower()
        if lower in HOP_BY_HOP | HELD_BACK | connection or lower.startswith(HELD_BACK_PREFIXES):
            continue
        if not _FIELD.fullmatch(name) or _CONTROL.search(value):
            continue
        if lower == "x-csrftoken" and value.strip() in xsrf:
            continue
        sent.add(name, value)
    host = came.get("Host", "")
    if cookies := jar.passing(address.port, "; ".join(came.get_list("Cookie"))):
        sent["Cookie"] = cookies
    # The origin was checked before: for the app, the request comes from its own pages.
    if "Origin" in came:
        sent["Origin"] = f"http://{address.authority}"
    if referer := _referer(came.get("Referer", ""), host, address):
        sent["Referer"] = referer
    sent["Host"] = address.authority
    sent["X-Forwarded-Host"], sent["X-Forwarded-Proto"] = host, scheme
    if not address.absolute:
        for name in ("X-Forwarded-Prefix", "X-Forwarded-Context", "X-ProxyContextPath"):
            sent[name] = address.prefix
    return sent


def response_headers(came: HTTPHeaders, address: Address, jar: CookieJar, *, host: str) -> HTTPHeaders:
    """What the browser gets of an answer's headers; ``host`` is the site's, as the browser named it."""
    connection = _listed(came)
    sent = HTTPHeaders()
    for name, value in came.get_all():
        lower = name.lower()
        if lower in HOP_BY_HOP | SITE_WIDE | connection or lower.startswith(SITE_WIDE_PREFIXES):
            continue
        if not _FIELD.fullmatch(name) or _CONTROL.search(value):
            continue
        sent.add(name, location(value, address, host=host) if lower == "location" else value)
    for cookie in came.get_list("Set-Cookie")[:COOKIES_LIMIT]:
        confined = jar.confine(address.port, cookie, address.prefix, absolute=address.absolute)
        if confined is not None:
            sent.add("Set-Cookie", confined)
    return sent


def without_secrets(query: str) -> str:
    """A query without the parameters that vouch for the owner; the others byte for byte as they were."""
    kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in SECRET_PARAMETERS]
    return "&".join(kept)


def location(target: str, address: Address, *, host: str) -> str:
    """Where a redirect leads in the browser: what the app calls its root is its prefix here; other sites stay."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return f"{address.prefix}/"
    if parts.netloc:
        own = {f"{name}:{address.port}" for name in ("localhost", "127.0.0.1", "[::1]")} | {host.lower()}
        if parts.scheme not in {"", "http", "https"} or parts.netloc.lower() not in own:
            return target
    elif parts.scheme or not target.startswith("/"):
        return target
    path = parts.path or "/"
    inside = path == address.prefix or path.startswith(f"{address.prefix}/")
    if not inside and not address.absolute:
        path = f"{address.prefix}{path}"
    # two slashes at the front would name another host
    return urlunsplit(("", "", f"/{path.lstrip('/')}", parts.query, parts.fragment))


def _referer(referer: str, host: str, address: Address) -> str:
    """The page that asked, as the app knows it; nothing when it is another's."""
    try:
        parts = urlsplit(referer)
    except ValueError:
        return ""
    inside = parts.path.startswith(f"{address.prefix}/")
    if parts.netloc.lower() != host.lower() or not inside or _CONTROL.search(referer):
        return ""
    path = parts.path if address.absolute else parts.path.removeprefix(address.prefix)
    return urlunsplit(("http", address.authority, path, without_secrets(parts.query), ""))


def _listed(headers: HTTPHeaders) -> set[str]:
    """Names that ``Connection`` makes hop-by-hop."""
    return {name.strip().lower() for line in headers.get_list("Connection") for name in line.split(",")}


def _pairs(headers: HTTPHeaders) -> list[str]:
    return [pair.strip() for line in headers.get_list("Cookie") for pair in line.split(";")]
