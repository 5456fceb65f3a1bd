"""The doctor on the hub's host: from the gateway outwards, hop by hop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops.doctor import (
    clock,
    console,
    files,
    gateway,
    kernel,
    munge,
    record,
    scheduler,
    tls,
    versions,
    web,
)
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown
from jupyter_hpcsec.ops.doctor.world import World


@dataclass(frozen=True)
class HubSide:
    """Where the parts are. ``status`` asks the gateway; HpcsecError where it does not answer."""

    admin_socket: Path
    status: Callable[[], Mapping[str, Any]]
    public_url: str
    proxy_api_url: str
    hub_api_url: str | None
    """None: the one that the gateway uses."""
    batch_system: str


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
        "tls": lambda: _tls(world, status),
        "descriptors": lambda: _descriptors(world, side, status),
        "permissions": lambda: _permissions(world, side, status),
        "record": lambda: _record(world, side, status),
        "hub api": lambda: _hub_api(world, side.hub_api_url or status.get("hub_api_url")),
        "public url": lambda: web.examine(
            world, "public url", side.public_url, "start the proxy, or correct the address (--public-url)"
        ),
        "proxy api": lambda: web.examine(
            world, "proxy api", side.proxy_api_url, "start the proxy, or correct its API's address (--proxy-api-url)"
        ),
        "console": lambda: console.examine(world, side.public_url, side.hub_api_url or status.get("hub_api_url")),
        "proxy": lambda: [versions.examine_proxy(world)],
        "scheduler": lambda: scheduler.examine(world, side.batch_system),
        "munge": lambda: munge.examine(world, needed=attests_by_munge),
        "clock": lambda: [clock.judge_clock(world.clock())],
        "kernel": lambda: kernel.examine(world, node=False),
        "versions": versions.examine_parts,
    }
    for hop, check in hops.items():
        findings += attempt(hop, check)
    return findings


def attempt(hop: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Run a hop's checks; where they can't be made, that is what is said."""
    try:
        return check()
    except (OSError, ValueError, KeyError, HpcsecError) as exc:
        return [unknown(hop, f"could not be checked: {exc}", "run the doctor as root; if it stays, report it as a bug")]


def _tls(world: World, status: Mapping[str, Any]) -> list[Finding]:
    """Under each authority that a job may still hold: during a rotation the old one has to be shown, too."""
    if not status:
        return [unknown("tls", "the gateway's endpoints and authorities are not known", "mend the gateway first")]
    endpoints = gateway.endpoints_of(status)
    findings = [tls.judge_endpoints(endpoints)]
    for key in status["keys"]:
        if key["kind"] == "authority" and (key["expires"] is None or key["expires"] > world.now()):
            findings += tls.examine(world, endpoints, tls.Pin(key["id"]))
    return findings


def _hub_api(world: World, url: str | None) -> list[Finding]:
    if url is None:
        return [unknown("hub api", "its address is not known", "mend the gateway first, or give --hub-api-url")]
    return web.examine(world, "hub api", url, "start JupyterHub, or correct hub_api_url in the gateway's configuration")


def _descriptors(world: World, side: HubSide, status: Mapping[str, Any]) -> list[Finding]:
    if not status:
        return [unknown("descriptors", "the gateway's process is not known", "mend the gateway first")]
    process = Path("/proc") / str(world.owner_of_socket(side.admin_socket).pid)
    open_now = len(world.listdir(process / "fd"))
    idle_lanes = int(status["limits"]["idle_lanes"])
    return [gateway.judge_descriptors(world.read(process / "limits"), open_now, int(status["sessions"]), idle_lanes)]


def _permissions(world: World, side: HubSide, status: Mapping[str, Any]) -> list[Finding]:
    """Whoever may write to the run directory can take a session's place; whoever reads the state holds the keys."""
    hop = "permissions"
    if not status:
        return [unknown(hop, "the gateway's directories are not known", "mend the gateway first")]
    owner = world.owner_of_socket(side.admin_socket).uid
    state, run = Path(status["state_directory"]), Path(status["run_directory"])
    return [
        files.examine(world, hop, side.admin_socket, kind="socket", widest=0o660, owner=owner),
        files.examine(world, hop, state, kind="directory", widest=0o700, owner=owner),
        files.examine(world, hop, run, kind="directory", widest=0o755, owner=owner),
        files.examine(world, hop, run / "s", kind="directory", widest=0o755, owner=owner),
        *files.impassable(world, hop, side.admin_socket, [run, run / "s"]),
        *_session_sockets(world, run / "s", owner),
    ]


def _record(world: World, side: HubSide, status: Mapping[str, Any]) -> list[Finding]:
    if not status:
        return [unknown("record", "the gateway's audit record is not known", "mend the gateway first")]
    return record.examine(world, status.get("audit"), world.owner_of_socket(side.admin_socket).uid)


def _session_sockets(world: World, directory: Path, owner: int) -> list[Finding]:
    """One line for all sockets that are as they should be, one for each that is not."""
    names = [name for name in world.listdir(directory) if name.endswith(".sock")]
    each = [
        files.examine(world, "permissions", directory / name, kind="socket", widest=0o660, owner=owner)
        for name in names
    ]
    wrong = [finding for finding in each if finding.fix]
    return [*wrong, ok("permissions", f"{len(names) - len(wrong)} session sockets are closed to other users")]
