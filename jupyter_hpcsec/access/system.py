"""What software needs of a node, found by itself, and where a policy's paths lie there. It looks and changes nothing.

Nothing is granted because the environment names it: a job's variables may be the user's. The one exception is
``TMPDIR``, on conditions (``own_temporary``).
"""

import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jupyter_hpcsec
from jupyter_hpcsec.access import mounts
from jupyter_hpcsec.access.aliases import Aliases
from jupyter_hpcsec.access.mountinfo import SHARED, Mount, holder, parse, read
from jupyter_hpcsec.access.places import Finder, Kind, Place, State
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import Make, Resolved, Right, Root
from jupyter_hpcsec.errors import Unavailable

CHILDREN_LIMIT = 512
"""Entries of a directory that is given out entry by entry, because one of them is denied."""

SOFTWARE = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

LOADER_AND_NAMES = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "passwd", "group", "nsswitch.conf", "hosts",
    "hostname", "resolv.conf", "host.conf", "gai.conf", "services", "protocols", "networks", "localtime", "timezone",
    "os-release",
)  # fmt: skip
CERTIFICATES_AND_DEFAULTS = (
    "ssl", "pki", "ca-certificates", "crypto-policies", "fonts", "alternatives", "mime.types", "mailcap", "magic",
    "terminfo", "inputrc", "profile", "profile.d", "bash.bashrc", "bashrc", "bash_completion.d", "zsh", "zshenv",
    "zshrc", "shells", "gitconfig", "vim", "nanorc", "jupyter", "ipython", "matplotlibrc", "R", "julia", "OpenCL",
    "vulkan", "manpath.config", "pip.conf", "xdg", "locale.conf", "default/locale", "java-11-openjdk",
    "java-17-openjdk", "java-21-openjdk",
)  # fmt: skip
CONFIGURATION = tuple(f"/etc/{name}" for name in (*LOADER_AND_NAMES, *CERTIFICATES_AND_DEFAULTS))
"""What of ``/etc`` is seen. Not there on purpose: keys, munge, ssh, sudo, batch system, everything not listed."""

NAME_SERVICE = ("/var/lib/sss/mc", "/var/lib/sss/pipes/nss", "/run/nscd", "/run/nslcd", "/var/cache/fontconfig")
"""Where sssd, nscd and nslcd answer for users' names; the fonts' cache."""

KERNEL = ("/proc", "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup")

PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia-caps",
               "/dev/nvidia-caps-imex-channels", "/dev/dri", "/dev/kfd")  # fmt: skip
GPU_FACTS = ("/sys/devices", "/sys/bus/pci", "/sys/class/drm", "/sys/class/kfd", "/sys/module/nvidia",
             "/sys/module/nvidia_uvm", "/sys/module/amdgpu", "/run/nvidia-persistenced", "/run/hpcsec/gpu")  # fmt: skip

MADE_ANEW = ("/tmp", "/dev/shm")  # noqa: S108 - places that each session gets for itself
INSIDE = "/.hpcsec"
"""Where a session sees its private directory. No policy means it, none can grant or deny it."""

JOB_NUMBERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
_NUMBER = re.compile(r"[0-9]+")

SNAPSHOTS = (".snapshot", ".snapshots", ".zfs", ".snap")
"""NetApp, Isilon and VAST; GPFS and snapper; ZFS; CephFS."""

LINKS = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
         "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx"}  # fmt: skip


PYTHON = "system: the Python environment"
"""The origin of the roots that hold this Python, its environment and this package."""


@dataclass(frozen=True)
class System:
    """One node, as one account sees it at one time."""

    needed: tuple[Root, ...]
    vital: tuple[str, ...]
    """Resolved paths that a denial must not cover: the Python that starts the session, and what it loads."""
    places: Mapping[str, Place]
    """Every path of the policy's entries, resolved."""
    mounts: tuple[Mount, ...] = ()
    namespaces: bool = True
    """Whether this account can make a mount namespace."""
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What lies in the root directory and in those above denied paths, by all their names, symbolic links left out; too
    many entries: not given."""
    links: Mapping[str, str] = field(default_factory=lambda: dict(LINKS))
    snapshots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each denied place, the directories above it in which file systems show how it once was."""


