"""Checks of the versions of the parts, against what this package declares in its own metadata."""

import importlib.metadata
import re
import ssl
import sys
from collections.abc import Callable, Iterable

from packaging.requirements import Requirement

from jupyter_hpcsec import __version__
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import Ran, World

_PROXY_TRIED = 5
"""configurable-http-proxy's major version whose unix-socket routes the tests run with."""


def installed(name: str) -> str | None:
    """The version of an installed distribution; None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine_parts() -> list[Finding]:
    """Python, OpenSSL and the Python packages."""
    declared = importlib.metadata.requires("jupyter-hpcsec") or []
    return [
        judge_python(sys.version_info[:3]),
        judge_openssl(ssl.OPENSSL_VERSION, tls13=ssl.HAS_TLSv1_3),
        *judge_requirements(declared, installed),
    ]


def examine_proxy(world: World) -> Finding:
    """The proxy's version, where it is the usual one."""
    return judge_proxy(world.run(["configurable-http-proxy", "--version"]))


def judge_python(version: tuple[int, int, int]) -> Finding:
    """Python and this package."""
    shown = ".".join(str(number) for number in version)
    if version < (3, 11, 0):
        return bad("versions", f"Python {shown} is too old", "use Python 3.11 or newer")
    return ok("versions", f"jupyter-hpcsec {__version__}, Python {shown}")


def judge_openssl(shown: str, *, tls13: bool) -> Finding:
    """The library under Python's ``ssl``."""
    if not tls13 or not shown.startswith("OpenSSL "):
        return bad("versions", f"{shown} has no TLS 1.3, or is not OpenSSL", "use a Python built with OpenSSL 3")
    if shown.startswith("OpenSSL 1."):
        return warn("versions", f"{shown} is out of support", "use a Python built with OpenSSL 3")
    return ok("versions", shown)


def judge_requirements(declared: Iterable[str], version_of: Callable[[str], str | None]) -> list[Finding]:
    """Each declared requirement that holds here without an extra. One green line for those that are met."""
    met, findings = [], []
    for text in declared:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = version_of(requirement.name)
        wanted = f"{requirement.name}{requirement.specifier}"
        if found is None:
            findings.append(bad("versions", f"{requirement.name} is not installed", f"pip install '{wanted}'"))
        elif not requirement.specifier.contains(found, prereleases=True):
            findings.append(bad("versions", f"{requirement.name} {found} is not supported", f"pip install '{wanted}'"))
        else:
            met.append(f"{requirement.name} {found}")
    if met:
        findings.insert(0, ok("versions", ", ".join(met)))
    return findings or [unknown("versions", "no requirements are declared", "install the package with pip")]


def judge_proxy(ran: Ran | None) -> Finding:
    """``configurable-http-proxy --version`` prints the number alone."""
    number = re.match(r"\s*(\d+)\.\d+\.\d+", ran.out) if ran is not None else None
    if ran is None or number is None:
        return unknown(
            "proxy",
            "configurable-http-proxy is not in the PATH, its version is not known",
            "nothing to do where it runs elsewhere; it has to be 5.x, for routes to unix sockets",
        )
    shown = ran.out.strip()[:20]
    if int(number.group(1)) < _PROXY_TRIED:
        return warn("proxy", f"configurable-http-proxy {shown} is not tried", "install version 5")
    return ok("proxy", f"configurable-http-proxy {shown}")
