"""Which protections are on and off in the quickstart, as sentences: people and ``--check --json`` get the same."""

from dataclasses import dataclass


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
    Protection("file-policy", False, "no policy of files yet: a notebook may read and write what its user may"),
    Protection("audit", False, "no audit trail yet"),
)

LOCAL_ONLY = (
    Protection(
        "durable-state", False, "keys, sessions and your files are in a temporary directory, removed at the end"
    ),
    Protection(
        "attestation", False, "no batch system vouches for the job: whoever holds its token could enrol in its place"
    ),
    Protection(
        "separate-users", False, "single user: hub, gateway and notebook run as you, and can touch each other's files"
    ),
    Protection("separate-machines", False, "hub host and compute node are this one computer"),
)

CLUSTER_ONLY = (
    Protection("durable-state", False, "keys and sessions are in a temporary directory, removed at the end"),
    Protection("unprivileged", False, "hub and gateway run as root, to start jobs as their users"),
    Protection("attestation", True, "Slurm and MUNGE vouch for user, node and key of each job that enrols"),
    Protection("separate-users", True, "the job runs as the user who asked for it, hub and gateway do not"),
    Protection("separate-machines", False, "the nodes are namespaces of this one computer, with its kernel"),
)


AS_ROOT = Protection("unprivileged", False, "you are root, and so is your notebook: try it as an ordinary user")
AS_USER = Protection("unprivileged", True, "nothing runs as root")


def protections(*, slurm: bool, root: bool) -> tuple[Protection, ...]:
    """All of them, those that are on first. ``root``: whether the quickstart itself runs as root."""
    site = CLUSTER_ONLY if slurm else (*LOCAL_ONLY, AS_ROOT if root else AS_USER)
    found = ALWAYS_ON + NEVER_ON + site
    return tuple(sorted(found, key=lambda protection: not protection.is_on))


def as_lines(found: tuple[Protection, ...]) -> list[str]:
    """For a person."""
    return [f"  {'on ' if one.is_on else 'OFF'}  {one.name:<18} {one.text}" for one in found]


def as_facts(found: tuple[Protection, ...]) -> dict[str, dict[str, str]]:
    """For a program: ``{"on": {name: text}, "off": {name: text}}``."""
    return {
        "on": {one.name: one.text for one in found if one.is_on},
        "off": {one.name: one.text for one in found if not one.is_on},
    }
