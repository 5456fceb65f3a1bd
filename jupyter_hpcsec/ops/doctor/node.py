"""The doctor on a compute node, inside a job or inside a running session: from the node towards the gateway."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.job_environment import JOB_IDS
from jupyter_hpcsec.hub.server_plan import SESSION_VARIABLE
from jupyter_hpcsec.ops.doctor import clock, files, kernel, munge, tls, versions
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.handshake import Endpoint
from jupyter_hpcsec.ops.doctor.hub import attempt
from jupyter_hpcsec.ops.doctor.world import World

_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (include/net/tcp_states.h: TCP_LISTEN = 10)."""


@dataclass(frozen=True)
class NodeSide:
    """What the node knows of its gateway. ``runtime`` is the session's directory, None before the agent has made it."""

    endpoints: tuple[Endpoint, ...]
    pin: tls.Pin
    runtime: Path | None = None
    job_id: str = ""
    protections: Mapping[str, Any] = field(default_factory=dict)
    """The receipt of the session's sandbox (``access.sandbox``)."""


def discover(
    environ: Mapping[str, str],
    session_file: str | None,
    *,
    gateway: str = "",
    ca_pin: str = "",
    ca: bytes | None = None,
) -> NodeSide:
    """What was given on the command line, else what a running session wrote, else the job's environment.

    ``session_file`` is the text of the file that ``SESSION_VARIABLE`` names. Raises Malformed with the fix.
    """
    facts = _session(session_file) if session_file is not None else {}
    job_id = str(facts.get("job") or next((environ[name] for name in JOB_IDS if environ.get(name)), ""))
    runtime = Path(environ[SESSION_VARIABLE]).parent if facts else None
    announced = facts.get("endpoints")
    texts = [gateway] if gateway else [str(text) for text in announced] if isinstance(announced, list) else []
    texts = texts or [text for text in environ.get("HPCSEC_GATEWAY", "").split(",") if text]
    encoded = str(facts.get("ca") or environ.get("HPCSEC_CA", ""))
    pin = str(ca_pin or facts.get("ca_pin") or "").lower().removeprefix("sha256:")
    if not texts or not (pin or ca or encoded):
        raise Malformed(
            f"this is not a job of the gateway (no {SESSION_VARIABLE}, no HPCSEC_GATEWAY): "
            "run it in a terminal of a session, or give --gateway HOST:PORT and --ca-pin HASH"
        )
    try:
        endpoints = tuple(Endpoint.parse(part) for text in texts for part in text.split(","))
        der = ca if ca is not None else base64.b64decode(encoded, validate=True) if encoded and not ca_pin else None
    except (ValueError, binascii.Error) as exc:
        raise Malformed(f"the gateway's address or authority can't be read: {exc}") from exc
    protections = facts.get("protections")
    return NodeSide(endpoints, _pin(pin, der), runtime, job_id, protections if isinstance(protections, dict) else {})


def _pin(pin: str, der: bytes | None) -> tls.Pin:
    if der is not None:
        whole = tls.Pin.of(der)
        if pin and whole.sha256 != pin:
            raise Malformed(f"the authority's certificate has the hash {whole.sha256}, not the pin {pin}")
        return whole
    if len(pin) != 64 or any(digit not in "0123456789abcdef" for digit in pin):
        raise Malformed(
            "--ca-pin is the SHA-256 of the authority's certificate: 64 hexadecimal digits (hpcsec keys list)"
        )
    return tls.Pin(pin)


def _session(text: str) -> Mapping[str, Any]:
    try:
        facts = json.loads(text)
    except ValueError as exc:
        raise Malformed(f"the session's file ({SESSION_VARIABLE}) is not JSON; restart the server") from exc
    if not isinstance(facts, dict):
        raise Malformed(f"the session's file ({SESSION_VARIABLE}) holds no object; restart the server")
    return facts


def examine(world: World, side: NodeSide) -> list[Finding]:
    """Every hop of the node side; one that breaks stops none of the others."""
    hops = {
        "job": lambda: judge_job(side.job_id, world.environ(), in_session=side.runtime is not None),
        "tls": lambda: _tls(world, side),
        "hub api": lambda: _hub_api(world, side),
        "clock": lambda: [clock.judge_clock(world.clock())],
        "munge": lambda: munge.examine(world, needed=False),
        "permissions": lambda: _permissions(world, side),
        "sandbox": lambda: judge_sandbox(side.protections) if side.runtime else [],
        "listeners": lambda: judge_listeners(_listening(world)),
        "kernel": lambda: kernel.examine(world, node=True, in_session=side.runtime is not None),
        "versions": versions.examine_parts,
    }
    findings: list[Finding] = []
    for hop, check in hops.items():
        findings += attempt(hop, check)
    return findings


