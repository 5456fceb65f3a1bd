"""Which TCP and UDP ports a process tree holds open, from ``/proc``, across network namespaces.

A TCP socket listens when the kernel says so. UDP has no such state: each UDP socket that has a port can be sent to and
is given. A process that may not be looked into (another user's, or one that made itself undumpable, as the agent does)
is not taken to be innocent: a port of its user that no visible process holds is held against it.
"""

import contextlib
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.processes import PROC, descendants, processes

TCP_LISTEN = 0x0A  # include/net/tcp_states.h
TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6")


@dataclass(frozen=True)
class Listener:
    """One open port. ``protocol`` is the name of the kernel's table: ``tcp``, ``tcp6``, ``udp``, …"""

    pid: int
    protocol: str
    address: str
    port: int
    inode: int


@dataclass(frozen=True)
class Row:
    """One open port as a network namespace lists it: by owner and inode, not by process."""

    protocol: str
    address: str
    port: int
    inode: int
    uid: int


def parse_address(text: str) -> tuple[str, int]:
    """``0100007F:1F90`` -> ``("127.0.0.1", 8080)``: 32-bit words in the machine's byte order, then the port in hex."""
    words, _, port = text.partition(":")
    raw = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    address = ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), int(port, 16)


def parse_table(protocol: str, text: str) -> Iterator[Row]:
    """The open ports of one ``/proc/net`` table (proc_pid_net(5)); rows of connections are left out."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if protocol.startswith("tcp") and int(fields[3], 16) != TCP_LISTEN:
            continue
        address, port = parse_address(fields[1])
        yield Row(protocol, address, port, inode=int(fields[9]), uid=int(fields[7]))


def open_ports(net: Path) -> list[Row]:
    """All open ports of the network namespace that ``net`` (a ``/proc/PID/net``) shows."""
    return [row for name in TABLES if (net / name).exists() for row in parse_table(name, (net / name).read_text())]


def socket_inodes(pid: int, proc: Path = PROC) -> set[int] | None:
    """Inodes of the sockets that a process holds; ``None`` when it may not be looked into."""
    inodes = set()
    try:
        for entry in (proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    inodes.add(int(target[len("socket:[") : -1]))
    except PermissionError:
        return None
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return inodes


def effective_uid(pid: int, proc: Path = PROC) -> int:
    """Whose process it is. ``status`` says so also for an undumpable one, whose directory looks like root's."""
    status = (proc / str(pid) / "status").read_text(errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("Uid:"))
    return int(line.split()[2])


def ports_of(pid: int, inodes: set[int] | None, visible: Set[int], proc: Path = PROC) -> list[Listener]:
    """One process's open ports; for one that can't be looked into, those of its user that nobody visible holds."""
    try:
        rows = open_ports(proc / str(pid) / "net")
        if inodes is None:
            uid = effective_uid(pid, proc)
            rows = [row for row in rows if row.uid == uid and row.inode not in visible]
        else:
            rows = [row for row in rows if row.inode in inodes]
    except PermissionError as error:
        raise Unavailable(f"Process {pid}'s network tables can't be read: ask as its user, or as root.") from error
    except OSError:  # the process ended while it was read: ENOENT, ESRCH, or EINVAL once its namespace is gone
        return []
    return [Listener(pid, row.protocol, row.address, row.port, row.inode) for row in rows]


def listeners(root_pid: int, proc: Path = PROC) -> list[Listener]:
    """The open ports of ``root_pid`` and of everything below it, sorted by protocol, port and pid.

    MPTCP and SCTP have no table that names an inode; the sandbox refuses such sockets when they are made.
    """
    table = {pid: process for pid, process in processes(proc).items() if not process.is_zombie}
    held = {pid: socket_inodes(pid, proc) for pid in table}
    visible = frozenset[int]().union(*(inodes for inodes in held.values() if inodes is not None))
    tree = [pid for pid in (root_pid, *descendants(root_pid, table)) if pid in table]
    found = [port for pid in tree for port in ports_of(pid, held[pid], visible, proc)]
    return sorted(found, key=lambda item: (item.protocol, item.port, item.pid))
