"""Which protections are on and off in the quickstart, as sentences: people and ``--check --json`` get the same."""

import os
from dataclasses import dataclass

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.mounts import probe
from jupyter_hpcsec.ops.demo_policy import WANTED_ABI


@dataclass(frozen=True)
class Protection:
    """``name`` is stable; ``text`` says what it means for the person."""

    name: str
    is_on: bool
    text: str


ALWAYS_ON = (
    Protection("tunnel", True, "the job dials out over TLS 1.3 to a pinned gateway; no port of the node is used"),
    Protection(
        "no-listeners", True, "the kernel refuses your notebook's processes any listening socket (Landlock, seccomp)"
    ),
    Protection(
        "file-policy",
        True,
        "the kernel lets your notebook write its home, read installed software, and open no other file (Landlock)",
    ),
    Protection("connections", True, "your notebook may connect to TCP ports 80 and 443, and nowhere else"),
    Protection("job-token", True, "the job's token is good for one enrolment, and never on a command line"),
    Protection(
        "certificates", True, "each job has its own short-lived certificate, cut off within a second when it ends"
    ),
    Protection("hub-api", True, "your session reaches the few Hub API paths that it needs, through the tunnel only"),
    Protection("one-time-login", True, "each login link is good once, for one user"),
    Protection("loopback", True, "hub and proxy listen on this computer only (127.0.0.1)"),
)

NEVER_ON = (
    Protection("browser-tls", False, "no TLS between browser and proxy: fine on this computer, not beyond it"),
    Protection(
        "audit",
        False,
        "the record is a temporary one, removed at the end, and its second place is on the same disk",
    ),
)

LOCAL_ONLY = (
    Protection(
        "durable-state", False, "keys, sessions and your files are in a temporary directory, removed at the end"
    ),
    Protection(
        "attestation", False, "no batch system vouches for the job: whoever holds its token could enrol in its place"
    ),
    Protection(
        "separate-users",
        False,
        "single user: hub, gateway and notebook run as you; the sandbox alone keeps the notebook from the others",
    ),
    Protection(
        "root-owned-code",
        False,
        "the code that closes your notebook in may be your own to change (unsafe_user_owned_code): on a cluster it is "
        "root's, or no session starts",
    ),
    Protection("separate-machines", False, "hub host and compute node are this one computer"),
)

CLUSTER_ONLY = (
    Protection("durable-state", False, "keys and sessions are in a temporary directory, removed at the end"),
    Protection("unprivileged", False, "hub and gateway run as root, to start jobs as their users"),
    Protection("attestation", True, "Slurm and MUNGE vouch for user, node and key of each job that enrols"),
    Protection("separate-users", True, "the job runs as the user who asked for it, hub and gateway do not"),
    Protection("root-owned-code", True, "the job's user can't change the code that closes the notebook in"),
    Protection("separate-machines", False, "the nodes are namespaces of this one computer, with its kernel"),
)


AS_ROOT = Protection("unprivileged", False, "you are root, and so is your notebook: try it as an ordinary user")
AS_USER = Protection("unprivileged", True, "nothing runs as root")


OWN_ROOT = Protection("own-root", True, "files that no rule names are not even there (mount namespace)")
NODES_ROOT = Protection(
    "own-root", False, "this computer gives you no user namespaces: your notebook sees the names of files it can't open"
)
SCOPED = Protection("signals", True, "your notebook can't signal processes outside of it (Landlock)")
UNSCOPED = Protection(
    "signals", False, "this kernel is older than Linux 6.12: your notebook can signal your other processes"
)


def protections(*, slurm: bool, root: bool, namespaces: bool, abi: int) -> tuple[Protection, ...]:
    """All of them, those that are on first. ``root``: whether the quickstart itself runs as root. ``namespaces`` and
    ``abi`` (of Landlock) are what this computer has.
    """
    site = CLUSTER_ONLY if slurm else (*LOCAL_ONLY, AS_ROOT if root else AS_USER)
    here = (OWN_ROOT if namespaces else NODES_ROOT, SCOPED if abi >= WANTED_ABI else UNSCOPED)
    found = ALWAYS_ON + NEVER_ON + here + site
    return tuple(sorted(found, key=lambda protection: not protection.is_on))


def protections_here(*, slurm: bool) -> tuple[Protection, ...]:
    """Those of a quickstart by this user on this computer."""
    return protections(slurm=slurm, root=os.geteuid() == 0, namespaces=not probe(), abi=landlock.abi())


def as_lines(found: tuple[Protection, ...]) -> list[str]:
    """For a person."""
    return [f"  {'on ' if one.is_on else 'OFF'}  {one.name:<18} {one.text}" for one in found]


def as_facts(found: tuple[Protection, ...]) -> dict[str, dict[str, str]]:
    """For a program: ``{"on": {name: text}, "off": {name: text}}``."""
    return {
        "on": {one.name: one.text for one in found if one.is_on},
        "off": {one.name: one.text for one in found if not one.is_on},
    }
