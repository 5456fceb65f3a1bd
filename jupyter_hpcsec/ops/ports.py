"""Free TCP ports of this computer's loopback address. Picking one holds nothing: use it at once."""

import errno
import socket

from jupyter_hpcsec.errors import Refused

LOOPBACK = "127.0.0.1"


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


def public_port(wanted: int | None, default: int) -> int:
    """``wanted``, or ``Refused`` when it is taken. When none is wanted: ``default`` if free, else any free one."""
    if wanted is None:
        return default if is_free(default) else free_ports(1)[0]
    if not is_free(wanted):
        raise Refused("port.taken", f"Port {wanted} is in use or not allowed: choose another, or leave --port out.")
    return wanted
