"""The filter as a program: every way to a listener that it is there for, run through an interpreter of classic BPF."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access import seccomp
from jupyter_hpcsec.access.seccomp import (
    FLAG_NEW_LISTENER,
    MACHINES,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_USER_NOTIF,
    Machine,
    assemble,
    session_filter,
)
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Unavailable

SCTP, MPTCP, UDPLITE, ICMP = 132, 262, 136, 1
SOCK_DIAG, UEVENT = 4, 15
AF_VSOCK, AF_ALG, AF_SMC, AF_TIPC, AF_RDS = 40, 38, 43, 30, 21
REFUSED, UNSUPPORTED = RET_ERRNO | errno.EACCES, RET_ERRNO | errno.EAFNOSUPPORT


def decide(program: bytes, nr: int, audit: int, *args: int) -> int:
    """What the kernel would do: Linux ``kernel/seccomp.c`` over ``struct seccomp_data``, little-endian."""
    words = [value & 0xFFFFFFFFFFFFFFFF for value in (*args, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, audit, 0, *words)
    at = accumulator = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case _:
                raise AssertionError(f"instruction {code:#x} is not one that the filter uses")


@pytest.fixture(params=sorted(MACHINES))
def numbers(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


@pytest.mark.parametrize(
    ("arguments", "decision"),
    [
        ((socket.AF_INET, socket.SOCK_DGRAM, 0), REFUSED),
        ((socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP), REFUSED),
        ((socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0), REFUSED),
        ((socket.AF_INET, socket.SOCK_DGRAM, UDPLITE), REFUSED),
        ((socket.AF_INET, socket.SOCK_DGRAM, ICMP), REFUSED),
        ((socket.AF_INET, socket.SOCK_STREAM, MPTCP), REFUSED),
        ((socket.AF_INET, socket.SOCK_STREAM, SCTP), REFUSED),
        ((socket.AF_INET, socket.SOCK_SEQPACKET, SCTP), REFUSED),
        ((socket.AF_INET, socket.SOCK_RAW, 255), REFUSED),
        ((AF_VSOCK, socket.SOCK_STREAM, 0), UNSUPPORTED),
        ((AF_SMC, socket.SOCK_STREAM, 0), UNSUPPORTED),
        ((AF_TIPC, socket.SOCK_STREAM, 0), UNSUPPORTED),
        ((AF_RDS, socket.SOCK_SEQPACKET, 0), UNSUPPORTED),
        ((AF_ALG, socket.SOCK_SEQPACKET, 0), UNSUPPORTED),
        ((socket.AF_UNIX, socket.SOCK_STREAM, 0), RET_ALLOW),
        ((socket.AF_UNIX, socket.SOCK_DGRAM, 0), RET_ALLOW),
        ((socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG), REFUSED),
        ((socket.AF_NETLINK, socket.SOCK_RAW, UEVENT), REFUSED),
        ((socket.AF_NETLINK, socket.SOCK_RAW, 0), RET_ALLOW),
        ((socket.AF_INET, socket.SOCK_STREAM, 0), RET_ALLOW),
        ((socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP), RET_ALLOW),
    ],
)
def test_sockets(numbers: Machine, arguments: tuple[int, int, int], decision: int) -> None:
    program = assemble(session_filter(numbers, Bind.NONE))
    assert decide(program, numbers.socket, numbers.audit, *arguments) == decision
    # the kernel takes an int: what stands above its 32 bits may change nothing
    wide = [word | 0xABCD << 32 for word in arguments]
    assert decide(program, numbers.socket, numbers.audit, *wide) == decision


def test_udp_is_left_alone_where_it_was_asked_for(numbers: Machine) -> None:
    program = assemble(session_filter(numbers, Bind.UNSAFE_UDP))

    def make(kind: int, protocol: int) -> int:
        return decide(program, numbers.socket, numbers.audit, socket.AF_INET, kind, protocol)

    assert make(socket.SOCK_DGRAM, 0) == make(socket.SOCK_DGRAM, socket.IPPROTO_UDP) == RET_ALLOW
    assert make(socket.SOCK_DGRAM, UDPLITE) == make(socket.SOCK_STREAM, MPTCP) == REFUSED
    assert make(socket.SOCK_STREAM, 0) == RET_ALLOW


def test_listen_is_asked_about_and_io_uring_is_not_there(numbers: Machine) -> None:
    program = assemble(session_filter(numbers, Bind.NONE))
    assert decide(program, numbers.listen, numbers.audit, 3, 128) == RET_USER_NOTIF
    assert decide(program, 425, numbers.audit, 8, 0) == RET_ERRNO | errno.ENOSYS


def test_no_second_guard_can_answer_for_ours(numbers: Machine) -> None:
    program = assemble(session_filter(numbers, Bind.NONE))
    assert decide(program, numbers.seccomp, numbers.audit, 1, FLAG_NEW_LISTENER) == RET_ERRNO | errno.EBUSY
    assert decide(program, numbers.seccomp, numbers.audit, 1, FLAG_NEW_LISTENER | 1) == RET_ERRNO | errno.EBUSY
    assert decide(program, numbers.seccomp, numbers.audit, 1, 1) == RET_ALLOW  # a narrower filter of one's own
    assert decide(program, numbers.seccomp, numbers.audit, 3, FLAG_NEW_LISTENER) == RET_ALLOW  # not a filter


@pytest.mark.parametrize("bind", list(Bind))
def test_limits_of_others_can_not_be_set(numbers: Machine, bind: Bind) -> None:
    program = assemble(session_filter(numbers, bind))
    cpu, pointer, above = 0, 0x7F00_0000_1000, 0x7F00_0000_0000
    for new in (pointer, above):  # either half of it says that there is one
        assert decide(program, numbers.prlimit, numbers.audit, 4711, cpu, new, 0) == RET_ERRNO | errno.EPERM
    assert decide(program, numbers.prlimit, numbers.audit, 4711, cpu, 0, pointer) == RET_ALLOW  # to be told
    assert decide(program, numbers.prlimit, numbers.audit, 0, cpu, pointer, 0) == RET_ALLOW  # one's own


def test_keyrings_are_closed() -> None:
    for name, calls in {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}.items():
        program = assemble(session_filter(MACHINES[name], Bind.NONE))
        for nr in calls:
            assert decide(program, nr, MACHINES[name].audit, 0) == RET_ERRNO | errno.EPERM


def test_other_calling_conventions_are_killed() -> None:
    x86_64 = MACHINES["x86_64"]
    program = assemble(session_filter(x86_64, Bind.NONE))
    i386 = 0x40000003
    assert decide(program, 102, i386) == RET_KILL_PROCESS  # socketcall: socket, bind, listen in one
    assert decide(program, x86_64.socket | 0x40000000, x86_64.audit) == RET_KILL_PROCESS  # x32
    assert decide(program, x86_64.listen, MACHINES["aarch64"].audit) == RET_KILL_PROCESS


@pytest.mark.parametrize("bind", list(Bind))
def test_io_uring_mounts_namespaces_and_typing_for_others_are_refused_always(numbers: Machine, bind: Bind) -> None:
    program = assemble(session_filter(numbers, bind))
    for nr in (425, 426, 427):
        assert decide(program, nr, numbers.audit, 8) == RET_ERRNO | errno.ENOSYS
    for nr in numbers.refused:
        assert decide(program, nr, numbers.audit) == RET_ERRNO | errno.EPERM
    for command in (0x5412, 0x541C, 0x5412 | 1 << 32, 0x50009401, 0x50009417, 0x4020BC10):
        assert decide(program, numbers.ioctl, numbers.audit, 0, command) == RET_ERRNO | errno.EPERM
    assert decide(program, numbers.ioctl, numbers.audit, 0, 0x5401) == RET_ALLOW


@pytest.mark.parametrize("bind", list(Bind))
def test_sending_that_connects_is_refused_where_connections_are(numbers: Machine, bind: Bind) -> None:
    program = assemble(session_filter(numbers, bind))
    refused = RET_ALLOW if bind is Bind.PRIVATE else REFUSED
    fastopen, more = 0x20000000, 0x8000
    assert decide(program, numbers.sendto, numbers.audit, 3, 0, 0, fastopen | more) == refused
    assert decide(program, numbers.sendmsg, numbers.audit, 3, 0, fastopen) == refused
    assert decide(program, numbers.sendmmsg, numbers.audit, 3, 0, 1, fastopen) == refused
    for nr in (numbers.sendto, numbers.sendmsg, numbers.sendmmsg):
        assert decide(program, nr, numbers.audit, 3, 0, more, more) == RET_ALLOW


def test_in_a_network_of_its_own_everything_of_the_internet_is_allowed_and_nothing_asked(numbers: Machine) -> None:
    program = assemble(session_filter(numbers, Bind.PRIVATE))
    for kind, protocol in ((socket.SOCK_STREAM, MPTCP), (socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 0)):
        assert decide(program, numbers.socket, numbers.audit, socket.AF_INET, kind, protocol) == RET_ALLOW
    assert decide(program, numbers.listen, numbers.audit, 3, 1) == RET_ALLOW
    for family in (AF_VSOCK, AF_SMC, AF_TIPC, AF_RDS, AF_ALG):  # these know no namespaces
        assert decide(program, numbers.socket, numbers.audit, family, socket.SOCK_STREAM, 0) == UNSUPPORTED


def test_where_everything_may_listen_other_protocols_still_can_not_pass_by_the_ports(numbers: Machine) -> None:
    program = assemble(session_filter(numbers, Bind.UNSAFE_ALLOW))
    assert decide(program, numbers.listen, numbers.audit, 3, 1) == RET_ALLOW
    make = (program, numbers.socket, numbers.audit, socket.AF_INET)
    assert decide(*make, socket.SOCK_DGRAM, 0) == decide(*make, socket.SOCK_STREAM, 0) == RET_ALLOW
    assert decide(*make, socket.SOCK_STREAM, MPTCP) == REFUSED


@given(st.integers(0, 1000), st.sampled_from(list(Bind)))
def test_every_other_call_is_allowed(nr: int, bind: Bind) -> None:
    for numbers in MACHINES.values():
        named = {numbers.socket, numbers.listen, numbers.seccomp, numbers.sendto, numbers.sendmsg, numbers.sendmmsg,
                 numbers.ioctl, *numbers.refused, 425, 426, 427}  # fmt: skip
        if nr not in named:
            assert decide(assemble(session_filter(numbers, bind)), nr, numbers.audit) == RET_ALLOW


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(Unavailable, match="ppc64le"):
        seccomp.machine("ppc64le")
