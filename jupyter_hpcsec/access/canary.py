"""Tries from inside what the sandbox has to refuse and what it has to leave, after it is on. It repairs nothing.

An attempt that could not be made is never called protected: it says what it is.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import Bind, Mask, Plan, Right, Root
from jupyter_hpcsec.errors import Unavailable

SHOWN_LIMIT = 16
"""File systems that get a line of their own in the receipt; all are tried."""

TRIED_LIMIT = 64
"""Entries of a directory that are looked at for one inside it."""

REFUSED, ALLOWED = "refused", "allowed"


def outcomes(found: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    """``found`` as it is, or ``Unavailable`` for the first that is not as expected."""
    for name, outcome in expected.items():
        if found[name] not in {outcome, "unsupported"}:
            raise Unavailable(f"The sandbox does not hold here: {name} was {found[name]}, not {outcome}.{_hint(name)}")
    return found


def _hint(name: str) -> str:
    if name == "unix-listen":
        return " The agent could not look into its own child: set kernel.yama.ptrace_scope to 0 or 1 on the node."
    return ""


def try_sockets(bind: Bind) -> dict[str, str]:
    """Each way to a listener, and what has to work beside."""
    none, udp = bind in {Bind.NONE, Bind.UNSAFE_UDP}, bind is not Bind.NONE
    expected = {
        "tcp-bind": REFUSED if none else ALLOWED,
        "tcp-listen": REFUSED if none else ALLOWED,
        "tcp6-listen": REFUSED if none else ALLOWED,
        "udp-socket": ALLOWED if udp else REFUSED,
        "vsock": REFUSED,
        "unix-listen": ALLOWED,
    }
    found = {
        "tcp-bind": _try(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 0)),
        "tcp-listen": _try(socket.AF_INET, socket.SOCK_STREAM, listen=True),
        "tcp6-listen": _try(socket.AF_INET6, socket.SOCK_STREAM, listen=True),
        "udp-socket": _try(socket.AF_INET, socket.SOCK_DGRAM),
        "vsock": REFUSED if _try(socket.AF_VSOCK, socket.SOCK_STREAM) == "unsupported" else ALLOWED,
        "unix-listen": _try(socket.AF_UNIX, socket.SOCK_STREAM, bind="", listen=True),  # the kernel picks a name
    }
    return outcomes(found, expected)


def _try(family: int, kind: int, *, bind: tuple[str, int] | str | None = None, listen: bool = False) -> str:
    try:
        with socket.socket(family, kind) as tried:
            if bind is not None:
                tried.bind(bind)
            if listen:
                tried.listen(1)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.ENOSYS}:
            return REFUSED
        if error.errno == errno.EAFNOSUPPORT:  # a kernel without IPv6
            return "unsupported"
        return f"neither refused nor allowed ({error.strerror})"
    return ALLOWED


@dataclass
class _FileSystem:
    """One file system that the policy names: a root on it, and, where there is one, a place on it that is not given."""

    root: Root
    before: str
    outside: int | None


class FileCanary:
    """Made before the sandbox is on, while the places outside can still be opened; asked after."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept: list[_FileSystem] = []
        self._roots = [root.path for root in plan.roots]
        seen: set[int] = set()
        for root in plan.roots:
            device = _device(root.path)
            if root.origin.startswith("rule") and device is not None and device not in seen:
                seen.add(device)
                self._kept.append(_FileSystem(root, read(root.path), _outside(root.path, device, self._roots)))

    def copy(self, clone: Callable[[int], int]) -> None:
        """Where a whole file system is given, keep a copy of a mount of something in it: that copy is not given.

        Landlock looks at each mount by itself. ``clone`` copies one (``mounts.clone``).
        """
        for kept in self._kept:
            if kept.outside is None:
                kept.outside = _copied(kept.root.path, self._roots, clone)

    def check(self) -> dict[str, str]:
        """Every configured file system and every mask; ``Unavailable`` if one is not as planned."""
        found, expected = dict(self._masks()), dict.fromkeys((f"mask {m.path}" for m in self._plan.masks), REFUSED)
        for kept in self._kept:
            name = f"files {kept.root.path}"
            found[name], expected[name] = read(kept.root.path), kept.before
            if kept.outside is not None:
                name = f"files outside {kept.root.path}"
                found[name], expected[name] = read(".", kept.outside), REFUSED
                os.close(kept.outside)
            if kept.root.right is Right.READ and self._plan.namespaces:
                name = f"writing {kept.root.path}"
                found[name], expected[name] = write(kept.root.path), REFUSED
        outcomes(found, expected)
        return dict(self._summary())

    def _masks(self) -> Iterable[tuple[str, str]]:
        for masked in self._plan.masks:
            tried = read(masked.path) if masked.mask is Mask.HIDDEN else write(masked.path)
            yield f"mask {masked.path}", tried

    def _summary(self) -> Iterable[tuple[str, str]]:
        for kept in self._kept[:SHOWN_LIMIT]:
            denied = "one outside denied" if kept.outside is not None else "none outside of it to try"
            read_as = "allowed" if kept.before == ALLOWED else f"{kept.before}, as without a sandbox"
            yield f"canary.files {kept.root.path}"[:200], f"a read {read_as}, {denied}"
        if len(self._kept) > SHOWN_LIMIT:
            yield "canary.files", f"{len(self._kept) - SHOWN_LIMIT} more file systems, all as planned"
        if self._plan.masks:
            hidden = sum(masked.mask is Mask.HIDDEN for masked in self._plan.masks)
            yield "canary.masks", f"{hidden} hidden, {len(self._plan.masks) - hidden} read-only: all hold"


def read(path: str, directory: int | None = None) -> str:
    """What reading gives, of a directory or of a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        return REFUSED if error.errno == errno.EACCES else f"neither refused nor allowed ({error.strerror})"
    os.close(descriptor)
    return ALLOWED


def write(path: str) -> str:
    """Whether a place could be written to; nothing is written."""
    return ALLOWED if os.access(path, os.W_OK) else REFUSED


def _device(path: str) -> int | None:
    try:
        return Path(path).stat().st_dev
    except OSError:
        return None


def _outside(path: str, device: int, roots: list[str]) -> int | None:
    """A directory on the same file system that is not in any root and can be read now."""
    at = path
    while at != "/":
        at = at.rpartition("/")[0] or "/"
        if any(is_below(at, root) for root in roots) or _device(at) != device:
            return None
        descriptor = os.open(at, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if read(".", descriptor) == ALLOWED:
            return descriptor
        os.close(descriptor)
    return None


def _copied(path: str, roots: list[str], clone: Callable[[int], int]) -> int | None:
    """A copy of the mount at some directory inside a root that is all of its file system."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry, _ in zip(entries, range(TRIED_LIMIT), strict=False) if _is_directory(entry)]
    except OSError:
        return None
    for name in names:
        inner = f"{path.rstrip('/')}/{name}"
        if inner in roots or read(inner) != ALLOWED:
            continue
        at = os.open(inner, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return clone(at)
        finally:
            os.close(at)
    return None


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)
