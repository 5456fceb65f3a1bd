"""The sandbox of a session's server: applied by the process that then becomes the server.

Run as ``python -I -m jupyter_hpcsec.access.sandbox CHANNEL PARENT LISTENERS -- PROGRAM…`` by whoever starts a session
(``hub.server_process``). It holds what can be held at the time: today that nothing of the session listens.

What it says to its parent goes over ``CHANNEL``, the number of an inherited seqpacket socket, one JSON object a packet:
``{"guard": true}`` with the filter's descriptor; ``{"receipt": {…}}`` with what is enforced, flat, each part tried
after it was applied; end of file when the program runs; ``{"error": "…"}`` instead, when it does not. Nothing is ever
skipped.
"""

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

from jupyter_hpcsec.access import landlock, seccomp
from jupyter_hpcsec.access.prctl import SET_PDEATHSIG, prctl
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable

PACKET_LIMIT = 4096
"""Bytes of one packet on the channel."""

CANNOT_START = 126
"""Exit status of a sandbox that did not come to run its program, as shells have it."""


class Listeners(StrEnum):
    """What of a session may listen on the network."""

    NONE = "none"
    UNSAFE_UDP = "unsafe-udp"
    """TCP is refused as with ``none``; UDP sockets are left alone (for sites whose resolver does not serve TCP)."""
    UNSAFE_ALLOW = "unsafe-allow"
    """Nothing is refused: every process on the cluster can reach what the session opens."""


def requirements(listeners: Listeners) -> None:
    """Say whether this computer can hold ``listeners``; ``Unavailable`` with what is missing and the way out."""
    if listeners is Listeners.UNSAFE_ALLOW:
        return
    try:
        landlock.check(landlock.NO_TCP_BIND, landlock.abi())
        seccomp.machine()
    except Unavailable as error:
        raise Unavailable(
            f"{error.reason} A session could open ports here, so it does not start. To accept that, the "
            f"admin sets c.HpcsecSpawnerMixin.listeners = '{Listeners.UNSAFE_ALLOW}' at the hub."
        ) from error


def arguments(channel: int, parent: int, listeners: Listeners, program: Sequence[str]) -> list[str]:
    """The arguments to Python that lead to ``main`` below."""
    return ["-I", "-m", __spec__.name, str(channel), str(parent), str(listeners), "--", *program]


def environment(base: Mapping[str, str], listeners: Listeners) -> dict[str, str]:
    """The program's environment: without UDP the resolver asks by TCP (resolv.conf(5), ``use-vc``)."""
    if listeners is not Listeners.NONE:
        return dict(base)
    return {**base, "RES_OPTIONS": f"{base.get('RES_OPTIONS', '')} use-vc".strip()}


def die_with(parent: int) -> None:
    """Be killed when the parent ends, also if it ended before this was asked for (prctl(2), ``PR_SET_PDEATHSIG``)."""
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise Unavailable("The session's agent ended while its server started.")


def apply(listeners: Listeners, channel: socket.socket) -> dict[str, str | int]:
    """Restrict this process for good and hand the filter's descriptor over; returns the receipt.

    1. Landlock: no TCP socket is bound. 2. seccomp: no other kind of socket is made, ``listen`` asks the guard.
    3. The canary: what was refused and what has to work, tried from inside.
    """
    receipt: dict[str, str | int] = {"listeners": str(listeners), "landlock_abi": landlock.abi()}
    if listeners is Listeners.UNSAFE_ALLOW:
        return receipt
    udp = listeners is Listeners.UNSAFE_UDP
    landlock.restrict_thread(landlock.NO_TCP_BIND)
    numbers = seccomp.machine()
    guard = seccomp.install(seccomp.assemble(seccomp.listen_filter(numbers, udp=udp)), numbers)
    socket.send_fds(channel, [json.dumps({"guard": True}).encode()], [guard])
    os.close(guard)
    return {
        **receipt,
        "landlock": str(landlock.NO_TCP_BIND),
        "seccomp": f"only unix sockets listen; sockets: unix, netlink, TCP{' and UDP' if udp else ''}",
        **{f"canary.{name}": outcome for name, outcome in canary(udp=udp).items()},
    }


def canary(*, udp: bool) -> dict[str, str]:
    """Try what was refused and what has to work, from inside; ``Unavailable`` if one did not go as it has to."""
    expected = {
        "tcp-bind": "refused",
        "tcp-listen": "refused",
        "tcp6-listen": "refused",
        "udp-socket": "allowed" if udp else "refused",
        "unix-listen": "allowed",
    }
    found = {
        "tcp-bind": _try(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 0)),
        "tcp-listen": _try(socket.AF_INET, socket.SOCK_STREAM, listen=True),
        "tcp6-listen": _try(socket.AF_INET6, socket.SOCK_STREAM, listen=True),
        "udp-socket": _try(socket.AF_INET, socket.SOCK_DGRAM),
        "unix-listen": _try(socket.AF_UNIX, socket.SOCK_STREAM, bind="", listen=True),  # the kernel picks a name
    }
    for name, outcome in expected.items():
        if found[name] != outcome and found[name] != "unsupported":
            raise Unavailable(f"The sandbox does not hold here: {name} was {found[name]}, not {outcome}.{_hint(name)}")
    return found


def _hint(name: str) -> str:
    if name == "unix-listen":
        return " The agent could not look into its own child: set kernel.yama.ptrace_scope to 0 or 1 on the node."
    return ""


def _try(family: int, kind: int, *, bind: tuple[str, int] | str | None = None, listen: bool = False) -> str:
    try:
        with socket.socket(family, kind) as tried:
            if bind is not None:
                tried.bind(bind)
            if listen:
                tried.listen(1)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.ENOSYS}:
            return "refused"
        if error.errno == errno.EAFNOSUPPORT:  # a kernel without IPv6
            return "unsupported"
        return f"neither refused nor allowed ({error.strerror})"
    return "allowed"


def main(argv: Sequence[str]) -> int:
    """Become the program, restricted; returns only if that failed, after saying why on the channel."""
    if len(argv) < 5 or argv[3] != "--":
        raise Malformed("sandbox: expected CHANNEL PARENT LISTENERS -- PROGRAM…")
    with socket.socket(fileno=int(argv[0])) as channel:
        os.set_inheritable(channel.fileno(), False)
        try:
            die_with(int(argv[1]))
            listeners = Listeners(argv[2])
            receipt = apply(listeners, channel)
            channel.send(json.dumps({"receipt": receipt}).encode())
            os.execvpe(argv[4], list(argv[4:]), environment(os.environ, listeners))  # noqa: S606 - without a shell, on purpose
        except (HpcsecError, OSError, ValueError) as error:
            channel.send(json.dumps({"error": _reason(error, argv[4])}).encode()[:PACKET_LIMIT])
    return CANNOT_START


def _reason(error: Exception, program: str) -> str:
    if isinstance(error, HpcsecError):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return f"{program} is not on this node; is the environment of the profile installed here?"
    return f"{program} could not be started: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
