"""Landlock in ctypes: rules as values, applied to the calling thread for good.

It decides nothing (which rules a session gets is ``sandbox``'s business) and fails closed: rules that this kernel
can't hold raise ``Unavailable``, they are never thinned out in silence. Rules can't be taken back, and every layer
only narrows.

Source: Linux ``include/uapi/linux/landlock.h``, landlock(7), and Documentation/userspace-api/landlock.rst.
"""

import ctypes
import os
import struct
from dataclasses import dataclass
from enum import IntFlag

from jupyter_hpcsec.access.prctl import SET_NO_NEW_PRIVS, prctl
from jupyter_hpcsec.errors import Unavailable

SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446  # one number on every architecture
CREATE_RULESET_VERSION = 1
RULE_NET_PORT = 2


class Net(IntFlag):
    """Rights on TCP ports (``LANDLOCK_ACCESS_NET_*``). MPTCP, SCTP, UDP and listening unbound are not covered."""

    BIND_TCP = 1
    CONNECT_TCP = 2


NOTHING = Net(0)


@dataclass(frozen=True)
class Abi:
    """What one version of the kernel's interface added, and the Linux that brought it."""

    version: int
    linux: str
    net: Net = NOTHING


ABIS = (
    Abi(1, "5.13"),
    Abi(2, "5.19"),
    Abi(3, "6.2"),
    Abi(4, "6.7", net=Net.BIND_TCP | Net.CONNECT_TCP),
    Abi(5, "6.10"),
    Abi(6, "6.12"),
    Abi(7, "6.15"),
)
"""Distributions carry later versions in earlier kernels (RHEL 9.6 has 5 on Linux 5.14): the number is asked for."""


@dataclass(frozen=True)
class Ports:
    """Rights that stay allowed on one TCP port."""

    port: int
    allowed: Net

    def __str__(self) -> str:
        return f"{_names(self.allowed)} on port {self.port}"


@dataclass(frozen=True)
class Ruleset:
    """One layer: each right in ``denied`` is refused on every port, except where ``exceptions`` allow it."""

    denied: Net
    exceptions: tuple[Ports, ...] = ()

    def __str__(self) -> str:
        but = " but " + ", ".join(map(str, self.exceptions)) if self.exceptions else ""
        return f"landlock: no {_names(self.denied)}{but}"

    @property
    def needs(self) -> Abi:
        """The first version of the interface that knows every right named here."""
        known = NOTHING
        for row in ABIS:
            known |= row.net
            if self.denied & ~known == 0:
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
    attributes = struct.pack("=QQ", 0, ruleset.denied)  # file rights, port rights: the structure as of ABI 4
    layer = _syscall(SYS_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for rule in ruleset.exceptions:
            _syscall(SYS_ADD_RULE, layer, RULE_NET_PORT, struct.pack("=QQ", rule.allowed, rule.port), 0)
        _syscall(SYS_RESTRICT_SELF, layer, 0)
    finally:
        os.close(layer)


def _names(rights: Net) -> str:
    return " or ".join(
        f"TCP {right.name.removesuffix('_TCP').lower()}" for right in Net if right in rights and right.name
    )


def _syscall(number: int, *words: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
