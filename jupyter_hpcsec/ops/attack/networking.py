"""Attempts on the network and on services' sockets. Nothing is sent but empty connections that are closed at once."""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.making import attempt, collect
from jupyter_hpcsec.ops.attack.targets import SERVICES, Targets
from jupyter_hpcsec.ops.attack.values import Attempt, Group, Stop, not_tried

MAY_BIND = frozenset({Bind.PRIVATE, Bind.UNSAFE_ALLOW})
MAY_BIND_UDP = MAY_BIND | {Bind.UNSAFE_UDP}
MAY_SEND_UDP = frozenset({Bind.UNSAFE_ALLOW, Bind.UNSAFE_UDP})
IN_PRIVATE = frozenset({Bind.PRIVATE})
TCP = {Stop.LANDLOCK: 4}
CONNECT = {Stop.LANDLOCK: 4, Stop.NETWORK: 0}
FILTER = {Stop.SECCOMP: 0}
SEND = {Stop.SECCOMP: 0, Stop.NETWORK: 0}
MPTCP, SCTP, DCCP, UDPLITE = 262, 132, 33, 136
SOCK_DCCP = 6
FASTOPEN, FASTOPEN_CONNECT = 0x20000000, 30
ABSENT = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
LET_OUT = {errno.ECONNREFUSED, errno.EINPROGRESS, errno.EALREADY}


@contextlib.contextmanager
def made(family: int, kind: int, protocol: int = 0) -> Iterator[socket.socket]:
    """A socket. Where the kernel may just not know its kind, and a sandbox would say the same, /proc decides."""
    try:
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        if error.errno in ABSENT and not _known(family, protocol):
            not_tried("this kernel has no such sockets")
        raise
    with found:
        found.settimeout(5)
        yield found


def _known(family: int, protocol: int) -> bool:
    """Whether this kernel has a protocol, by its table (/proc/net/protocols)."""
    names = {MPTCP: "MPTCP", SCTP: "SCTP", DCCP: "DCCP", UDPLITE: "UDP-Lite"}
    families: dict[int, str] = {
        socket.AF_VSOCK: "AF_VSOCK",
        socket.AF_PACKET: "PACKET",
        socket.AF_ALG: "ALG",
        socket.AF_INET6: "TCPv6",
    }
    name = names.get(protocol) or families.get(family, "TCP")
    try:
        table = Path("/proc/net/protocols").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    return any(line.split()[0] == name for line in table[1:])


def let_out(connect: socket.socket, address: object) -> str:
    """Connect: what the far end says comes only after the kernel here has allowed it."""
    try:
        connect.connect(address)  # type: ignore[arg-type]  # of any family
    except OSError as error:
        if error.errno in LET_OUT:
            return f"let out ({error.strerror})"
        raise
    return "connected"


@attempt(Group.SOCKETS, "tcp-bind", "Bind a TCP port", TCP, lawful=MAY_BIND)
def tcp_bind(_: Targets) -> str:
    """Bind any port of all addresses."""
    with made(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("0.0.0.0", 0))  # noqa: S104 - that is the attempt
        return "bound"


@attempt(Group.SOCKETS, "tcp6-bind", "Bind a TCP port of IPv6", TCP, lawful=MAY_BIND)
def tcp6_bind(_: Targets) -> str:
    """Bind any port of all addresses."""
    with made(socket.AF_INET6, socket.SOCK_STREAM) as s:
        s.bind(("::", 0))
        return "bound"


