"""The gateway's end of one session: its unix socket, its lanes, and which connection goes over which lane.

A connection that the proxy makes to the session's socket takes an idle lane; where none is idle it waits, and more
lanes are asked for. It decides nothing about identity: lanes are handed to it by the gateway, which has checked them.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection
from pathlib import Path

from jupyter_hpcsec.audit.kinds.connections import LaneClosed, LaneOpened, LaneRefused, SocketRefused
from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import HpcsecError, Refused
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.hop import keep_connection
from jupyter_hpcsec.tunnel.lane import Lane
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.observer import UNOBSERVED, Observer
from jupyter_hpcsec.tunnel.peer import bind_unix, peer_credentials
from jupyter_hpcsec.tunnel.sorry import sorry
from jupyter_hpcsec.tunnel.stream import Side, StreamState
from jupyter_hpcsec.tunnel.tap import Tap

ACCEPTS_AT_ONCE = 32
BACKLOG = 1024
"""Connections that the kernel holds until they are accepted: connecting to a full unix socket fails at once."""
PAUSE_S = 0.2
"""How long the socket rests when the process has no descriptor left: its readiness would otherwise be a busy loop."""
GROWN = 1 << 20
"""Bytes after which an idle lane is replaced: OpenSSL's memory buffers grow with bulk and never shrink."""
HUB_API_STREAMS = 8
"""Streams to the Hub API that one session may have open at once; their lanes come on top of ``lanes_per_session``."""


