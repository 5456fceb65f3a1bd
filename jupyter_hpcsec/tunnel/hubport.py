"""The node's end of the Hub API: a unix socket for the single-user server, whose connections each dial a lane.

A lane that is dialled here carries one stream, to ``hub-api``, and is closed after it. What may be asked there is the
gateway's decision (``hubrules.py``); here is only who may ask: processes of this uid, a few at a time.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from jupyter_hpcsec.errors import HpcsecError, Refused
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.lane import Lane
from jupyter_hpcsec.tunnel.limits import Cap
from jupyter_hpcsec.tunnel.peer import bind_unix, peer_credentials
from jupyter_hpcsec.tunnel.stream import Side, StreamState

AT_ONCE = 16
"""Connections at once, those whose lanes are being dialled included: the agent's descriptors are few."""
PAUSE_S = 0.2
"""How long the socket rests when the process has no descriptor left."""


class HubApiPort:
    """The socket at ``path``. ``dial()`` gives a handshaken lane connection, or raises ``HpcsecError``."""

    def __init__(
        self, path: Path, *, dial: Callable[[], Awaitable[TlsConnection]], pool: BufferPool, log: logging.Logger
    ) -> None:
        self._path, self._dial, self._pool, self._log = path, dial, pool, log
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._held = Cap(AT_ONCE)
        self._lanes: set[Lane] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Make the socket, 0600."""
        self._listener = bind_unix(self._path)
        self._watch()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._listener:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for task in self._tasks:
            task.cancel()
        for lane in list(self._lanes):
            lane.close("the session is over")

    def _watch(self) -> None:
        if self._listener:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            plain, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            self._log.error("the Hub API socket can't accept for now: %s", exc)
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(PAUSE_S, self._watch)
            return
        plain.setblocking(False)
        try:
            self._admit(plain, own=peer_credentials(self._listener).uid)
        except HpcsecError as refusal:
            plain.close()
            self._log.warning("refused a connection to the Hub API socket: %s", refusal)

    def _admit(self, plain: socket.socket, own: int) -> None:
        peer = peer_credentials(plain)
        if peer.uid != own:
            raise Refused("hub-api.peer", f"uid {peer.uid} (pid {peer.pid}) may not use this session's Hub API socket")
        if not self._held.acquire():
            raise Refused("hub-api.too-many", f"{AT_ONCE} connections are open, which is the limit")
        task = self._loop.create_task(self._carry(plain))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._carried(done, plain))

    async def _carry(self, plain: socket.socket) -> None:
        tls = await self._dial()
        state = StreamState(local=Side.NEW, remote=Side.IDLE)
        lane = Lane(tls, loop=self._loop, owner=self, pool=self._pool, state=state)
        self._lanes.add(lane)
        lane.open("hub-api", plain)

    def _carried(self, task: "asyncio.Task[None]", plain: socket.socket) -> None:
        """The lane has the connection, or there is none."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is None:
            return
        plain.close()
        self._held.release()
        if not task.cancelled():
            self._log.warning("the Hub API can't be reached: %s", task.exception())

    # LaneOwner

    def lane_idle(self, lane: Lane) -> None:
        """The lane had its one stream."""
        lane.close("its one stream is over")

    def lane_opened(self, lane: Lane, target: str) -> None:
        """Not reached by a gateway that keeps to the protocol: these lanes are not there for its streams."""
        self._log.warning("refused a stream to %r on a lane for the Hub API", target)
        lane.refuse("no such target")

    def lane_closed(self, lane: Lane, reason: str) -> None:
        """Forget the lane."""
        self._log.debug("hub-api lane closed: %s", reason)
        self._lanes.discard(lane)
        self._held.release()
