"""The single-user server as a process: started in its sandbox, watched, and ended with everything that it started.

The sandbox is applied by the new process itself (``access.sandbox``), before it becomes the server. This side takes
the filter's descriptor, answers for it (``access.guard``) as long as the session lives, and reads the receipt.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jupyter_hpcsec.access.channel import PACKET_LIMIT, send_plan
from jupyter_hpcsec.access.guard import ListenGuard
from jupyter_hpcsec.access.sandbox import arguments
from jupyter_hpcsec.access.values import Plan
from jupyter_hpcsec.errors import Malformed, Unavailable

SANDBOX_LIMIT_S = 60.0
"""Seconds until the sandbox must be on: a cold Python on a busy shared file system takes long to start."""


class ServerProcess:
    """A running server. ``receipt`` says what its sandbox enforces."""

    def __init__(self, process: "subprocess.Popen[bytes]", loop: asyncio.AbstractEventLoop) -> None:
        self._process, self._loop = process, loop
        self._guard: ListenGuard | None = None
        self._ended: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        self.receipt: dict[str, str | int] = {}
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the server itself is gone; what it started may still be there."""
        return self._ended.done()

    async def wait(self) -> int:
        """The server's exit status; negative, the signal that ended it."""
        return await asyncio.shield(self._ended)

    async def terminate(self, grace_s: float) -> None:
        """SIGTERM, so that it saves and shuts its kernels down; SIGKILL after ``grace_s`` seconds."""
        if self.has_ended:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            self._process.kill()
            await self.wait()

    def close(self) -> None:
        """Stop watching. The guard goes too: nothing inside can listen any more."""
        if not self.has_ended:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._drop_guard()

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set_result(self._process.wait())

    def watch_guard(self, notifications: int, on_refused: Callable[[int], None]) -> None:
        """Answer for the filter from now on."""
        self._guard = ListenGuard(notifications, on_refused=on_refused)
        self._loop.add_reader(notifications, self._on_listen)

    def _on_listen(self) -> None:
        if self._guard is not None and not self._guard.answer():
            self._drop_guard()

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._loop.remove_reader(self._guard.fileno())
            self._guard.close()
            self._guard = None


async def start_server(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    plan: Plan,
    umask: int = -1,
    cwd: Path | None = None,
    on_refused: Callable[[int], None] = lambda pid: None,
    limit_s: float = SANDBOX_LIMIT_S,
    interactive: bool = False,
) -> ServerProcess:
    """Start ``argv`` in the sandbox that ``plan`` describes and return once it runs as itself.

    ``umask`` is what the user's files get, -1 for this process's; ``on_refused`` gets the pid of each process that was
    refused to listen; ``interactive`` leaves the program this process's input and terminal. When the sandbox does not
    hold or the program can't be started, nothing runs: ``Unavailable``.
    """
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.setblocking(False)
    with near, far:
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec, milliseconds
            [sys.executable, *arguments(far.fileno(), os.getpid(), argv)],
            env={},  # the program's comes with the plan: no variable has a say before the sandbox is on
            cwd=cwd,
            umask=umask,
            stdin=None if interactive else subprocess.DEVNULL,
            pass_fds=[far.fileno()],
            start_new_session=not interactive,
        )
        far.close()
        server = ServerProcess(process, asyncio.get_running_loop())
        try:
            async with asyncio.timeout(limit_s):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended: what it said is read below
                    send_plan(near, plan, env)
                await _follow(near, server, on_refused)
        except BaseException as error:
            process.kill()
            await server.wait()
            server.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"The sandbox was not on after {limit_s:g} s; is the node or its disk busy?"
                ) from error
            raise
    return server


async def _follow(channel: socket.socket, server: ServerProcess, on_refused: Callable[[int], None]) -> None:
    """Read what the sandbox says until the program runs; see ``access.sandbox`` for the packets."""
    while True:
        packet, descriptors = await _receive(channel)
        if not packet:
            break
        said = json.loads(packet)
        match said:
            case {"guard": True} if len(descriptors) == 1:
                # what the canary is refused before the receipt comes is nobody's attempt
                server.watch_guard(descriptors[0], lambda pid: on_refused(pid) if server.receipt else None)
            case {"receipt": dict(receipt)}:
                server.receipt = receipt
            case {"error": str(reason)}:
                raise Unavailable(reason)
            case _:
                raise Malformed("The sandbox said something that is not understood.")
    if not server.receipt:
        raise Unavailable("The sandbox ended without a receipt; its own words are above in the job's log.")


async def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    loop = asyncio.get_running_loop()
    while True:
        # the kernel says once that the other end closed with something unread, then gives what it said before
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_LIMIT, 1, socket.MSG_CMSG_CLOEXEC)
            return packet, descriptors
        readable = loop.create_future()
        loop.add_reader(channel, readable.set_result, None)
        try:
            await readable
        finally:
            loop.remove_reader(channel)
