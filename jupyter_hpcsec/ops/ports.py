"""TCP ports of the loopback address for programs that are about to be started, held until those have ended."""

import errno
import socket
from types import TracebackType
from typing import Self

from jupyter_hpcsec.errors import Refused

LOOPBACK = "127.0.0.1"


class Claim:
    """A claim on one port until it is closed.

    ``bound`` is bound to the port and does not listen, with ``SO_REUSEADDR``: the kernel gives the port to nobody who
    takes any, for whatever connection, and still lets a server listen there that asks for it by number and sets the
    same option, as servers do (socket(7)). Another quickstart would, too; ``name``, an abstract unix socket (unix(7)),
    tells it that the port has somebody. Both are gone with their process and leave no file.
    """

    def __init__(self, bound: socket.socket, name: socket.socket) -> None:
        self.port: int = bound.getsockname()[1]
        self._sockets = (bound, name)

    def close(self) -> None:
        """Let go of the port."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def claim(port: int = 0) -> Claim | None:
    """Claim ``port``, 0 for one of the kernel's choice; ``None`` when a server or a claim is there, or it is root's."""
    bound, name = socket.socket(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
        name.bind(f"\0hpcsec-quickstart-port-{bound.getsockname()[1]}")
    except OSError as exc:
        bound.close()
        name.close()
        if exc.errno in {errno.EADDRINUSE, errno.EACCES}:
            return None
        raise
    return Claim(bound, name)


def claim_any() -> Claim:
    """Claim a port of the kernel's choice; ``Refused`` when there is none."""
    found = claim()
    if found is None:
        raise Refused("port.none", f"No port of {LOOPBACK} is free.")
    return found


def public_port(wanted: int | None, default: int) -> Claim:
    """Claim ``wanted``, or ``Refused`` when taken; else ``default`` if free, or any free port."""
    if wanted is None:
        return claim(default) or claim_any()
    found = claim(wanted)
    if found is None:
        raise Refused("port.taken", f"Port {wanted} is in use or not allowed: choose another with --port.")
    return found