@attempt(Group.SOCKETS, "tcp-listen", "Listen without having bound", FILTER, lawful=MAY_BIND)
def tcp_listen(_: Targets) -> str:
    """listen(2) on a new socket: the kernel picks the port, and Landlock is not asked."""
    with made(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.listen(1)
        return "listens"


@attempt(Group.SOCKETS, "tcp6-listen", "Listen on IPv6 without having bound", FILTER, lawful=MAY_BIND)
def tcp6_listen(_: Targets) -> str:
    """listen(2) on a new socket."""
    with made(socket.AF_INET6, socket.SOCK_STREAM) as s:
        s.listen(1)
        return "listens"


@attempt(Group.SOCKETS, "tcp-connect", "Connect to a port that is not allowed", CONNECT)
def tcp_connect(t: Targets) -> str:
    """A TCP connection; 'refused' by the far end means that it was let out."""
    with made(socket.AF_INET, socket.SOCK_STREAM) as s:
        return let_out(s, (t.host, t.port))


@attempt(Group.SOCKETS, "tcp6-connect", "Connect by IPv6", CONNECT)
def tcp6_connect(t: Targets) -> str:
    """A TCP connection to a port that is not allowed."""
    with made(socket.AF_INET6, socket.SOCK_STREAM) as s:
        return let_out(s, (t.host6, t.port))


@attempt(Group.SOCKETS, "mapped-connect", "Connect by IPv4 inside IPv6", CONNECT)
def mapped_connect(t: Targets) -> str:
    """A TCP connection to ::ffff:A.B.C.D."""
    with made(socket.AF_INET6, socket.SOCK_STREAM) as s:
        return let_out(s, (f"::ffff:{t.host}", t.port))


def _fast(t: Targets, send: str) -> str:
    with made(socket.AF_INET, socket.SOCK_STREAM) as s:
        try:
            if send == "sendto":
                s.sendto(b"", FASTOPEN, (t.host, t.port))
            else:
                s.sendmsg([b""], [], FASTOPEN, (t.host, t.port))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                not_tried("TCP fast open is off (net.ipv4.tcp_fastopen)")
            if error.errno not in LET_OUT:
                raise
            return f"let out ({error.strerror})"
    return "connected"


@attempt(Group.SOCKETS, "fastopen-sendto", "Connect by sending", SEND)
def fastopen_sendto(t: Targets) -> str:
    """sendto(2) with MSG_FASTOPEN, which Landlock (ABI 7) does not see as connecting."""
    return _fast(t, "sendto")


@attempt(Group.SOCKETS, "fastopen-sendmsg", "Connect by sending a message", SEND)
def fastopen_sendmsg(t: Targets) -> str:
    """sendmsg(2) with MSG_FASTOPEN."""
    return _fast(t, "sendmsg")


@attempt(Group.SOCKETS, "fastopen-connect", "Connect with fast open set", CONNECT)
def fastopen_connect(t: Targets) -> str:
    """TCP_FASTOPEN_CONNECT, connect, then send: the first packet goes with the sending."""
    with made(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
        said = let_out(s, (t.host, t.port))
        with contextlib.suppress(ConnectionError):
            s.send(b"\0")
        return said


@attempt(Group.SOCKETS, "udp-send", "Send a datagram", SEND, lawful=MAY_SEND_UDP)
def udp_send(t: Targets) -> str:
    """An empty UDP datagram to a port that is not allowed."""
    with made(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"", (t.host, t.port))
        return "sent"


@attempt(Group.SOCKETS, "udp-bind", "Receive datagrams", FILTER, lawful=MAY_BIND_UDP)
def udp_bind(_: Targets) -> str:
    """Bind any UDP port of all addresses."""
    with made(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 0))  # noqa: S104 - that is the attempt
        return "bound"


@attempt(Group.SOCKETS, "udp6", "Send a datagram by IPv6", SEND, lawful=MAY_SEND_UDP)
def udp6(t: Targets) -> str:
    """An empty UDP datagram to a port that is not allowed."""
    with made(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.sendto(b"", (t.host6, t.port))
        return "sent"


@attempt(Group.SOCKETS, "ping", "Send an echo request", SEND)
def ping(t: Targets) -> str:
    """An ICMP datagram socket, which needs no right where net.ipv4.ping_group_range allows it."""
    with made(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as s:
        s.sendto(struct.pack(">BBHHH", 8, 0, 0, 0, 0), (t.host, 0))
        return "sent"


def kind(
    name: str,
    title: str,
    family: int,
    kind: int,
    protocol: int,
    *,
    does: str,
    lawful: frozenset[Bind] = frozenset(),
    privileged: bool = False,
) -> Attempt:
    """The attempt to make a socket of a kind that only brings in another protocol."""

    @attempt(Group.SOCKETS, name, title, FILTER, lawful=lawful, privileged=privileged)
    def make(_: Targets) -> str:
        with made(family, kind, protocol):
            return "made"

    return replace(make, tries=does)


UNCOVERED = "Make one: Landlock's rules are for TCP, and see nothing of it."
mptcp = kind(
    "mptcp", "Make a multipath TCP socket", socket.AF_INET, socket.SOCK_STREAM, MPTCP, does=UNCOVERED, lawful=IN_PRIVATE
)
sctp = kind("sctp", "Make an SCTP socket", socket.AF_INET, socket.SOCK_STREAM, SCTP, does=UNCOVERED, lawful=IN_PRIVATE)
dccp = kind("dccp", "Make a DCCP socket", socket.AF_INET, SOCK_DCCP, DCCP, does=UNCOVERED, lawful=IN_PRIVATE)
udplite = kind(
    "udplite", "Make a UDP-Lite socket", socket.AF_INET, socket.SOCK_DGRAM, UDPLITE, does=UNCOVERED, lawful=IN_PRIVATE
)
vsock = kind("vsock", "Make a socket to the hypervisor", socket.AF_VSOCK, socket.SOCK_STREAM, 0, does=UNCOVERED)
raw = kind(
    "raw", "Make a raw socket", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, privileged=True,
    does="Make one, which sends packets of any form.",
)  # fmt: skip
packet = kind(
    "packet", "Make a packet socket", socket.AF_PACKET, socket.SOCK_RAW, 0, privileged=True,
    does="Make one, which sees the traffic of the node.",
)  # fmt: skip


@attempt(Group.SOCKETS, "sock-diag", "List the node's sockets", FILTER, lawful=IN_PRIVATE)
def sock_diag(_: Targets) -> str:
    """Ask NETLINK_SOCK_DIAG, which tells everyone's connections and the names of their sockets."""
    with made(socket.AF_NETLINK, socket.SOCK_RAW, 4) as s:
        body = struct.pack("=BBHIII8x", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, 1)  # struct unix_diag_req: names of all
        s.send(struct.pack("=IHHII", 16 + len(body), 20, 0x301, 1, 0) + body)  # SOCK_DIAG_BY_FAMILY, a dump
        answer = s.recv(65536)
    return f"{len(answer)} bytes came"


def followed(name: str, title: str, protocol: int, does: str) -> Attempt:
    """The attempt to hear what the kernel tells all who listen on a netlink protocol."""

    @attempt(Group.SOCKETS, name, title, FILTER, lawful=IN_PRIVATE)
    def follow(_: Targets) -> str:
        with made(socket.AF_NETLINK, socket.SOCK_DGRAM, protocol) as s:
            s.bind((0, 1))
            return "it would be told"

    return replace(follow, tries=does)


uevent = followed(
    "uevent", "Follow the node's devices", 15, "Join NETLINK_KOBJECT_UEVENT: what is plugged and mounted."
)
connector = followed("connector", "Follow the node's processes", 11, "Join NETLINK_CONNECTOR: who starts and ends.")


@attempt(Group.SOCKETS, "routes", "Change the node's routes", {Stop.CAPABILITIES: 0}, privileged=True)
def routes(_: Targets) -> str:
    """Ask by netlink to remove a route that is not there: allowed, it ends in 'No such process'."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as s:
        destination = struct.pack("=HH4B", 8, 1, 192, 0, 2, 77)
        body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 0, 0, 0, 0) + destination
        s.send(struct.pack("=IHHII", 16 + len(body), 25, 5, 1, 0) + body)  # RTM_DELROUTE, request and acknowledge
        answer = -struct.unpack_from("=i", s.recv(4096), 16)[0]
    if answer in {errno.EPERM, errno.EACCES}:
        raise OSError(answer, os.strerror(answer))
    return f"allowed ({os.strerror(answer)})"


@attempt(Group.SOCKETS, "abstract", "Connect to an abstract unix socket outside", {Stop.LANDLOCK: 6})
def abstract(t: Targets) -> str:
    """Connect to a name that a process outside listens on."""
    name = t.abstract or t.abstract_seen
    if not name:
        not_tried("no abstract socket of a process outside is known; name one with --abstract")
    with made(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(f"\0{name}")
        if not t.abstract and _is_open(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]):
            not_tried(f"{name} is listened on inside; name one of a process outside with --abstract")
    return "connected"


def _is_open(pid: int) -> bool:
    """Whether a process can be looked into: it is of the session, then."""
    return os.access(f"/proc/{pid}/environ", os.R_OK)


GRANTED = {"nscd": "it tells sessions the names of users, as on every node that runs it"}
"""Services that a session may use."""


def service(name: str, paths: tuple[str, ...]) -> Attempt:
    """The attempt to connect to a service's socket."""

    @attempt(Group.SERVICES, name, f"Connect to {name}", {Stop.MOUNTS: 0})
    def connect(t: Targets) -> str:
        return _connect(t.services.get(name, ()), _in_kernel_table())

    where = " or ".join(paths).replace("{uid}", "UID") or "where SSH_AUTH_SOCK says"
    return replace(connect, tries=f"Connect to {where}.", granted=GRANTED.get(name, ""))


def _in_kernel_table() -> str:
    try:
        return Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _connect(paths: tuple[Path, ...], table: str) -> str:
    """The first that exists; one that is hidden still stands in the kernel's table, unless that is hidden too."""
    refusal: OSError | None = None
    for path in paths:
        for form in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            with made(socket.AF_UNIX, form) as s:
                try:
                    s.connect(str(path))
                except FileNotFoundError as error:
                    if any(line.endswith(f" {path.resolve()}") for line in table.splitlines()):
                        refusal = refusal or error
                    break
                except OSError as error:
                    if error.errno == errno.EPROTOTYPE:
                        continue
                    refusal = refusal or error
                else:
                    return f"connected to {path}"
                break
    if refusal is None:
        not_tried("no such socket is here, or it is hidden; name one that is with --service")
    raise refusal


services: Mapping[str, Attempt] = {name: service(name, paths) for name, paths in SERVICES.items()}
ATTEMPTS = (*collect(vars()), *services.values())