def judge_job(job_id: str, environ: Mapping[str, str], *, in_session: bool) -> list[Finding]:
    """Is this a job, and is the one secret that it came with gone?"""
    findings = [ok("job", f"job {job_id}") if job_id else warn("job", "no job id", "run this inside the batch job")]
    if in_session and "HPCSEC_TOKEN" in environ:
        fix = "it was good once and is used up, but it should not be here: report it as a bug"
        findings.append(bad("job", "the job's token is still in the environment of the session", fix))
    return findings


def may_connect(receipt: Mapping[str, Any], port: int) -> bool:
    """Whether the session may dial a TCP port itself, by its receipt; without a receipt it is tried."""
    said = receipt.get("connect")
    return not isinstance(said, str) or said == "not restricted" or str(port) in re.findall(r"\d+", said)


def _tls(world: World, side: NodeSide) -> list[Finding]:
    """The gateway's port from here. The agent dials it from outside of the sandbox, which a session need not be able to
    do.
    """
    if side.runtime is None or all(may_connect(side.protections, endpoint.port) for endpoint in side.endpoints):
        return tls.examine(world, side.endpoints, side.pin)
    fix = "run hpcsec doctor --node in a plain job of the batch system, with --gateway and --ca-pin"
    return [unknown("port", "by the access policy this session does not dial the gateway itself; its agent does", fix)]


def _hub_api(world: World, side: NodeSide) -> list[Finding]:
    """The Hub API by the tunnel; its answer's date also shows the skew of this clock."""
    if side.runtime is None:
        return [
            unknown("hub api", "there is no running session here", "run the doctor in a terminal of a session"),
            unknown("clock skew", "there is no running session here", "compare 'date -u' on node and hub host"),
        ]
    socket = side.runtime / "hub.sock"
    before = world.now()
    try:
        answer = world.http("http://hub/hub/api", unix=socket)
    except OSError as exc:
        fix = "the agent or its gateway is away: see the other lines, then the job's log"
        return [bad("hub api", f"no answer by the tunnel: {exc.strerror or exc}", fix)]
    took = world.now() - before
    if answer.status >= 500:
        return [bad("hub api", f"by the tunnel: {answer.status}", "start JupyterHub, or see the gateway's log")]
    return [ok("hub api", f"answers by the tunnel ({answer.status})"), clock.judge_skew(before, answer, took)]


def _permissions(world: World, side: NodeSide) -> list[Finding]:
    if side.runtime is None:
        return []
    sockets = [name for name in world.listdir(side.runtime) if name.endswith(".sock")]
    uid = world.uid()
    return [
        files.examine(world, "permissions", side.runtime, kind="directory", widest=0o700, owner=uid),
        *(
            files.examine(world, "permissions", side.runtime / name, kind="socket", widest=0o600, owner=uid)
            for name in sockets
        ),
    ]


def judge_sandbox(receipt: Mapping[str, Any]) -> list[Finding]:
    """What the session's own sandbox said when it was applied. The user could change it: nothing relies on it."""
    if not receipt:
        return [unknown("sandbox", "the session says nothing of its sandbox", "restart the server")]
    bind = receipt.get("bind")
    if bind in {"none", "private"}:
        found = [ok("sandbox", f"bind: {bind}: nobody can reach what this session opens, tried when it started")]
    else:
        fix = "let your administrators set network.bind to 'none' (the default) or 'private' in the access policy"
        found = [warn("sandbox", f"bind: {bind}: the network may reach what is opened here", fix)]
    if receipt.get("enforcement") == "required":
        return [*found, ok("sandbox", f"files: {receipt.get('files')}; connections: {receipt.get('connect')}")]
    fix = "let your administrators write an access policy with enforcement: required"
    return [*found, warn("sandbox", "rules for files are not enforced in this session", fix)]


def _listening(world: World) -> list[str]:
    """The local ports, as ``proto/port``, on which sockets of this uid listen (proc_net_tcp(5))."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = world.read(Path("/proc/net") / name).splitlines()[1:]
        except FileNotFoundError:
            continue
        for fields in (line.split() for line in lines):
            if len(fields) > 7 and fields[3] == _LISTEN and fields[7] == str(world.uid()):
                found.add(f"{name}/{int(fields[1].rpartition(':')[2], 16)}")
    return sorted(found)


def judge_listeners(ports: list[str]) -> list[Finding]:
    """A session opens none. What else a user runs on the node is the user's, so this is no fault of the session."""
    if ports:
        fix = "find out what it is (ss -ltnp); work behind the gateway needs no open port"
        return [warn("listeners", f"processes of this user listen on {', '.join(ports[:8])}", fix)]
    return [ok("listeners", "no process of this user listens on TCP")]
