"""Checks of the gateway's own word (its admin socket) and of the process that gave it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_hpcsec import __version__
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.handshake import Endpoint


def judge_status(status: Mapping[str, Any]) -> list[Finding]:
    """What ``AdminClient.status()`` returned: version and attestation."""
    version = str(status.get("version", "unknown"))
    sessions = status.get("sessions", "unknown")
    findings = [ok("gateway", f"answers on its admin socket: version {version}, sessions: {sessions}")]
    if version != __version__:
        findings.append(
            warn(
                "gateway",
                f"it runs version {version}, this command is {__version__}",
                "restart the gateway after an upgrade; sessions survive that",
            )
        )
    findings.append(judge_attestors(status.get("attestors")))
    findings.append(judge_policy(status.get("policy")))
    findings.append(judge_code(status.get("code")))
    findings.append(judge_refusals(status.get("refusals")))
    return findings


def judge_attestors(attestors: object) -> Finding:
    """Who says that a job is the user's."""
    if not isinstance(attestors, Sequence) or isinstance(attestors, str):
        return unknown("attestation", "the gateway does not say how it attests", "upgrade the gateway")
    names = [str(name) for name in attestors]
    if not names or "none" in names:
        return warn(
            "attestation",
            "none: whoever holds a job's token first is taken for the job",
            "set the attestors to scheduler, and munge where the site has it (right as it is for hpcsec quickstart)",
        )
    return ok("attestation", ", ".join(names))


def judge_policy(policy: object) -> Finding:
    """Whether sessions can start by the access policy; it loads only when its own tests pass."""
    if not isinstance(policy, Mapping):
        return unknown("policy", "the gateway does not say what its access policy is", "upgrade the gateway")
    if policy.get("unsafe"):
        return warn(
            "policy",
            "none: sessions may read and write whatever their users may",
            "write a policy, and take unsafe_no_access_control out of the gateway's configuration",
        )
    file, error = policy.get("file"), str(policy.get("error") or "")
    if error or not policy.get("digest"):
        fix = f"hpcsec access check {file}; it is read anew when it changes"
        return bad("policy", f"no session starts: {error or 'it was not read yet'}", fix)
    return ok("policy", f"{file} loads and its tests pass: sha256 {policy['digest']}")


def judge_code(code: object) -> Finding:
    """Who may own the code that closes sessions in."""
    if not isinstance(code, Mapping):
        return unknown("code", "the gateway does not say who may own the nodes' code", "upgrade the gateway")
    if code.get("unsafe_any"):
        return warn(
            "code",
            "anybody's: a user who can change it on the nodes can take the sandbox away",
            "install it as root and take unsafe_user_owned_code out of the gateway's configuration (right as it is for "
            "hpcsec quickstart)",
        )
    owners = ", ".join(map(str, code.get("owners") or ()))
    return ok("code", f"root's, or that of uid {owners}: else no session starts" if owners else
              "root's, else no session starts")  # fmt: skip


def endpoints_of(status: Mapping[str, Any]) -> list[Endpoint]:
    """The announced endpoints; Malformed where one is not host:port."""
    return [Endpoint.parse(str(text)) for text in status.get("endpoints") or []]


def judge_descriptors(limits: str, open_now: int, sessions: int, idle_lanes: int) -> Finding:
    """``limits`` is the text of /proc/PID/limits of the gateway.

    An idle session holds its unix socket, its control connection and ``idle_lanes`` lanes dialled ahead.
    """
    found = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
    if found is None:
        return unknown(
            "descriptors", "the gateway's limit can't be read", "run the doctor as root or as the gateway's user"
        )
    limit = int(found.group(1))
    room = max(limit - open_now, 0) // (2 + idle_lanes)
    shown = f"{open_now} of {limit} open with {sessions} sessions; room for about {room} more idle ones"
    fix = "raise LimitNOFILE in the gateway's systemd unit and restart it; sessions survive that"
    if open_now > 0.9 * limit:
        return bad("descriptors", shown, fix)
    if room < max(sessions, 50):
        return warn("descriptors", shown, fix)
    return ok("descriptors", shown)


def judge_refusals(refusals: object) -> Finding:
    """What the gateway turned away since it started, by rule. Only one of them is a fault of the gateway's host."""
    counts = {str(rule): int(n) for rule, n in refusals.items()} if isinstance(refusals, Mapping) else {}
    if counts.get("port.no-descriptor"):
        fix = "raise LimitNOFILE in the gateway's systemd unit and restart it; sessions survive that"
        return bad("refusals", f"{counts['port.no-descriptor']} connections found no free descriptor", fix)
    most = sorted(counts.items(), key=lambda pair: -pair[1])[:5]
    return ok("refusals", ", ".join(f"{rule}: {n}" for rule, n in most) or "none since the gateway started")