class SessionPort:
    """One session's socket and lanes.

    ``serve_hub_api(sock)`` serves HTTP to the node on one end of a socket pair; ``demand(total)`` asks the agent to
    hold so many lanes; ``tap()`` makes the tap of one stream.
    """

    def __init__(
        self,
        session: str,
        path: Path,
        *,
        limits: Limits,
        pool: BufferPool,
        counters: Counters,
        allowed_uids: Collection[int],
        serve_hub_api: Callable[[socket.socket], None],
        demand: Callable[[int], None],
        log: logging.Logger,
        observer: Observer = UNOBSERVED,
        tap: Callable[[], Tap] | None = None,
    ) -> None:
        self._observer, self._tap = observer, tap
        self.session, self.path = session, path
        self._limits, self._pool, self._counters, self._allowed_uids = limits, pool, counters, allowed_uids
        self._serve_hub_api, self._demand, self._log = serve_hub_api, demand, log
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._idle: list[Lane] = []
        self._lanes: set[Lane] = set()
        self._dialled_by_agent: set[Lane] = set()
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._asked = 0
        self._last_used = self._loop.time() - limits.quiet_after_s  # until it is used it is quiet: one lane will do
        self.bytes_in = self.bytes_out = self.streams = 0

    # The socket

    def listen(self, group: int | None) -> None:
        """Make the session's socket, 0600 or 0660 for a group; the proxy may connect from now on."""
        listener = bind_unix(self.path, mode=0o600 if group is None else 0o660, group=group, backlog=BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                plain, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                self._rest(exc)
                return
            plain.setblocking(False)
            try:
                self._admit(plain)
            except HpcsecError as refusal:
                plain.close()
                rule = refusal.rule if isinstance(refusal, Refused) else "socket.peer"
                self._counters.count(rule)
                self._log.warning("session %s: refused a connection: %s", self.session, refusal)
                event = SocketRefused(session=self.session, decision="refused", rule=rule, reason=refusal.reason)
                self._observer.note(event)

    def _rest(self, error: OSError) -> None:
        self._counters.count("socket.accept")
        self._log.error("session %s: can't accept a connection for now: %s", self.session, error)
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _admit(self, plain: socket.socket) -> None:
        """One connection of the proxy. Steps: 1 who is it; 2 an idle lane; 3 else wait, if not too many do."""
        peer = peer_credentials(plain)
        if peer.uid not in self._allowed_uids:
            raise Refused("socket.peer", f"uid {peer.uid} (pid {peer.pid}) may not use this session's socket")
        self._last_used = self._loop.time()
        self.streams += 1
        if self._idle:
            self._open(self._idle.pop(), plain)
            self._ask()
        elif len(self._waiting) < self._limits.waiting_connections:
            self._waiting[plain] = self._loop.call_later(self._limits.wait_for_lane_s, self._give_up, plain)
            self._ask()
        else:
            self._turn_away(plain, "socket.too-many", "too many connections wait for this session; try again soon")

    def _open(self, lane: Lane, plain: socket.socket) -> None:
        lane.open("server", plain, keep_connection, self._tap() if self._tap else None)

    def _give_up(self, plain: socket.socket) -> None:
        """The connection has waited long enough."""
        del self._waiting[plain]
        sentence = (
            "This session's compute node is not connected now. The page will work again when it is back; running "
            "computations go on meanwhile."
        )
        self._turn_away(plain, "socket.no-lane", sentence)

    def _turn_away(self, plain: socket.socket, rule: str, sentence: str) -> None:
        self._counters.count(rule)
        request = b""
        with contextlib.suppress(OSError):  # what was sent before the answer, if anything: unread, it would be a reset
            request = plain.recv(64 * 1024)
        with contextlib.suppress(OSError):  # the reader may be gone already; it is told if it is there
            plain.send(sorry(sentence, request))
        plain.close()

    # Lanes

    def add_lane(self, tls: TlsConnection) -> None:
        """A checked lane of this session's agent; its first frame says whose streams it is for."""
        if len(self._lanes) >= self._limits.lanes_per_session + HUB_API_STREAMS:
            raise Refused("lane.too-many", f"the session has {len(self._lanes)} lanes, which is its limit")
        state = StreamState(local=Side.IDLE, remote=Side.NEW)
        self._lanes.add(Lane(tls, loop=self._loop, owner=self, pool=self._pool, state=state))
        self._observer.note(LaneOpened(session=self.session, decision="allowed"))

    def lane_idle(self, lane: Lane) -> None:
        """LaneOwner: hand the lane to a connection that waits, or keep it."""
        if lane in self._dialled_by_agent:
            lane.close("its one stream is over")
        elif self._waiting:
            plain = next(iter(self._waiting))  # the one that waited longest
            self._waiting.pop(plain).cancel()
            self._open(lane, plain)
        else:
            self._idle.append(lane)

    def lane_opened(self, lane: Lane, target: str) -> None:
        """LaneOwner: the agent asks for something on the hub host; there is one thing that it may have."""
        if lane in self._idle:
            self._counters.count("lane.direction")
            self._log.warning("session %s: refused a stream on a lane that is ours [lane.direction]", self.session)
            self._tell_refused("lane.direction", "the node opened a stream on a lane that is there for ours")
            lane.close("the agent opened a stream on a lane that is there for ours")
        elif target != "hub-api":
            self._counters.count("lane.target")
            self._log.warning("session %s: refused target %r from the node [lane.target]", self.session, target)
            self._tell_refused("lane.target", f"the node asked for {target!r}")
            lane.refuse("no such target")
        elif len(self._dialled_by_agent) >= HUB_API_STREAMS:
            self._counters.count("lane.hub-api-streams")
            self._tell_refused("lane.hub-api-streams", "too many streams to the Hub API at once")
            lane.refuse("too many hub-api streams")
        else:
            self._open_hub_api(lane)

    def _tell_refused(self, rule: str, reason: str) -> None:
        self._observer.note(LaneRefused(session=self.session, decision="refused", rule=rule, reason=reason))

    def _open_hub_api(self, lane: Lane) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:
            self._counters.count("lane.no-descriptor")
            self._log.error("session %s: no Hub API stream for now: %s [lane.no-descriptor]", self.session, exc)
            lane.refuse("no descriptor left")
            return
        self._dialled_by_agent.add(lane)
        ours.setblocking(False)
        theirs.setblocking(False)
        lane.attach(ours)
        self._serve_hub_api(theirs)

    def lane_closed(self, lane: Lane, reason: str) -> None:
        """LaneOwner: forget the lane."""
        self._lanes.discard(lane)
        self._dialled_by_agent.discard(lane)
        if lane in self._idle:
            self._idle.remove(lane)
        self.bytes_in += lane.bytes_in
        self.bytes_out += lane.bytes_out
        self._observer.note(
            LaneClosed(
                session=self.session,
                rule="lane.malformed" if lane.is_faulty else "",
                reason=reason,
                bytes_from_node=lane.bytes_in,
                bytes_to_node=lane.bytes_out,
            )
        )
        if lane.is_faulty:
            self._counters.count("lane.malformed")
            self._log.warning(
                "session %s: cut a lane that broke the protocol: %s [lane.malformed]", self.session, reason
            )
        else:
            self._log.debug("session %s: lane closed: %s", self.session, reason)

    def _wanted(self) -> int:
        """Lanes that the agent should hold for our streams: the busy ones, those waited for, and some ahead."""
        busy = len(self._lanes) - len(self._idle) - len(self._dialled_by_agent)
        quiet = self._loop.time() - self._last_used >= self._limits.quiet_after_s
        ahead = 1 if quiet else max(self._limits.idle_lanes, min(8, (busy + len(self._waiting)) // 2))
        return min(busy + len(self._waiting) + ahead, self._limits.lanes_per_session)

    def _ask(self) -> None:
        wanted = self._wanted()
        if wanted > self._asked:
            self._asked = wanted
            self._demand(wanted)

    def connected(self) -> None:
        """The control connection stands (again): say anew how many lanes are wanted."""
        self._asked = 0
        self._ask()

    def sweep(self) -> None:
        """Now and then: let surplus lanes go, and cut streams that have been silent for too long."""
        now = self._loop.time()
        for lane in [lane for lane in self._lanes if now - lane.last_active > self._limits.stream_idle_s]:
            if not lane.is_idle:
                self._counters.count("lane.stream-idle")
                lane.close("no byte passed for too long")
        wanted = self._wanted()
        if wanted < self._asked:
            self._asked = wanted
            self._demand(wanted)
        for lane in [lane for lane in self._idle if lane.bytes_in + lane.bytes_out > GROWN]:
            lane.close("its buffers have grown; a fresh one takes its place")
        while self._idle and len(self._lanes) - len(self._dialled_by_agent) > wanted:
            self._idle[0].close("not needed now")

    # The end

    def facts(self) -> dict[str, int]:
        """Counts for people: lanes, of them idle, connections waiting, streams and bytes so far."""
        return {
            "lanes": len(self._lanes),
            "idle_lanes": len(self._idle),
            "waiting": len(self._waiting),
            "streams": self.streams,
            "bytes_from_node": self.bytes_in + sum(lane.bytes_in for lane in self._lanes),
            "bytes_to_node": self.bytes_out + sum(lane.bytes_out for lane in self._lanes),
        }

    def cut(self, reason: str) -> None:
        """Close every lane now, and with them every stream."""
        for lane in list(self._lanes):
            lane.close(reason)

    def close(self, reason: str) -> None:
        """Cut everything, stop listening, and take the socket away."""
        self.cut(reason)
        for plain, timer in self._waiting.items():
            timer.cancel()
            self._turn_away(plain, "socket.ended", f"This session is over: {reason}")
        self._waiting.clear()
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            try:
                self.path.unlink(missing_ok=True)
            except OSError as exc:  # nobody listens on it any more: an ugly name, not an open door
                self._log.warning("session %s: can't remove %s: %s", self.session, self.path, exc)