def find(
    resolved: Resolved,
    environment: Mapping[str, str],
    *,
    runtime: Path | None,
    namespaces: bool | None = None,
    uid: int | None = None,
    mountinfo: str | None = None,
) -> System:
    """Look at this node for one session. ``runtime`` is its private directory; ``namespaces``: None for trying it.

    Takes as long as the file systems take: resolving a path on a server that is away waits for it.
    """
    uid = os.geteuid() if uid is None else uid
    finder = Finder(uid)
    wanted = [entry.path for entry in resolved.entries]
    for path in wanted:
        wake(path)
    table = parse(read() if mountinfo is None else mountinfo)
    places = {path: finder.find(path) for path in wanted}
    namespaces = not mounts.probe() if namespaces is None else namespaces
    own = own_temporary(environment, table, uid=uid, home=resolved.subject.home, ruled=wanted)
    owners = frozenset({0, *resolved.code.owners, Path(jupyter_hpcsec.__file__).stat().st_uid})
    needed, links = software(finder, runtime, owners=owners, temporary=own)
    if not namespaces and finder.find("/dev/ptmx").real == "/dev/ptmx":  # with them, it has terminals of its own
        needed += (Root(path="/dev/ptmx", right=Right.WRITE, origin="session: terminals", devices=True),)
    denied = [places[entry.path].real for entry in resolved.entries if entry.right is Right.NONE]
    others = Aliases(table)
    return System(
        needed=needed,
        vital=vital(finder, runtime),
        places=places,
        mounts=table,
        namespaces=namespaces,
        children=children([*denied, *(alias for path in denied for alias in others.of(path)), "/*"]),
        links={**LINKS, **links},
        snapshots={path: snapshots(path) for path in denied},
    )


def snapshots(path: str) -> tuple[str, ...]:
    """Where the state of a place at earlier times can be read, by another path than its own.

    Such directories are found by name alone: they are in no listing.
    """
    candidates = (f"{directory}/{name}" for directory in map(str, Path(path).parents) for name in SNAPSHOTS)
    return tuple(found for found in (path.replace("//", "/") for path in candidates) if _is_directory(found))


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def wake(path: str) -> None:
    """Have an automounter mount what lies at a path, before it is looked at."""
    try:
        os.stat(f"{path}/.")  # noqa: PTH116 - the dot is what triggers it, and pathlib takes it away
    except OSError:
        return


def software(
    finder: Finder, runtime: Path | None, *, owners: frozenset[int], temporary: str | None
) -> tuple[tuple[Root, ...], dict[str, str]]:
    """The roots that software needs and that are here, and the links on the way to them.

    A link is followed if it is one of ``owners``': root's, or of who owns this package. ``Unavailable`` where Python is
    reached by another one; anything else is left out. ``temporary`` is the job's own ``TMPDIR``.
    """
    gpus = [str(path) for path in Path("/dev").glob("nvidia[0-9]*")]
    gpus += [path for path in GPU_DEVICES if Path(path).exists()]
    wishes = [
        *(_Wish(path, "system: programs and libraries") for path in SOFTWARE),
        *(_Wish(path, PYTHON) for path in python_directories()),
        *(_Wish(path, "system: configuration") for path in CONFIGURATION),
        *(_Wish(path, "system: names of users, fonts") for path in NAME_SERVICE),
        *(_Wish(path, "system: kernel") for path in KERNEL),
        *(_Wish(path, "system: devices", Right.WRITE, devices=True) for path in PLAIN_DEVICES),
        *(_Wish(path, "system: GPU", Right.WRITE, devices=True) for path in gpus),
        *(_Wish(path, "system: GPU") for path in (GPU_FACTS if gpus else ())),
        *([_Wish(temporary, "session: TMPDIR", Right.WRITE)] if temporary else []),
    ]
    found: dict[str, Root] = {}
    links: dict[str, str] = {}
    for wish in wishes:
        place = finder.find(wish.path)
        if place.kind is Kind.NOTHING or place.state not in {State.THERE, State.UNTRUSTED}:
            continue
        foreign = next((link for link, _ in place.links if finder.owner(link) not in owners), None)
        if foreign is not None:
            if wish.origin != PYTHON:
                continue
            raise Unavailable(
                f"The Python of this session, {wish.path}, is reached by a symbolic link ({foreign}) of uid "
                f"{finder.owner(foreign)}, who is neither root nor the owner of jupyter-hpcsec on this node."
            )
        links.update(place.links)
        if place.real not in found or (found[place.real].right, wish.right) == (Right.READ, Right.WRITE):
            root = Root(path=place.real, right=wish.right, origin=wish.origin, devices=wish.devices)
            found[place.real] = root
    if runtime is not None:
        own_directory = _own_directory(runtime)
        found[own_directory.path] = own_directory
        if own_directory.source:
            links[own_directory.source] = own_directory.path
    return (*found.values(), *made(runtime)), links


