"""How a plan reaches the process that will apply it: as sealed memory over a socket, seen on no command line.

The sandbox's process starts with an empty environment, so that no variable of the user's has a say before it is on;
the program's environment comes with the plan. Parsed here, decided elsewhere.
"""

import fcntl
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from jupyter_hpcsec.access.values import SIZE_LIMIT, Plan, decode_plan, encode
from jupyter_hpcsec.errors import Malformed

PACKET_LIMIT = 64 * 1024
"""Bytes of one packet on the channel."""

ENVIRONMENT_LIMIT = 8 * 1024 * 1024
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def say(channel: socket.socket, said: Mapping[str, Any], descriptors: list[int] | None = None) -> None:
    """One packet: a JSON object, and descriptors."""
    socket.send_fds(channel, [json.dumps(said).encode()[:PACKET_LIMIT]], descriptors or [])


def send_plan(channel: socket.socket, plan: Plan, environment: Mapping[str, str]) -> None:
    """Hand over what shall be applied, and the environment of the program."""
    variables = b"".join(
        os.fsencode(f"{name}={value}") + b"\0" for name, value in environment.items() if name and "=" not in name
    )
    descriptors = [_sealed("hpcsec-plan", encode(plan)), _sealed("hpcsec-environment", variables)]
    try:
        say(channel, {"plan": True}, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def receive_plan(channel: socket.socket) -> tuple[Plan, dict[str, str]]:
    """What ``send_plan`` sent; ``Malformed`` for anything else."""
    packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_LIMIT, 2, socket.MSG_CMSG_CLOEXEC)
    try:
        if len(descriptors) != 2 or json.loads(packet or b"{}") != {"plan": True}:
            raise Malformed("The sandbox got no plan; agent and sandbox differ in version.")
        plan = decode_plan(_read(descriptors[0], SIZE_LIMIT))
        variables = os.fsdecode(_read(descriptors[1], ENVIRONMENT_LIMIT)).split("\0")[:-1]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return plan, dict(variable.split("=", 1) for variable in variables)


def _sealed(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    return descriptor


def _read(descriptor: int, limit: int) -> bytes:
    """All of a sealed memory file: what is read once can't change between two looks."""
    try:
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:
        sealed = False
    size = os.fstat(descriptor).st_size
    if not sealed or size > limit:
        raise Malformed("The sandbox got something that is no sealed plan.")
    return os.pread(descriptor, size, 0)
