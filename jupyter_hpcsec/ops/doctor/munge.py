"""Checks of MUNGE on this host: present, its version, its key, and a credential that goes round."""

import re
from pathlib import Path

from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import FileFact, Ran, World

KEY = Path("/etc/munge/munge.key")
_FIXED = (0, 5, 18)
_CVE = "CVE-2026-25506"
"""A buffer overflow in munged by which a local user can get at the key, and so forge anyone's credentials."""


def examine(world: World, *, needed: bool) -> list[Finding]:
    """All checks; ``needed`` says that the gateway attests by munge, so that its absence is a fault."""
    version = world.run(["munge", "--version"])
    if version is None:
        return [judge_absent(needed=needed)]
    findings = [judge_version(version.out or version.err, _package_changes(world))]
    try:
        findings.append(judge_key(world.stat(KEY), world))
    except PermissionError:
        findings.append(
            unknown("munge", f"{KEY} can't be looked at by this user", "run the doctor as root to check its mode")
        )
    findings.append(judge_round_trip(*_round_trip(world)))
    return findings


def _package_changes(world: World) -> str:
    """What the distribution's package says of its changes; empty where it can't be asked."""
    for argv in (["rpm", "-q", "--changelog", "munge"], ["zcat", "/usr/share/doc/munge/changelog.Debian.gz"]):
        ran = world.run(argv)
        if ran is not None and ran.rc == 0:
            return ran.out
    return ""


def _round_trip(world: World) -> tuple[Ran | None, Ran | None]:
    made = world.run(["munge", "-n"])
    return made, world.run(["unmunge"], stdin=made.out) if made is not None and made.rc == 0 else None


def judge_absent(*, needed: bool) -> Finding:
    """No munge command."""
    if needed:
        return bad("munge", "not found, and the gateway attests by it", "install munge and the site's key")
    return ok("munge", "not found, and not used by this gateway")


def judge_version(text: str, changes: str) -> Finding:
    """``munge --version`` prints ``munge-0.5.15 (2022-06-22)``. Distributions mend without a new number."""
    found = re.search(r"munge-(\d{1,4})\.(\d{1,4})\.(\d{1,4})", text)
    if found is None:
        return unknown("munge", "its version can't be read", f"see that it is 0.5.18 or newer: older ones have {_CVE}")
    shown = ".".join(found.groups())
    if tuple(int(number) for number in found.groups()) >= _FIXED:
        return ok("munge", shown)
    if _CVE in changes:
        return ok("munge", f"{shown}, with {_CVE} mended by the distribution")
    return bad(
        "munge",
        f"{shown} has {_CVE}: a local user can read the key and forge any user's credentials",
        "install 0.5.18 or your distribution's mended package, then make a new key on all hosts",
    )


def judge_key(fact: FileFact | None, world: World) -> Finding:
    """The key: for its owner's eyes only, and the owner munged's user (or root)."""
    if fact is None:
        return bad("munge", f"{KEY} is missing", "put the site's munge key there, 0400, owned by munge")
    owner = world.user_name(fact.uid)
    if fact.mode & 0o077:
        return bad("munge", f"{KEY} has mode {fact.mode:04o}", f"chmod 0400 {KEY}; then make a new key on all hosts")
    if owner not in {"munge", "root"}:
        return bad("munge", f"{KEY} belongs to {owner}", f"chown munge {KEY}")
    return ok("munge", f"key of mode {fact.mode:04o}, owned by {owner}")


def judge_round_trip(made: Ran | None, read: Ran | None) -> Finding:
    """``munge -n | unmunge`` on this host; munged answers both."""
    fix = "start munged (systemctl start munge) and look at its log"
    if made is None or made.rc != 0:
        return bad("munge", f"no credential could be made: {_why(made)}", fix)
    if read is None:
        return warn("munge", "a credential could be made, but there is no unmunge here", "install munge's own tools")
    if read.rc != 0 or "Success (0)" not in read.out:
        return bad("munge", f"a fresh credential is not accepted: {_why(read)}", fix)
    return ok("munge", "a credential goes round on this host")


def _why(ran: Ran | None) -> str:
    if ran is None:
        return "no such command"
    said = (ran.err or ran.out).strip().splitlines()
    return said[0][:160] if said else f"exit status {ran.rc}"
