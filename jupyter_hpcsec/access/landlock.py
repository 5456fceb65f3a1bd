"""Landlock in ctypes: rules as values, applied to the calling thread for good.

It decides nothing (which rules a session gets is ``sandbox``'s business) and fails closed: rules that this kernel
can't hold raise ``Unavailable``, they are never thinned out in silence. Rules can't be taken back, and every layer
only narrows. A rule is about the very file that lies at its path now.

Source: Linux ``include/uapi/linux/landlock.h``, landlock(7), and Documentation/userspace-api/landlock.rst.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from jupyter_hpcsec.access.prctl import SET_NO_NEW_PRIVS, prctl
from jupyter_hpcsec.access.syscalls import open_place
from jupyter_hpcsec.access.syscalls import system as _syscall
from jupyter_hpcsec.errors import Unavailable

SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446  # one number on every architecture
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH, RULE_NET_PORT = 1, 2


class Net(IntFlag):
    """Rights on TCP ports (``LANDLOCK_ACCESS_NET_*``). MPTCP, SCTP, UDP and listening unbound are not covered."""

    BIND_TCP = 1
    CONNECT_TCP = 2


class Fs(IntFlag):
    """Rights on files (``LANDLOCK_ACCESS_FS_*``). Mode, owner, times and attributes are not covered, nor is stat."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


class Scope(IntFlag):
    """What ends at the layer's edge (``LANDLOCK_SCOPE_*``)."""

    ABSTRACT_UNIX_SOCKET = 1
    SIGNAL = 2


NOTHING = Net(0)
NO_FILES = Fs(0)
NO_SCOPE = Scope(0)
FIRST_FS = Fs((1 << 13) - 1)
FILE_RIGHTS = Fs.EXECUTE | Fs.WRITE_FILE | Fs.READ_FILE | Fs.TRUNCATE | Fs.IOCTL_DEV
"""What a rule on something that is no directory may name."""

READ = Fs.EXECUTE | Fs.READ_FILE | Fs.READ_DIR
WRITE = (READ | Fs.WRITE_FILE | Fs.REMOVE_DIR | Fs.REMOVE_FILE | Fs.MAKE_DIR | Fs.MAKE_REG | Fs.MAKE_SOCK | Fs.MAKE_FIFO
         | Fs.MAKE_SYM | Fs.REFER | Fs.TRUNCATE)  # fmt: skip
"""Everything but making devices."""


@dataclass(frozen=True)
class Abi:
    """What one version of the kernel's interface added, and the Linux that brought it."""

    version: int
    linux: str
    net: Net = NOTHING
    files: Fs = NO_FILES
    scopes: Scope = NO_SCOPE


ABIS = (
    Abi(1, "5.13", files=FIRST_FS),
    Abi(2, "5.19", files=Fs.REFER),
    Abi(3, "6.2", files=Fs.TRUNCATE),
    Abi(4, "6.7", net=Net.BIND_TCP | Net.CONNECT_TCP),
    Abi(5, "6.10", files=Fs.IOCTL_DEV),
    Abi(6, "6.12", scopes=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL),
    Abi(7, "6.15"),
)
"""Distributions carry later versions in earlier kernels (RHEL 9.6 has 5 on Linux 5.14): the number is asked for."""


def known(version: int) -> Abi:
    """Everything that a kernel offering ``version`` can hold, in one row."""
    files, net, scopes = NO_FILES, NOTHING, NO_SCOPE
    for row in ABIS[:version]:
        files, net, scopes = files | row.files, net | row.net, scopes | row.scopes
    return Abi(version, ABIS[min(version, len(ABIS)) - 1].linux if version else "", net, files, scopes)


@dataclass(frozen=True)
class Ports:
    """Rights that stay allowed on one TCP port."""

    port: int
    allowed: Net

    def __str__(self) -> str:
        return f"{_names(self.allowed)} on port {self.port}"


@dataclass(frozen=True)
class Below:
    """Rights that stay allowed on a file, or on a directory and everything in it. The path has no symbolic link."""

    path: str
    allowed: Fs

    def __str__(self) -> str:
        return f"{_file_names(self.allowed)} below {self.path}"


