"""Checks of the HTTP parts: the public address, the proxy's API, and the Hub's API."""

import urllib.parse

from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, warn
from jupyter_hpcsec.ops.doctor.world import HttpAnswer, World

_HERE = {"localhost", "127.0.0.1", "::1"}


def examine(world: World, hop: str, url: str, fix: str) -> list[Finding]:
    """Ask ``url`` once. Any answer of an HTTP server below 500 shows that it is there."""
    try:
        answer: HttpAnswer | OSError = world.http(url)
    except OSError as exc:
        answer = exc
    return [judge_answer(hop, url, answer, fix), *judge_encryption(hop, url)]


def judge_answer(hop: str, url: str, answer: HttpAnswer | OSError, fix: str) -> Finding:
    """401 and 403 are fine: the doctor brings no token."""
    if isinstance(answer, OSError):
        return bad(hop, f"{url} does not answer: {answer.strerror or answer}", fix)
    if answer.status >= 500:
        return bad(hop, f"{url} answers with {answer.status}", fix)
    return ok(hop, f"{url} answers ({answer.status})")


def judge_encryption(hop: str, url: str) -> list[Finding]:
    """Plain HTTP is right on the same host only."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in {"https", "http+unix"} or parts.hostname in _HERE:
        return []
    fix = "serve it by HTTPS: give the proxy a certificate, or put a TLS terminating proxy on the same host"
    return [warn(hop, f"{url} is not encrypted: passwords and cookies can be read on the way", fix)]
