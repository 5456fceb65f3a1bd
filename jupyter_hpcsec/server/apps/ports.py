"""What the kernel says of the session's network: its routes, and the ports that something listens on."""

from collections.abc import Iterable
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.server.apps.address import LOWEST_PORT

NET = Path("/proc/self/net")
_LISTEN = "0A"  # include/net/tcp_states.h
_ANY_OR_LOOPBACK = {
    "00000000", "0" * 32, "0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F",
}  # fmt: skip
"""Addresses at which 127.0.0.1 or ::1 is answered, as little-endian machines print them."""


def read(name: str, directory: Path = NET) -> list[str]:
    """The lines of one file; none where the kernel lacks the protocol. ``Unavailable`` when it can't be read."""
    try:
        return (directory / name).read_text("ascii", "replace").splitlines()
    except FileNotFoundError as error:
        if not directory.is_dir():
            raise Unavailable("the session can't see its own network in /proc") from error
        return []
    except OSError as error:
        raise Unavailable(f"the session can't see its own network in /proc: {error.strerror}") from error


def ways_out(route: Iterable[str], route6: Iterable[str]) -> set[str]:
    """Interfaces other than the loopback that packets are sent by: proc_net(5) ``route``, ``ipv6_route``."""
    devices = {line.split()[0] for line in route if line.split()} - {"Iface"}
    devices6 = {line.split()[-1] for line in route6 if line.split()}
    return (devices | devices6) - {"lo"}


def is_private(directory: Path = NET) -> bool:
    """Whether nothing leads out of the network that this process is in; ``Unavailable`` when that can't be seen."""
    return not ways_out(read("route", directory), read("ipv6_route", directory))


def listening(tcp: Iterable[str], tcp6: Iterable[str]) -> list[int]:
    """Ports of 127.0.0.1 or ::1 that an app may be asked at: proc_net(5) ``tcp``, ``tcp6``."""
    ports = set()
    for line in [*tcp, *tcp6]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTEN:
            continue
        address, _, port = fields[1].partition(":")
        if address in _ANY_OR_LOOPBACK:
            ports.add(int(port, 16))
    return sorted(port for port in ports if port >= LOWEST_PORT)
