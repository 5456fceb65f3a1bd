"""The sessions that live in this gateway: their ports, their control connections, their progress, and their end.

The store remembers sessions across a restart; the registry holds what only a running gateway has. Ending a session is
here, in one place: first on disk, then at the sockets.
"""

import asyncio
import contextlib
import functools
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit.kinds.connections import HubApiRefused
from jupyter_hpcsec.audit.kinds.node import SessionHeard, SessionSilent
from jupyter_hpcsec.audit.kinds.sessions import SessionCut, SessionEnded, SessionState
from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.control import ControlConnection
from jupyter_hpcsec.tunnel.ear import Ear, SessionVoice
from jupyter_hpcsec.tunnel.endings import Endings
from jupyter_hpcsec.tunnel.hubapi import HubApiProxy, HubUpstream
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.messages import Events, Lanes, Stale
from jupyter_hpcsec.tunnel.observer import UNOBSERVED, Observer
from jupyter_hpcsec.tunnel.private import passable_directory
from jupyter_hpcsec.tunnel.session import By, Progress, Session, State
from jupyter_hpcsec.tunnel.session_port import SessionPort
from jupyter_hpcsec.tunnel.silence import Silence, totals
from jupyter_hpcsec.tunnel.store import Store
from jupyter_hpcsec.tunnel.tap import Tap
from jupyter_hpcsec.tunnel.visits import Visits

MAX_PROGRESS = 64
"""Progress entries kept for one session."""
TOTALS = ("streams", "bytes_from_node", "bytes_to_node")
"""What is counted on when a session ends."""
FRESH = Stale()
"""A session whose rules are the policy's; one value for all of them, for there are many."""


class Live:
    """What the running gateway holds for one session beside the store's row.

    ``owner`` is (user, server); ``ends_at`` the session's end and ``not_after`` that of its certificate, Unix seconds.
    """

    __slots__ = (
        "changed",
        "control",
        "ear",
        "ends_at",
        "hub_api",
        "not_after",
        "owner",
        "port",
        "progress",
        "sequence",
        "silence",
        "stale",
        "state",
    )

    def __init__(self, session: Session, port: SessionPort) -> None:
        self.port, self.state = port, session.state
        self.owner, self.ends_at = (session.user, session.server), session.ends_at
        self.control: ControlConnection | None = None
        self.hub_api: HubApiProxy | None = None
        self.progress: list[Progress] = []
        self.sequence = 0
        self.changed: asyncio.Event | None = None
        self.not_after = 0
        self.stale = FRESH
        self.ear: Ear | None = None
        self.silence: Silence | None = None


