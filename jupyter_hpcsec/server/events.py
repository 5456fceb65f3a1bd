"""What happens in the server, told to the session's agent, who has it recorded as the server's word (``trust: node``).

``tell`` is for all parts of the extension. It never blocks and never raises: events wait in a short queue, which a
thread empties into the agent's socket; what finds no room is counted, and the count is told.
"""

import contextlib
import os
import socket
import threading
from collections import Counter, deque
from pathlib import Path

import msgspec

from jupyter_hpcsec.audit.events import Told, kind_of
from jupyter_hpcsec.audit.kinds.node import NodeLost
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from jupyter_hpcsec.tunnel.messages import Seen

SOCKET = "events.sock"
"""Beside the file that ``SESSION_VARIABLE`` names."""
QUEUE = 1000
"""Events that wait."""


class Events:
    """A queue and the thread that empties it into ``connection``, one packet an event."""

    def __init__(self, connection: socket.socket, most: int = QUEUE) -> None:
        self._connection, self._most = connection, most
        self._queue: deque[Told] = deque()
        self._lost: Counter[str] = Counter()
        self._seen: Seen | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._send_all, name="hpcsec-events", daemon=True)
        self._thread.start()

    def tell(self, event: Told) -> None:
        """Have it told."""
        with self._changed:
            if len(self._queue) >= self._most:
                self._lost[kind_of(event)] += 1
            else:
                self._queue.append(event)
            self._changed.notify()

    def show(self, seen: Seen) -> None:
        """Have the gateway see it; a later one replaces it."""
        with self._changed:
            self._seen = seen
            self._changed.notify()

    def _next(self) -> Told | Seen:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._lost or self._seen)
            if self._seen is not None:
                seen, self._seen = self._seen, None
                return seen
            if self._lost:
                kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._lost.items()))
                lost, self._lost = self._lost.total(), Counter()
                return NodeLost(lost=lost, kinds=kinds)
            return self._queue.popleft()

    def _send_all(self) -> None:
        with self._connection, contextlib.suppress(OSError):  # the agent is gone, and the server goes with it
            while True:
                self._connection.send(msgspec.json.encode(self._next()))


_events: Events | None = None


def connect() -> bool:
    """Begin to tell; False, and nothing is told, where no agent listens, as in a server that no session started."""
    global _events  # noqa: PLW0603 - one process is one server
    path = os.environ.get(SESSION_VARIABLE)
    if _events is None and path:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(Path(path).resolve().parent / SOCKET))
        except OSError:
            connection.close()
        else:
            _events = Events(connection)
    return _events is not None


def tell(event: Told) -> None:
    """Have an event recorded as this server's word. Never blocks, never raises; may be called from any thread."""
    if _events is not None:
        _events.tell(event)


def show(seen: Seen) -> None:
    """Have the gateway see what the GPU watch sees; it is compared and counted, and not recorded."""
    if _events is not None:
        _events.show(seen)