@dataclass(frozen=True)
class Ruleset:
    """One layer: each right in ``denied`` is refused on every port, except where ``exceptions`` allow it.

    Likewise ``files`` everywhere but where ``below`` allows it. ``scopes``: what does not leave the layer.
    """

    denied: Net = NOTHING
    exceptions: tuple[Ports, ...] = ()
    files: Fs = NO_FILES
    below: tuple[Below, ...] = ()
    scopes: Scope = NO_SCOPE

    def __str__(self) -> str:
        parts = []
        if self.denied:
            parts.append(f"no {_names(self.denied)}" + _but(self.exceptions))
        if self.files:
            parts.append(f"no {_file_names(self.files)}" + _but(self.below))
        if self.scopes:
            parts.append(f"no {' or '.join(_words(self.scopes))} to the outside")
        return f"landlock: {'; '.join(parts)}"

    @property
    def needs(self) -> Abi:
        """The first version of the interface that knows every right named here."""
        for row in ABIS:
            offers = known(row.version)
            if not (self.denied & ~offers.net or self.files & ~offers.files or self.scopes & ~offers.scopes):
                return row
        raise AssertionError("BUG: a right that no version in ABIS knows")


NO_TCP_BIND = Ruleset(denied=Net.BIND_TCP)


def abi() -> int:
    """The version of Landlock that this kernel offers; 0 when it has none or was started without it."""
    try:
        return _syscall(SYS_CREATE_RULESET, ctypes.c_void_p(None), ctypes.c_size_t(0), CREATE_RULESET_VERSION)
    except OSError:
        return 0


def check(ruleset: Ruleset, version: int) -> None:
    """Refuse rules that a kernel offering ``version`` can't hold, naming what would."""
    needs = ruleset.needs
    if version < needs.version:
        offered = f"offers Landlock ABI {version}" if version else "offers no Landlock (see /sys/kernel/security/lsm)"
        raise Unavailable(
            f"This kernel {offered}; '{ruleset}' needs ABI {needs.version} (Linux {needs.linux} or a distribution's "
            "backport of it)."
        )


def restrict_thread(ruleset: Ruleset) -> None:
    """Apply one layer to the calling thread and what it starts; set-user-id programs lose their effect (no_new_privs).

    For the whole process, call it while there is one thread, then exec. Raises ``Unavailable`` or OSError.
    """
    check(ruleset, abi())
    prctl(SET_NO_NEW_PRIVS, 1)
    attributes = struct.pack("=QQQ", ruleset.files, ruleset.denied, ruleset.scopes)  # the structure as of ABI 6
    size = max(end for end, part in ((8, True), (16, ruleset.denied), (24, ruleset.scopes)) if part)
    layer = _syscall(SYS_CREATE_RULESET, attributes[:size], ctypes.c_size_t(size), 0)
    try:
        for port in ruleset.exceptions:
            _syscall(SYS_ADD_RULE, layer, RULE_NET_PORT, struct.pack("=QQ", port.allowed, port.port), 0)
        for rule in ruleset.below:
            _add_path(layer, rule, ruleset.files)
        _syscall(SYS_RESTRICT_SELF, layer, 0)
    finally:
        os.close(layer)


def _add_path(layer: int, rule: Below, handled: Fs) -> None:
    descriptor = open_place(rule.path)
    try:
        allowed = rule.allowed & handled
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            allowed &= FILE_RIGHTS
        if allowed:
            _syscall(SYS_ADD_RULE, layer, RULE_PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)
    finally:
        os.close(descriptor)


def _names(rights: Net) -> str:
    return " or ".join(
        f"TCP {right.name.removesuffix('_TCP').lower()}" for right in Net if right in rights and right.name
    )


def _file_names(rights: Fs) -> str:
    named = {READ: "reading", WRITE: "writing", WRITE | Fs.IOCTL_DEV: "writing and device control"}
    return named.get(rights) or " or ".join(_words(rights))


def _words(rights: Fs | Scope) -> list[str]:
    return [right.name.lower().replace("_", " ") for right in type(rights) if right in rights and right.name]


def _but(exceptions: Sequence[Ports | Below]) -> str:
    return " but " + ", ".join(map(str, exceptions)) if exceptions else ""