class Registry:
    """All live sessions. ``clock`` gives Unix seconds."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        store: Store,
        counters: Counters,
        log: logging.Logger,
        clock: Callable[[], float],
        observer: Observer = UNOBSERVED,
        tap: Callable[[Session], Tap] | None = None,
    ) -> None:
        self.observer, self._tap = observer, tap
        self._settings, self.store, self._counters, self._log, self._clock = settings, store, counters, log, clock
        self._hub = HubUpstream(settings.hub_api_url)
        self._pool = BufferPool()
        self._live: dict[str, Live] = {}
        self._unrecorded: dict[str, str] = {}
        self._past: Counter[str] = Counter()
        self.endings = Endings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock())

    def __len__(self) -> int:
        return len(self._live)

    def get(self, session_id: str) -> Live | None:
        """The live half of a session, None for one that is not here."""
        return self._live.get(session_id)

    def socket_path(self, session_id: str) -> Path:
        """Where the proxy finds a session."""
        return self._settings.run_directory / "s" / f"{session_id}.sock"

    # Begin

    def take_back(self) -> None:
        """Make ports for the sessions of an earlier gateway; their agents will dial."""
        passable_directory(self.socket_path("").parent)
        for session in self.store.active():
            self._open_port(session)
            if session.state not in (State.WAITING, State.AWAY):
                self.store.set_state(session.id, State.AWAY)
                self._live[session.id].state = State.AWAY
            if session.state is not State.WAITING:
                self.watch(self._live[session.id])
            self._log.info("session %s of %s taken back", session.id, session.user)
            reason = "taken back by a gateway that started anew"
            self.observer.note(SessionState(session=session.id, state=State.AWAY, reason=reason))

    def add(self, session: Session, launch: Mapping[str, Any]) -> None:
        """Take a new waiting session; an older one of the same server ends."""
        for old in [known for known, live in self._live.items() if live.owner == (session.user, session.server)]:
            self.finish(old, "the server was started anew")
        self.store.add(session, launch)
        try:
            self._open_port(session)
        except HpcsecError:
            self.finish(session.id, "its socket could not be made")
            raise

    def _open_port(self, session: Session) -> None:
        settings = self._settings
        port = SessionPort(
            session.id,
            self.socket_path(session.id),
            limits=settings.limits,
            pool=self._pool,
            counters=self._counters,
            allowed_uids=settings.allowed_uids | settings.proxy_uids,
            serve_hub_api=lambda sock: self._serve_hub_api(session, sock),
            demand=lambda total: self._demand(session.id, total),
            log=self._log,
            observer=self.observer,
            tap=functools.partial(self._tap, session) if self._tap else None,
        )
        self._live[session.id] = Live(session, port)
        port.listen(settings.socket_gid)

    def _serve_hub_api(self, session: Session, sock: socket.socket) -> None:
        live = self._live[session.id]
        if live.hub_api is None:  # made when first needed: most of a session's life it is not
            live.hub_api = HubApiProxy(
                self._hub,
                user=session.user,
                server=session.server,
                base_path=f"{self._settings.hub_base_url.rstrip('/')}/hub/api",
                counters=self._counters,
                log=self._log,
                refused=lambda error: self._tell_hub_api(session.id, error),
                identified=Visits(session.id, session.user, self.observer, self._loop.time).answered,
            )
        live.hub_api.serve(sock)

    def _tell_hub_api(self, session_id: str, error: Refused) -> None:
        event = HubApiRefused(session=session_id, decision="refused", rule=error.rule, reason=error.reason)
        self.observer.note(event)

    def _demand(self, session_id: str, total: int) -> None:
        live = self._live.get(session_id)
        if live and live.control and live.control.is_welcome:  # one that is not asks anew once it is
            self._spawn(live.control.send_or_close(Lanes(total=total)))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # In between

    def move(self, session_id: str, state: State, message: str) -> None:
        """An enrolled session is in this state now."""
        self.store.set_state(session_id, state)
        self.note(session_id, state, message)

    def extend(self, session_id: str, ends_at: int) -> None:
        """The session's job was given more time."""
        self.store.extend(session_id, ends_at)
        live = self._live.get(session_id)
        if live:
            live.ends_at = max(live.ends_at, ends_at)

    def note(self, session_id: str, state: State, message: str) -> None:
        """Add a line to what the spawn page shows."""
        live = self._live.get(session_id)
        if live is None:
            return
        live.state = state
        live.sequence += 1
        live.progress.append(Progress(live.sequence, self.now(), state.value, message))
        del live.progress[:-MAX_PROGRESS]
        if live.changed:
            live.changed.set()

    # What the node tells

    def watch(self, live: Live) -> None:
        """From now on the session's totals are on record now and then, and its node's silence."""
        live.silence = live.silence or Silence(self._loop.time())

    def hear(self, session_id: str, control: ControlConnection, message: Events, source: str) -> None:
        """Take a batch of a node's events; it is answered on ``control`` once it is on record. ``Refused``."""
        live = self._live.get(session_id)
        if live is None:
            return
        if live.ear is None:
            live.ear = Ear(
                SessionVoice(session_id),
                memory=self.store,
                observer=self.observer,
                counters=self._counters,
                clock=self._loop.time,
            )
        live.ear.admit(message)
        self._spawn(self._answer(session_id, live, control, message, source))

    async def _answer(
        self, session_id: str, live: Live, control: ControlConnection, message: Events, source: str
    ) -> None:
        if live.ear is None:
            raise TypeError("BUG: events that nobody hears")
        before = live.ear.seq
        answer = await live.ear.take(message, source)
        if live.silence and live.ear.seq != before and (silence := live.silence.heard(self._loop.time())):
            self.observer.note(SessionHeard(session=session_id, seconds=round(silence)))
        await control.send_or_close(answer)

    def _look_after(self, session_id: str, live: Live) -> None:
        """Totals, and silence, where it is time for them."""
        if live.silence is None:
            return
        total, silence = live.silence.due(self._loop.time())
        if total:
            told = live.ear.seq if live.ear else 0
            self.observer.note(totals(session_id, live.port.facts(), connected=live.control is not None, told=told))
        if silence:
            reason = "the node has told nothing for a while: what happens there is not told"
            self.observer.note(SessionSilent(session=session_id, seconds=round(silence), reason=reason))

    async def wait(self, session_id: str, after: int, timeout_s: float) -> list[Progress]:
        """Progress entries after number ``after``; waits up to ``timeout_s`` for the first."""
        live = self._live.get(session_id)
        if live and live.sequence <= after:
            live.changed = live.changed or asyncio.Event()
            live.changed.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await live.changed.wait()
            except TimeoutError:
                return []
            live = self._live.get(session_id)
        if live is None:
            return [Progress(after + 1, self.now(), State.ENDED.value, self._known(session_id).reason)]
        return [entry for entry in live.progress if entry.seq > after]

    def _known(self, session_id: str) -> Session:
        session = self.store.get(session_id)
        if session is None:
            raise Refused("session.unknown", "there is no such session")
        return session

    def facts(self, session_id: str) -> dict[str, Any]:
        """One session for people: its fields, whether its agent is connected, its counts."""
        live = self._live.get(session_id)
        more = live.port.facts() if live else {"ended_by": self.endings.by(session_id)}
        return {**asdict(self._known(session_id)), "connected": bool(live and live.control), **more}

    def states(self) -> Counter[State]:
        """How many sessions are in which state; ended ones are none."""
        return Counter(live.state for live in self._live.values())

    def totals(self) -> Counter[str]:
        """What all ports count, together; streams and bytes since this gateway's start, those of ended sessions too."""
        found = Counter(self._past)
        for live in self._live.values():  # there may be many: no update(), which costs more than the sums
            found["connected"] += live.control is not None
            for name, count in live.port.facts().items():
                found[name] += count
        return found

    def sweep(self) -> None:
        """Surplus lanes, silent streams, certificates that ran out, sessions whose time is over."""
        for session_id, live in list(self._live.items()):
            self._sweep_one(session_id, live)
        for session_id, reason in list(self._unrecorded.items()):
            with contextlib.suppress(Unavailable):  # said when it happened; the next sweep tries again
                self._record_end(session_id, reason)

    def _sweep_one(self, session_id: str, live: Live) -> None:
        now = self.now()
        if now > live.ends_at:
            try:
                self.finish(session_id, "the job's time is over")
            except Unavailable as error:  # it is cut; one session's trouble must not keep the others from being swept
                self._log.error("session %s: %s", session_id, error)
            return
        self._look_after(session_id, live)
        live.port.sweep()
        if live.not_after and now > live.not_after:
            live.port.cut("the certificate expired")
            if live.control:
                live.control.close()

    def tell_stale(self, session_id: str, stale: Stale) -> None:
        """Let a session's agent know that its rules have changed, now or when it comes back."""
        live = self._live.get(session_id)
        if live is None:
            return
        live.stale = stale
        if live.control and live.control.is_welcome:  # one that is not hears it with its welcome
            self._spawn(live.control.send_or_close(stale))

    # End

    def cut(self, session_id: str, reason: str) -> None:
        """Cut what is open; the agent dials fresh lanes."""
        live = self._live.get(session_id)
        if live is None:
            raise Refused("session.unknown", "there is no such session, or it has ended")
        self._log.info("session %s: connections cut: %s", session_id, reason)
        self.observer.note(SessionCut(session=session_id, reason=reason))
        live.port.cut(reason)

    def finish(self, session_id: str, reason: str, by: By = "gateway") -> None:
        """Revoke and cut a session; nothing of it is accepted from here on. Steps: 1 on disk; 2 sockets; 3 tell.

        ``Unavailable`` when the disk does not take it: the session is cut all the same, this gateway lets nothing of it
        in again, and ``sweep`` tries the disk anew; only a gateway that starts before that would take it back.
        """
        try:
            self._record_end(session_id, reason)
        except Unavailable:
            self._unrecorded.setdefault(session_id, reason)
            self._log.error("session %s is cut, but its end is not on disk yet: %s", session_id, reason)
            raise
        finally:
            self._cut_off(session_id, reason, by)

    def _record_end(self, session_id: str, reason: str) -> None:
        self.store.end(session_id, reason, self.now())
        self._unrecorded.pop(session_id, None)

    def _cut_off(self, session_id: str, reason: str, by: By) -> None:
        live = self._live.pop(session_id, None)
        if live is None:
            return
        self._log.info("session %s of %s ended: %s", session_id, live.owner[0], reason)
        self.endings.add(session_id, reason, by)
        control, live.control = live.control, None
        live.port.close(reason)
        counts = live.port.facts()
        self._past.update({name: counts[name] for name in TOTALS})
        event = SessionEnded(
            session=session_id, reason=reason, streams=counts["streams"],
            bytes_from_node=counts["bytes_from_node"], bytes_to_node=counts["bytes_to_node"],
        )  # fmt: skip
        self.observer.note(event)
        if control:
            self._spawn(control.end(reason))
        if live.changed:
            live.changed.set()

    def close(self) -> None:
        """The gateway stops; sessions stay, and the next gateway takes them back."""
        for live in self._live.values():
            control, live.control = live.control, None
            if control:
                control.close()
            live.port.close("the gateway is restarting")
        for task in self._tasks:
            task.cancel()
