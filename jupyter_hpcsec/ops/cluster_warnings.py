"""What works on the development cluster and yet protects less than it should; ``status`` shows it. Reads only."""

import gzip
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.ops import cluster_system as system
from jupyter_hpcsec.ops.cluster_plan import Cgroup, Plan, upstream_version

MUNGE_FIXED = (0, 5, 18)
MUNGE_CVE = "CVE-2026-25506"
MUNGE_CHANGES = Path("/usr/share/doc/munge/changelog.Debian.gz")


@dataclass(frozen=True)
class Weakness:
    """One line of ``status``: what is weak and what to do."""

    name: str
    detail: str
    fix: str


def munge_warning(version_words: str, changes: str) -> Weakness | None:
    """``munged --version`` and the distribution's list of changes -> a warning, or None where the hole is closed.

    Distributions close holes without taking upstream's new version: Debian 12's 0.5.15-2+deb12u1 has the fix.
    """
    version = upstream_version(version_words)
    if version >= MUNGE_FIXED or MUNGE_CVE in changes:
        return None
    known = ".".join(map(str, version)) or "of unknown version"
    return Weakness("munge version", f"munge {known} has {MUNGE_CVE}", "apt-get install --only-upgrade munge")


def warnings(plan: Plan) -> list[Weakness]:
    """All that apply to this machine now."""
    found = []
    if plan.settings.cgroup is Cgroup.NONE:
        detail = "no usable cgroup: a process that leaves its session outlives its job, and memory limits are off"
        found.append(Weakness("process tracking", detail, "mount cgroups on /sys/fs/cgroup, then hpcsec cluster up"))
    version = system.run(["munged", "--version"], check=False).stdout if system.has_command("munged") else ""
    changes = ""
    if MUNGE_CHANGES.exists():
        with gzip.open(MUNGE_CHANGES, "rt", encoding="utf-8", errors="replace") as text:
            changes = text.read()
    munge = munge_warning(version, changes) if version else None
    return [*found, *([munge] if munge else [])]
