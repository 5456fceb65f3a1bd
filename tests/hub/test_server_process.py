"""The server as a process: what its sandbox says is believed only in its one form; ending it is certain."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub import server_process
from jupyter_hpcsec.hub.processes import read_process
from jupyter_hpcsec.hub.server_process import ServerProcess, start_server

SAYS = "import socket, sys, json; channel = socket.socket(fileno=int(sys.argv[1])); "


async def start(*argv: str, **settings: object) -> ServerProcess:
    return await start_server(argv, dict(os.environ), plan=unrestricted("u", Bind.UNSAFE_ALLOW), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "error", "match"),
    [
        ("", Unavailable, "without a receipt"),
        ("channel.send(b'[]')", Malformed, "not understood"),
        ("channel.send(b'{\"receipt\": 1}')", Malformed, "not understood"),
        ("channel.send(b'{\"guard\": true}')", Malformed, "not understood"),
        ('channel.send(b\'{"error": "no"}\')', Unavailable, "no"),
        ("sys.stdin.read(); import time; time.sleep(600)", Unavailable, "not on after 0.5 s"),
    ],
)
async def test_a_sandbox_that_does_not_say_the_right_thing_is_ended(
    monkeypatch: pytest.MonkeyPatch, program: str, error: type[Exception], match: str
) -> None:
    started: list[int] = []
    monkeypatch.setattr(server_process, "arguments", lambda channel, parent, argv: ["-c", SAYS + program, str(channel)])
    original = ServerProcess.__init__
    monkeypatch.setattr(
        ServerProcess,
        "__init__",
        lambda self, process, loop: (started.append(process.pid), original(self, process, loop))[1],
    )
    with pytest.raises(error, match=match):
        await start("/bin/true", limit_s=0.5 if "0.5 s" in match else 30)
    assert read_process(started[0]) is None


async def test_exit_statuses_and_signals_are_told_apart() -> None:
    server = await start("/bin/sh", "-c", "exit 4")
    assert await server.wait() == 4
    assert await server.wait() == 4
    await server.terminate(grace_s=1)
    server.close()
    server = await start("/bin/sleep", "600")
    await server.terminate(grace_s=30)
    assert await server.wait() == -signal.SIGTERM
    server.close()


async def test_who_does_not_heed_sigterm_gets_sigkill(tmp_path: Path) -> None:
    server = await start("/bin/sh", "-c", f"trap '' TERM; echo > {tmp_path}/up; while :; do sleep 1; done")
    while not (tmp_path / "up").exists():
        await asyncio.sleep(0.02)
    await server.terminate(grace_s=0.2)
    assert await server.wait() == -signal.SIGKILL
    server.close()


async def test_the_server_has_its_own_session_no_input_and_no_descriptor_of_ours(tmp_path: Path) -> None:
    secret = os.memfd_create("secret", 0)
    os.set_inheritable(secret, True)
    program = (
        "import os, sys\n"
        "fds = sorted(os.listdir('/proc/self/fd'))\n"
        "facts = [os.getsid(0) == os.getpid(), sys.stdin.read(), fds, oct(os.umask(0))]\n"
        "open('out', 'w').write(repr(facts))"
    )
    server = await start(sys.executable, "-c", program, umask=0o027, cwd=tmp_path)
    assert await server.wait() == 0
    server.close()
    os.close(secret)
    # 0, 1, 2, and the directory that is listed
    assert (tmp_path / "out").read_text() == "[True, '', ['0', '1', '2', '3'], '0o27']"


async def test_starting_and_ending_leaks_no_descriptor() -> None:
    async def once() -> int:
        server = await start_server(["/bin/true"], dict(os.environ), plan=unrestricted("u", Bind.NONE))
        await server.wait()
        server.close()
        return len(list(Path("/proc/self/fd").iterdir()))

    first = await once()
    assert [await once() for _ in range(5)] == [first] * 5