def _own_directory(runtime: Path) -> Root:
    """The session's private directory. Where it lies in what the session gets anew, it moves out of it.

    Its old path leads there by a link. So everything else may be written, and it may be closed to what a kernel runs:
    Landlock can only close what does not lie in an open directory.
    """
    path = os.path.realpath(runtime)
    moves = str(Path(path).parent) in {os.path.realpath(place) for place in MADE_ANEW}
    return Root(
        path=INSIDE if moves else path,
        right=Right.WRITE,
        origin="session: sockets and runtime files",
        source=path if moves else "",
    )


@dataclass(frozen=True)
class _Wish:
    path: str
    origin: str
    right: Right = Right.READ
    devices: bool = False


def made(runtime: Path | None) -> tuple[Root, ...]:
    """What a session gets of its own instead of the node's."""
    pts = Root(path="/dev/pts", right=Right.WRITE, origin="session: terminals", make=Make.TERMINALS, devices=True)
    shm = Root(path="/dev/shm", right=Right.WRITE, origin="session: shared memory", make=Make.MEMORY)  # noqa: S108
    if runtime is None:
        tmp = Root(path="/tmp", right=Right.WRITE, origin="session: temporary files", make=Make.MEMORY)  # noqa: S108
    else:
        tmp = Root(
            path="/tmp",  # noqa: S108 - one of its own: a directory inside the session's
            right=Right.WRITE,
            origin="session: temporary files",
            source=str(runtime / "t"),
        )
    return pts, shm, tmp


def python_directories() -> tuple[str, ...]:
    """This Python, its environment and this package, wherever they are installed."""
    package = Path(jupyter_hpcsec.__file__).parent
    directories = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, str(package)]
    # A prefix of / or /usr says nothing that SOFTWARE does not say
    return tuple(dict.fromkeys(path for path in directories if path != "/"))


def vital(finder: Finder, runtime: Path | None) -> tuple[str, ...]:
    """What the session can't start without, resolved."""
    paths = [sys.executable, os.__file__, jupyter_hpcsec.__file__, "/proc", "/dev/null", "/usr/bin/env"]
    paths += ["/etc/ld.so.cache", "/etc/passwd", *([str(runtime)] if runtime else [])]
    return tuple(finder.find(path).real for path in paths)


def own_temporary(
    environment: Mapping[str, str], table: tuple[Mount, ...], *, uid: int, home: str, ruled: Iterable[str] = ()
) -> str | None:
    """The job's own ``TMPDIR``: named after the job, the user's, closed to writing by others, and of this node alone.

    A variable can name any place; what is not made for this job, or what a rule speaks of (``ruled``), is for the
    policy to grant.
    """
    value = environment.get("TMPDIR", "")
    numbers = {environment.get(name, "").partition(".")[0] for name in JOB_NUMBERS} & set(_NUMBER.findall(value))
    if not value.startswith("/") or ".." in value.split("/") or not numbers:
        return None
    real = os.path.realpath(value)
    try:
        found = os.lstat(real)
    except OSError:
        return None
    closed = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    on = holder(real, table)
    local = on is not None and on.kind not in SHARED
    named = numbers & set(_NUMBER.findall(real))  # where a link of the user's leads says the number, too
    apart = not any(is_below(real, place) or is_below(place, real) for place in map(os.path.realpath, (home, *ruled)))
    return real if closed and found.st_uid == uid and local and named and apart else None


def children(denied: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What lies beside denied paths and beside each directory above them, for roots that have to leave them out."""
    found: dict[str, tuple[str, ...]] = {}
    for path in denied:
        for directory in map(str, Path(path).parents):
            if directory not in found and (names := _listed(directory)) is not None:
                found[directory] = names
    return found


def _listed(directory: str) -> tuple[str, ...] | None:
    names: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                names.append(entry.name)
                if len(names) > CHILDREN_LIMIT:
                    return None
    except OSError:
        return None
    return tuple(sorted(names))
