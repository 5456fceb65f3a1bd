"""The doctor on the hub's host: from the gateway outwards, hop by hop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops.doctor import clock, files, gateway, kernel, munge, scheduler, tls, versions, web
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown
from jupyter_hpcsec.ops.doctor.world import World


@dataclass(frozen=True)
class HubSide:
    """Where the parts are. ``status`` asks the gateway and raises HpcsecError where it does not answer."""

    admin_socket: Path
    status: Callable[[], Mapping[str, Any]]
    public_url: str
    proxy_api_url: str
    hub_api_url: str
    batch_system: str
    ca: bytes | None = None
    """DER of the gateway's authority, where the gateway does not show it."""


def examine(world: World, side: HubSide) -> list[Finding]:
    """Every hop of the hub side; one that breaks stops none of the others."""
    try:
        status = side.status()
    except HpcsecError as exc:
        status = {}
        fix = "start it (systemctl status hpcsec-gateway) and run the doctor as root, the hub's or the gateway's user"
        findings = [bad("gateway", exc.reason, fix)]
    else:
        findings = gateway.judge_status(status)
    attests_by_munge = "munge" in (status.get("attestors") or ())
    hops: dict[str, Callable[[], list[Finding]]] = {
        "tls": lambda: _tls(world, side, status),
        "descriptors": lambda: _descriptors(world, status),
        "permissions": lambda: _permissions(world, side, status),
        "hub api": lambda: web.examine(
            world, "hub api", side.hub_api_url, "start JupyterHub, or correct the Hub API address (--hub-api-url)"
        ),
        "public url": lambda: web.examine(
            world, "public url", side.public_url, "start the proxy, or correct the address (--public-url)"
        ),
        "proxy api": lambda: web.examine(
            world, "proxy api", side.proxy_api_url, "start the proxy, or correct its API's address (--proxy-api-url)"
        ),
        "proxy": lambda: [versions.examine_proxy(world)],
        "scheduler": lambda: scheduler.examine(world, side.batch_system),
        "munge": lambda: munge.examine(world, needed=attests_by_munge),
        "clock": lambda: [clock.judge_clock(world.clock())],
        "kernel": lambda: kernel.examine(world),
        "versions": versions.examine_parts,
    }
    for hop, check in hops.items():
        findings += attempt(hop, check)
    return findings


def attempt(hop: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Run a hop's checks; where they can't be made, that is what is said."""
    try:
        return check()
    except (OSError, ValueError, HpcsecError) as exc:
        return [unknown(hop, f"could not be checked: {exc}", "run the doctor as root; if it stays, report it as a bug")]


def _tls(world: World, side: HubSide, status: Mapping[str, Any]) -> list[Finding]:
    endpoints = gateway.endpoints_of(status)
    sha256 = status.get("ca")
    if not status or not isinstance(sha256, str):
        return [unknown("tls", "the gateway's endpoints and pin are not known", "mend the gateway first")]
    pin = tls.Pin(sha256)
    if side.ca is not None:
        pin = tls.Pin.of(side.ca)
        if pin.sha256 != sha256:
            return [
                bad("ca pin", f"--ca is {pin.sha256[:16]}…, the gateway has {sha256[:16]}…", "give the current one")
            ]
    return [tls.judge_endpoints(endpoints), *tls.examine(world, endpoints, pin)]


def _descriptors(world: World, status: Mapping[str, Any]) -> list[Finding]:
    directory = gateway.process_directory(status)
    if directory is None:
        return [unknown("descriptors", "the gateway's process is not known", "mend the gateway first")]
    sessions = status.get("sessions", 0)
    open_now = len(world.listdir(directory / "fd"))
    return [gateway.judge_descriptors(world.read(directory / "limits"), open_now, int(sessions))]


def _permissions(world: World, side: HubSide, status: Mapping[str, Any]) -> list[Finding]:
    """Who may enter the run directory decides who may reach a session; the admin socket checks peers besides."""
    hop = "permissions"
    owner = status.get("uid")
    owner = owner if isinstance(owner, int) else None
    findings = [files.examine(world, hop, side.admin_socket, kind="socket", widest=0o660, owner=owner)]
    for name, widest in (("state_dir", 0o700), ("run_dir", 0o750)):
        if isinstance(status.get(name), str):
            path = Path(status[name])
            findings.append(files.examine(world, hop, path, kind="directory", widest=widest, owner=owner))
    sockets = status.get("sockets_dir")
    if isinstance(sockets, str):
        findings += _session_sockets(world, Path(sockets), owner)
    return findings


def _session_sockets(world: World, directory: Path, owner: int | None) -> list[Finding]:
    """One line for all sockets that are as they should be, one for each that is not."""
    names = [name for name in world.listdir(directory) if name.endswith(".sock")]
    each = [
        files.examine(world, "permissions", directory / name, kind="socket", widest=0o660, owner=owner)
        for name in names
    ]
    wrong = [finding for finding in each if finding.fix]
    return [*wrong, ok("permissions", f"{len(names) - len(wrong)} session sockets are open to the proxy's user only")]
