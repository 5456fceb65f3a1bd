"""A seccomp filter for what Landlock leaves open: sockets, listening, and calls that only matter to escape.

Landlock (ABI 7) refuses to bind a TCP socket. Left open are: ``listen`` on a socket that was never bound (the kernel
picks a port), UDP, MPTCP, SCTP and vsock sockets, connecting by sending (``MSG_FASTOPEN``), and io_uring, which makes
sockets without a system call. The filter decides on ``socket`` by its arguments, which no other thread can change. It
can't see what kind of socket ``listen`` is about and hands that call to the listen guard outside the sandbox
(seccomp_unotify(2)).

It is no general reduction of the kernel's surface: scientific software uses odd calls. Refused besides is what no such
software uses without privilege, and what has let programs out of sandboxes: see ``REFUSED``.
Source: Linux ``include/uapi/linux/{seccomp,filter,audit}.h``, seccomp(2).
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from dataclasses import dataclass

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Unavailable

SET_MODE_FILTER = 1
FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV = 1 << 2, 1 << 3, 1 << 5

RET_KILL_PROCESS, RET_ERRNO, RET_USER_NOTIF, RET_ALLOW = 0x80000000, 0x00050000, 0x7FC00000, 0x7FFF0000

# struct seccomp_data: int nr, u32 arch, u64 instruction_pointer, u64 args[6]
OFFSET_NR, OFFSET_ARCH = 0, 4
OFFSET_ARGS = tuple(16 + 8 * i for i in range(6))  # the low half: the kernel takes an int here and drops the rest

# linux/bpf_common.h: class | size or operation | source
LOAD, AND, RETURN = 0x20, 0x54, 0x06
IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT = 0x15, 0x35, 0x45

SOCK_TYPE_MASK = 0xF  # above it are SOCK_CLOEXEC and SOCK_NONBLOCK (net/socket.c)


MSG_FASTOPEN = 0x20000000
NETLINK_ROUTE = 0
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Typing into a terminal in another program's name; both stay what they are on every architecture here."""
TAKE_SNAPSHOT = (0x50009401, 0x50009417, 0x4020BC10)
"""BTRFS_IOC_SNAP_CREATE, _V2, BCH_IOCTL_SUBVOLUME_CREATE: an owner may, and the copy is not masked."""


@dataclass(frozen=True)
class Machine:
    """System call numbers of one architecture. From ``first_foreign`` on, numbers are of another calling convention.

    ``refused``: mount and its family, other namespaces, files by handle, kernel modules, kexec, bpf, userfaultfd, and
    keyrings, where logins and file systems keep what opens other doors.
    """

    audit: int
    socket: int
    listen: int
    seccomp: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    ioctl: int
    prlimit: int
    refused: tuple[int, ...]
    first_foreign: int = 0xFFFFFFFF


IO_URING = (425, 426, 427)
REFUSED = (428, 429, 430, 431, 432, 433, 442, 467)
"""open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, open_tree_attr: the same everywhere."""

MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E, socket=41, listen=50, seccomp=317, sendto=44, sendmsg=46, sendmmsg=307, ioctl=16,
        prlimit=302, first_foreign=0x40000000,
        refused=(155, 165, 166, 175, 176, 246, 248, 249, 250, 304, 308, 313, 320, 321, 323, *REFUSED),
    ),
    "aarch64": Machine(
        audit=0xC00000B7, socket=198, listen=201, seccomp=277, sendto=206, sendmsg=211, sendmmsg=269, ioctl=29,
        prlimit=261, refused=(39, 40, 41, 104, 105, 106, 217, 218, 219, 265, 268, 273, 280, 282, 294, *REFUSED),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One classic BPF instruction; ``yes`` and ``no`` are labels, empty for the next instruction."""

    code: int
    value: int
    yes: str = ""
    no: str = ""
    label: str = ""


def machine(name: str | None = None) -> Machine:
    """The numbers for this computer; ``Unavailable`` for one that is not in the table."""
    name = platform.machine() if name is None else name
    if name not in MACHINES:
        raise Unavailable(f"No seccomp filter for {name} machines, only for {' and '.join(MACHINES)}.")
    return MACHINES[name]


def session_filter(numbers: Machine, bind: Bind) -> tuple[Instruction, ...]:
    """The filter as labelled instructions.

    1. A system call of another architecture or calling convention (32-bit programs): kill, its numbers mean others.
    2. io_uring: no such system call, as on kernels without it; programs fall back.
    3. ``listen``: ask the guard, where nothing may listen.
    4. A second guard (``seccomp`` with a listener of its own) could answer for ours: busy, as kernels say anyway.
    5. ``socket``: unix as they are; netlink for addresses and routes, not for the node's sockets, devices and
       processes; IPv4 and IPv6 for TCP, for UDP where that is allowed, for everything in a network of the session's
       own; of any other family: not supported.
    6. Sending that connects: refused, but in a network of the session's own.
    7. Typing into the terminal of another program, snapshots of what may hold masks, ``Machine.refused``: refused.
    8. Setting another process's limits: refused. The agent is the same user's, and would end by one it can't keep; no
       rule of Landlock covers that.
    """
    asks, is_private = is_guarded(bind), bind is Bind.PRIVATE
    fastopen = {} if is_private else {numbers.sendto: "flags3", numbers.sendmmsg: "flags3", numbers.sendmsg: "flags2"}
    return (
        Instruction(LOAD, OFFSET_ARCH),
        Instruction(IF_EQUAL, numbers.audit, no="kill"),
        Instruction(LOAD, OFFSET_NR),
        Instruction(IF_AT_LEAST, numbers.first_foreign, yes="kill"),
        Instruction(IF_EQUAL, numbers.socket, yes="socket"),
        *([Instruction(IF_EQUAL, numbers.listen, yes="ask")] if asks else []),
        *([Instruction(IF_EQUAL, numbers.seccomp, yes="seccomp")] if asks else []),
        *(Instruction(IF_EQUAL, number, yes=label) for number, label in fastopen.items()),
        Instruction(IF_EQUAL, numbers.ioctl, yes="ioctl"),
        Instruction(IF_EQUAL, numbers.prlimit, yes="limits"),
        *(Instruction(IF_EQUAL, number, yes="absent") for number in IO_URING),
        *(Instruction(IF_EQUAL, number, yes="denied") for number in numbers.refused),
        Instruction(RETURN, RET_ALLOW),
        *(_second_guard() if asks else ()),
        *(_connecting(2, "flags2") + _connecting(3, "flags3") if fastopen else ()),
        Instruction(LOAD, OFFSET_ARGS[1], label="ioctl"),
        Instruction(IF_EQUAL, TIOCSTI, yes="denied"),
        *(Instruction(IF_EQUAL, request, yes="denied") for request in TAKE_SNAPSHOT),
        Instruction(IF_EQUAL, TIOCLINUX, yes="denied", no="allow"),
        *_limits(),
        *_sockets(bind),
        Instruction(RETURN, RET_ALLOW, label="allow"),
        Instruction(RETURN, RET_USER_NOTIF, label="ask"),
        Instruction(RETURN, RET_ERRNO | errno.EACCES, label="refused"),
        Instruction(RETURN, RET_ERRNO | errno.EPERM, label="denied"),
        Instruction(RETURN, RET_ERRNO | errno.EAFNOSUPPORT, label="unsupported"),
        Instruction(RETURN, RET_ERRNO | errno.ENOSYS, label="absent"),
        Instruction(RETURN, RET_ERRNO | errno.EBUSY, label="busy"),
        Instruction(RETURN, RET_KILL_PROCESS, label="kill"),
    )


def is_guarded(bind: Bind) -> bool:
    """Whether the listen guard is asked about each ``listen``."""
    return bind in {Bind.NONE, Bind.UNSAFE_UDP}


def _second_guard() -> tuple[Instruction, ...]:
    return (
        Instruction(LOAD, OFFSET_ARGS[0], label="seccomp"),
        Instruction(IF_EQUAL, SET_MODE_FILTER, no="allow"),
        Instruction(LOAD, OFFSET_ARGS[1]),
        Instruction(IF_ANY_BIT, FLAG_NEW_LISTENER, yes="busy", no="allow"),
    )


def _connecting(argument: int, label: str) -> tuple[Instruction, ...]:
    return (
        Instruction(LOAD, OFFSET_ARGS[argument], label=label),
        Instruction(IF_ANY_BIT, MSG_FASTOPEN, yes="refused", no="allow"),
    )


def _limits() -> tuple[Instruction, ...]:
    """Allowed: one's own (process 0), and to be told (no new limit, a pointer of two words)."""
    return (
        Instruction(LOAD, OFFSET_ARGS[0], label="limits"),
        Instruction(IF_EQUAL, 0, yes="allow"),
        Instruction(LOAD, OFFSET_ARGS[2]),
        Instruction(IF_EQUAL, 0, no="denied"),
        Instruction(LOAD, OFFSET_ARGS[2] + 4),
        Instruction(IF_EQUAL, 0, yes="allow", no="denied"),
    )


def _sockets(bind: Bind) -> tuple[Instruction, ...]:
    internet = "allow" if bind is Bind.PRIVATE else "internet"
    family = (
        Instruction(LOAD, OFFSET_ARGS[0], label="socket"),
        Instruction(IF_EQUAL, socket.AF_UNIX, yes="allow"),
        Instruction(IF_EQUAL, socket.AF_NETLINK, yes="netlink"),
        Instruction(IF_EQUAL, socket.AF_INET, yes=internet),
        Instruction(IF_EQUAL, socket.AF_INET6, yes=internet, no="unsupported"),
    )
    routes = (
        Instruction(LOAD, OFFSET_ARGS[2], label="netlink"),
        Instruction(IF_EQUAL, NETLINK_ROUTE, yes="allow", no="refused"),
    )
    if bind is Bind.PRIVATE:
        return (*family, *routes)
    udp = bind in {Bind.UNSAFE_UDP, Bind.UNSAFE_ALLOW}
    datagram = [Instruction(IF_EQUAL, socket.SOCK_DGRAM, yes="udp")] if udp else []
    # IPPROTO_UDPLITE is another protocol of the same type; only 0 and UDP itself are meant
    udp_protocols = [
        Instruction(LOAD, OFFSET_ARGS[2], label="udp"),
        Instruction(IF_EQUAL, 0, yes="allow"),
        Instruction(IF_EQUAL, socket.IPPROTO_UDP, yes="allow", no="refused"),
    ]
    return (
        *family,
        *routes,
        Instruction(LOAD, OFFSET_ARGS[1], label="internet"),
        Instruction(AND, SOCK_TYPE_MASK),
        *datagram,
        Instruction(IF_EQUAL, socket.SOCK_STREAM, no="refused"),
        Instruction(LOAD, OFFSET_ARGS[2]),
        Instruction(IF_EQUAL, 0, yes="allow"),
        Instruction(IF_EQUAL, socket.IPPROTO_TCP, yes="allow", no="refused"),
        *(udp_protocols if udp else []),
    )


def assemble(program: tuple[Instruction, ...]) -> bytes:
    """``struct sock_filter`` (u16 code, u8 jt, u8 jf, u32 k) of each instruction; jumps only go forward."""
    at = {instruction.label: i for i, instruction in enumerate(program) if instruction.label}

    def distance(i: int, label: str) -> int:
        return at[label] - i - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", item.code, distance(i, item.yes), distance(i, item.no), item.value)
        for i, item in enumerate(program)
    )


def install(program: bytes, numbers: Machine, *, asks: bool = True) -> int:
    """Apply the filter to the calling thread for good; returns the descriptor on which the guard is asked, else 0.

    The caller has set no_new_privs. ``Unavailable`` when the kernel refuses, for one because an outer sandbox already
    has a guard of its own.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    flags = FLAG_SPEC_ALLOW | (FLAG_NEW_LISTENER if asks else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    # Newest first: while the guard works only a fatal signal interrupts a call (Linux 5.19), so that none runs twice.
    # Speculation stays as it is: the session's processes share a user and keep no secret from each other.
    for candidate in (flags | FLAG_WAIT_KILLABLE_RECV, flags) if asks else (flags,):
        result = int(libc.syscall(ctypes.c_long(numbers.seccomp), SET_MODE_FILTER, ctypes.c_ulong(candidate), header))
        if result >= 0:
            if asks:
                os.set_inheritable(result, False)
            return result
        if (number := ctypes.get_errno()) != errno.EINVAL:
            break
    raise Unavailable(f"The kernel refused the seccomp filter: {os.strerror(number)}.")
