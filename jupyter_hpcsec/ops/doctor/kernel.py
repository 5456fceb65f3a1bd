"""Checks of what the kernel offers to confine sessions. This version confines none of them, so nothing here is red."""

import re
from pathlib import Path

from jupyter_hpcsec.ops.doctor.finding import Finding, ok, warn
from jupyter_hpcsec.ops.doctor.world import World

_LATER = "not used by this version; the access control that is planned needs it"


def examine(world: World) -> list[Finding]:
    """Landlock, seccomp, user namespaces, cgroups and /proc of this host."""
    return [
        judge_landlock(world.landlock_abi()),
        judge_seccomp(_read(world, "/proc/sys/kernel/seccomp/actions_avail")),
        judge_namespaces(_works(world), _read(world, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns")),
        judge_cgroup(unified=world.stat(Path("/sys/fs/cgroup/cgroup.controllers")) is not None),
        judge_proc(world.read(Path("/proc/mounts"))),
    ]


def _read(world: World, path: str) -> str:
    try:
        return world.read(Path(path)).strip()
    except FileNotFoundError:
        return ""


def _works(world: World) -> bool:
    ran = world.run(["unshare", "--user", "true"])
    return ran is not None and ran.rc == 0


def judge_landlock(abi: int | None) -> Finding:
    """The number is what the kernel says; only a trial shows what a file system does with it."""
    if abi is None:
        return warn("landlock", f"none ({_LATER})", "boot a kernel from 5.13 on with landlock in the lsm= list")
    return ok("landlock", f"ABI {abi} ({_LATER})")


def judge_seccomp(actions: str) -> Finding:
    """Filters need at least the actions that deny."""
    if "errno" not in actions.split():
        return warn("seccomp", f"no filters ({_LATER})", "boot a kernel with CONFIG_SECCOMP_FILTER")
    return ok("seccomp", f"filters ({_LATER})")


def judge_namespaces(works: bool, apparmor: str) -> Finding:
    """Tried, not read from a setting: several settings can forbid it."""
    if works:
        return ok("user namespaces", f"this user may make them ({_LATER})")
    why = "AppArmor restricts them" if apparmor == "1" else "this user can't make them"
    return warn(
        "user namespaces", f"{why} ({_LATER})", "see user.max_user_namespaces and kernel.unprivileged_userns_clone"
    )


def judge_cgroup(*, unified: bool) -> Finding:
    """Version 2 (unified) or the older ones."""
    return ok("cgroup", "version 2" if unified else "version 1 or hybrid")


def judge_proc(mounts: str) -> Finding:
    """hidepid hides other users' processes, and what stands on their command lines (proc(5))."""
    options = re.search(r"^\S+ /proc proc (\S+)", mounts, re.MULTILINE)
    hidden = re.search(r"hidepid=(1|2|4|noaccess|invisible|ptraceable)", options.group(1)) if options else None
    if hidden is None:
        return warn("/proc", "users see each other's processes", "mount /proc with hidepid=invisible on nodes and hub")
    return ok("/proc", f"mounted with {hidden.group()}")
