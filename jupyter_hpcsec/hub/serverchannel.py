"""How the notebook server tells the agent what happens in it: packets over a unix socket of the private directory.

One connection is taken, from the server's own process by the kernel's word (``SO_PEERCRED``): kernels and terminals
are other processes, and can neither trace the server nor read its descriptors (``access.nested``). What comes is told
as the server's word. While the spool fills up nothing more is read, so that the server counts its losses itself, and
room is left for what the agent has to tell.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Union

import msgspec

from jupyter_hpcsec.audit.events import Told
from jupyter_hpcsec.audit.kinds import TELLABLE
from jupyter_hpcsec.audit.kinds.node import AGENTS_OWN
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.messages import Seen
from jupyter_hpcsec.tunnel.peer import bind_unix, peer_credentials

PACKET_LIMIT = 56 << 10
"""Bytes of one event: what goes into a message to the gateway."""

_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(
    Union[tuple(kind for kind in TELLABLE.values() if kind not in AGENTS_OWN)]  # noqa: UP007 - computed
)

_seen: msgspec.json.Decoder[Seen] = msgspec.json.Decoder(Seen)
SEEN = b'{"type":"seen"'
"""How a packet begins that is no event: what the GPU watch sees, to be passed on and not recorded."""


class ServerChannel:
    """Listens from its making on; ``hear`` serves. ``take`` gets the server's events, ``malformed`` is told of others;
    ``room`` returns once more may be read. ``show`` gets what the GPU watch sees.
    """

    def __init__(
        self,
        path: Path,
        *,
        take: Callable[[Told], None],
        malformed: Callable[[], None],
        room: Callable[[], Awaitable[None]],
        log: logging.Logger,
        show: Callable[[Seen], None] = lambda seen: None,
    ) -> None:
        self._show = show
        self._path, self._take, self._malformed, self._room, self._log = path, take, malformed, room, log
        self._listener = bind_unix(path, kind=socket.SOCK_SEQPACKET)
        self.connected = asyncio.Event()

    async def hear(self, pid: int) -> None:
        """Take the connection of process ``pid`` and what it tells, until it ends."""
        connection = await self._accept(pid)
        self.connected.set()
        loop = asyncio.get_running_loop()
        with connection:
            while packet := await loop.sock_recv(connection, PACKET_LIMIT + 1):
                self._judge(packet)
                await self._room()

    async def _accept(self, pid: int) -> socket.socket:
        """The first connection of that process; the socket is gone when it is there."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(self._listener)
                connection.setblocking(False)
                with contextlib.suppress(Unavailable):
                    peer = peer_credentials(connection)
                    if peer.pid == pid:
                        return connection
                    self._log.warning("process %d is not the server: what it has to tell is not heard", peer.pid)
                connection.close()
        finally:
            self.close()

    def _judge(self, packet: bytes) -> None:
        try:
            if packet.startswith(SEEN):
                self._show(_seen.decode(packet[:PACKET_LIMIT]))
                return
            event = _decoder.decode(packet[:PACKET_LIMIT])  # one that is longer is cut, and no JSON
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            self._malformed()
        else:
            self._take(event)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
        self._path.unlink(missing_ok=True)
