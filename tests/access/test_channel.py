"""The plan's way to the sandbox: what is sent arrives, and nothing else is taken."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import channel
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Malformed

PLAN = unrestricted("alice", Bind.NONE)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


def memory(content: bytes, *, sealed: bool = True) -> int:
    if sealed:
        return channel._sealed("t", content)
    descriptor = os.memfd_create("t", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    return descriptor


@pytest.mark.parametrize(
    ("said", "contents", "sealed"),
    [
        ({"plan": True}, [], True),
        ({"plan": True}, [b"{}"], True),
        ({"plan": 1, "x": 2}, [b"{}", b""], True),
        ({"plan": True}, [b"{}", b""], True),
        ({"plan": True}, [channel.encode(PLAN), b""], False),
        ({"plan": True}, [b" " * (channel.SIZE_LIMIT + 1), b""], True),
    ],
)
def test_anything_else_is_refused(
    pair: tuple[socket.socket, socket.socket], said: dict[str, object], contents: list[bytes], sealed: bool
) -> None:
    descriptors = [memory(content, sealed=sealed) for content in contents]
    channel.say(pair[0], said, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    with pytest.raises(Malformed):
        channel.receive_plan(pair[1])


def test_a_file_is_no_sealed_plan(pair: tuple[socket.socket, socket.socket]) -> None:
    with Path("/etc/passwd").open("rb") as file:
        channel.say(pair[0], {"plan": True}, [file.fileno(), file.fileno()])
        with pytest.raises(Malformed, match="no sealed plan"):
            channel.receive_plan(pair[1])


def test_what_is_sent_arrives(pair: tuple[socket.socket, socket.socket]) -> None:
    environment = {"A": "1", "EMPTY": "", "ODD": "a=b\nc", "BYTES": os.fsdecode(b"\xff\xfe"), "": "no", "X=Y": "no"}
    channel.send_plan(pair[0], PLAN, environment)
    plan, variables = channel.receive_plan(pair[1])
    assert plan == PLAN
    assert variables == {name: value for name, value in environment.items() if name not in {"", "X=Y"}}


def test_no_descriptor_is_left(pair: tuple[socket.socket, socket.socket]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    channel.send_plan(pair[0], PLAN, {})
    channel.receive_plan(pair[1])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
