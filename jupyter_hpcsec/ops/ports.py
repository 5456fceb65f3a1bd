"""Free TCP ports of the loopback address. What picks one holds it against other quickstarts, and no more."""

import errno
import socket

from jupyter_hpcsec.errors import Refused

LOOPBACK = "127.0.0.1"
CANDIDATES = 8
"""Ports that are tried when the default is taken."""


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as exc:
            if exc.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_ports(count: int) -> list[int]:
    """``count`` different free ports of the kernel's choice."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def claim(port: int) -> socket.socket | None:
    """A claim on ``port`` until it is closed, or ``None`` when another quickstart has one.

    Seconds pass before the proxy listens; two quickstarts that start together would both find the port free. The claim
    is an abstract unix socket (unix(7)): it is gone with its process and leaves no file.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0hpcsec-quickstart-port-{port}")
    except OSError as exc:
        name.close()
        if exc.errno == errno.EADDRINUSE:
            return None
        raise
    return name


def public_port(wanted: int | None, default: int) -> tuple[int, socket.socket]:
    """A port and the claim on it: ``wanted``, or ``Refused`` when taken; else ``default`` if free, or any free one."""
    for port in [wanted] if wanted is not None else [default, *free_ports(CANDIDATES)]:
        held = claim(port)
        if held is not None and is_free(port):
            return port, held
        if held is not None:
            held.close()
    raise Refused("port.taken", f"Port {wanted or default} is in use or not allowed: choose another with --port.")
