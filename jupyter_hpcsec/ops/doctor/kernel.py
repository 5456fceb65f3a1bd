"""Checks of what the kernel offers to confine sessions.

On a node, what keeps a session to its policy is needed: without it no session starts (``access.sandbox``). What some
policies can do without is yellow where it is missing.
"""

import re
from pathlib import Path

from jupyter_hpcsec.access.landlock import NO_TCP_BIND
from jupyter_hpcsec.access.policy import Policy
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.world import World

WANTED_ABI = Policy.minimum_abi
"""What a policy asks for that does not say."""


def examine(world: World, *, node: bool, in_session: bool = False) -> list[Finding]:
    """Landlock, seccomp, ptrace, user namespaces, cgroups and /proc of this host; ``node`` where sessions run.

    ``in_session``: from inside a sandbox, where nobody gets a namespace.
    """
    needed = [
        judge_landlock(world.landlock_abi()),
        judge_seccomp(_read(world, "/proc/sys/kernel/seccomp/actions_avail")),
        judge_ptrace(_read(world, "/proc/sys/kernel/yama/ptrace_scope")),
    ]
    if not in_session:
        needed.append(judge_namespaces(world.why_no_namespaces()))
    return [
        *(needed if node else []),
        judge_cgroup(unified=world.stat(Path("/sys/fs/cgroup/cgroup.controllers")) is not None),
        judge_proc(world.read(Path("/proc/mounts"))),
    ]


def _read(world: World, path: str) -> str:
    try:
        return world.read(Path(path)).strip()
    except FileNotFoundError:
        return ""


def judge_landlock(abi: int) -> Finding:
    """``abi`` is 0 where there is none. Each session tries the rules from inside before its server starts."""
    needs = NO_TCP_BIND.needs
    if abi < needs.version:
        fix = f"use Linux {needs.linux} or a distribution's backport, started with landlock in its lsm= list"
        return bad("landlock", f"{f'ABI {abi}' if abi else 'none'}: sessions do not start here", fix)
    if abi < WANTED_ABI:
        fix = f"lower minimum_abi in the policy, or use a kernel with ABI {WANTED_ABI} (Linux 6.12)"
        return warn(
            "landlock",
            f"ABI {abi}: policies ask for {WANTED_ABI} unless they say otherwise; below it signals and abstract "
            "sockets reach the user's other processes",
            fix,
        )
    return ok("landlock", f"ABI {abi}")


def judge_seccomp(actions: str) -> Finding:
    """The filter refuses by ``errno`` and asks the guard by ``user_notif`` (seccomp(2))."""
    if not {"errno", "user_notif"} <= set(actions.split()):
        return bad("seccomp", "no filters with notification: sessions do not start here", "use Linux 5.9 or newer")
    return ok("seccomp", "filters with notification")


def judge_ptrace(scope: str) -> Finding:
    """The listen guard looks into its own descendants; ``scope`` is Yama's (0 to 3), empty without Yama."""
    if scope in {"2", "3"}:
        fix = "sysctl kernel.yama.ptrace_scope=1"
        return bad("ptrace", f"kernel.yama.ptrace_scope is {scope}: sessions do not start here", fix)
    if scope not in {"", "0", "1"}:
        return unknown("ptrace", "kernel.yama.ptrace_scope can't be read", "see that it is 0 or 1")
    return ok("ptrace", f"kernel.yama.ptrace_scope is {scope}" if scope else "Yama is not used")


def judge_namespaces(why_not: str) -> Finding:
    """Tried, not read from a setting: several settings can forbid it. The new mount calls are tried with them."""
    if not why_not:
        return ok("user namespaces", "sessions get a root directory of their own")
    fix = (
        "see user.max_user_namespaces, kernel.unprivileged_userns_clone and "
        "kernel.apparmor_restrict_unprivileged_userns, or let a root prolog prepare the masks"
    )
    return warn(
        "user namespaces",
        f"none ({why_not}): no session starts whose policy denies something inside what it lets the user write",
        fix,
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
