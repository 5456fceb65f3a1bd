"""The gateway: the hub host's end of every session.

It registers sessions for the spawner, lets their jobs enrol once, keeps their control connections and lanes, and ends
them. Who may do what is decided by the broker (identity) and remembered by the store; this module connects the two with
the sockets. Killing it kills no kernel: agents come back, and the store says who they are.
"""

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec import __version__
from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.admin import Registration
from jupyter_hpcsec.tunnel.control import ControlConnection
from jupyter_hpcsec.tunnel.front import FrontDoor
from jupyter_hpcsec.tunnel.hubapi import HubApiProxy
from jupyter_hpcsec.tunnel.lane import BufferPool
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.session import Progress, Session, State
from jupyter_hpcsec.tunnel.session_port import SessionPort
from jupyter_hpcsec.tunnel.store import Store
from jupyter_hpcsec.tunnel.tls import MessageStream

SWEEP_S = 5.0
PURGE_EVERY = 720
"""Sweeps between two clean-ups of the store: an hour."""
MAX_PROGRESS = 64
"""Progress entries kept for one session."""


@dataclass(frozen=True)
class Peer:
    """Who a client certificate (DER) belongs to. ``not_after`` is in Unix seconds."""

    session: str
    serial: str
    not_after: int
    certificate: bytes


class Broker(Protocol):
    """What the gateway asks of identity; ``hub.broker`` answers."""

    def context(self) -> ssl.SSLContext:
        """The TLS context for new connections."""

    def token(self, session: Session, now: int) -> str:
        """The job token of a session that has just been registered."""

    def authority(self) -> bytes:
        """The DER of the authority that a new job is to trust."""

    def identify(self, certificate: bytes, now: int) -> Peer:
        """Whose certificate this is; ``Refused`` if it is not a certificate of this deployment."""

    async def enrol(self, message: m.Enrol, address: str, now: int) -> m.Enrolled:
        """Run the steps of an enrolment; ``Refused`` names the one that failed, and nothing has changed."""

    def renew(self, peer: Peer, session: Session, request: bytes, now: int) -> m.Renewed:
        """The next certificate of an enrolled session."""

    def keys(self, now: int) -> list[dict[str, Any]]:
        """The keys, for people: no secret in it."""

    def rotate(self, kind: str, now: int) -> list[dict[str, Any]]:
        """Make a new current key of a kind, keep the old one for what it signed; the keys afterwards."""

    def status(self, now: int) -> dict[str, Any]:
        """Facts about keys and attestors for ``hpcsec doctor``."""


class Live:
    """What the running gateway holds for one session beside the store's row."""

    __slots__ = ("changed", "control", "not_after", "port", "progress", "sequence")

    def __init__(self, port: SessionPort) -> None:
        self.port = port
        self.control: ControlConnection | None = None
        self.progress: list[Progress] = []
        self.sequence = 0
        self.changed: asyncio.Event | None = None
        self.not_after = 0


class Gateway:
    """The gateway of one deployment. ``clock`` gives Unix seconds."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        store: Store,
        broker: Broker,
        counters: Counters,
        log: logging.Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._store, self._broker = settings, store, broker
        self._counters, self._log, self._clock = counters, log, clock
        self._pool = BufferPool()
        self._live: dict[str, Live] = {}
        self._front: FrontDoor | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    # Start and stop

    def start(self, front: Callable[..., FrontDoor]) -> None:
        """Take the sessions of an earlier gateway back, then open the port. ``front`` makes the front door."""
        for session in self._store.active():
            self._open_port(session)
            if session.state not in (State.WAITING, State.AWAY):
                self._store.set_state(session.id, State.AWAY)
            self._log.info("session %s of %s taken back", session.id, session.user)
        self._front = front(context=self._broker.context, handler=self._connected)
        self._front.open()
        self._sweeper = self._loop.create_task(self._sweep())

    @property
    def endpoints(self) -> list[str]:
        """What the port listens on."""
        return self._front.endpoints if self._front else []

    def close(self) -> None:
        """Stop serving. Sessions stay: a gateway that starts again takes them back."""
        if self._sweeper:
            self._sweeper.cancel()
        if self._front:
            self._front.close()
        for live in self._live.values():
            if live.control:
                live.control.close()
            live.port.close("the gateway is restarting", keep_path=False)
        for task in self._tasks:
            task.cancel()

    def _now(self) -> int:
        return int(self._clock())

    def _open_port(self, session: Session) -> Live:
        live = Live(self._make_port(session))
        self._live[session.id] = live
        live.port.listen(self._settings.socket_gid)
        return live

    def _make_port(self, session: Session) -> SessionPort:
        hub_api = HubApiProxy(
            self._settings.hub_api_url,
            self._settings.hub_base_url,
            session.user,
            session.server,
            self._counters,
            self._log,
        )
        return SessionPort(
            session.id,
            self.socket_path(session.id),
            limits=self._settings.limits,
            pool=self._pool,
            counters=self._counters,
            allowed_uids=self._settings.allowed_uids,
            serve_hub_api=hub_api.serve,
            demand=lambda total: self._demand(session.id, total),
            log=self._log,
        )

    def socket_path(self, session_id: str) -> Path:
        """Where the proxy finds a session."""
        return self._settings.run_directory / "s" / f"{session_id}.sock"

    # Connections from nodes

    async def _connected(self, protocol: str, tls: ssl.SSLSocket, address: str) -> None:
        """One handshaken connection: enrolments come without a certificate, everything else with one."""
        try:
            if protocol == m.ENROL:
                await self._enrol(MessageStream(tls), address)
            elif protocol == m.LANE:
                self._identified(tls)[1].port.add_lane(tls)
            else:
                await self._control(ControlConnection(tls), tls)
        except BaseException:
            tls.close()
            raise

    def _identified(self, tls: ssl.SSLSocket) -> tuple[Peer, Live]:
        """Steps: 1 a certificate; 2 of this deployment; 3 not revoked; 4 of a session that lives here."""
        certificate = tls.getpeercert(binary_form=True)
        if not certificate:
            raise Refused("lane.no-certificate", "a lane or control connection needs the job's certificate")
        peer = self._broker.identify(certificate, self._now())
        if self._store.is_revoked(peer.serial):
            raise Refused("lane.revoked", "the certificate was revoked")
        session, live = self._store.get(peer.session), self._live.get(peer.session)
        if session is None or live is None or session.state in (State.ENDED, State.WAITING):
            raise Refused("lane.no-session", "the certificate's session is not one that runs")
        live.not_after = max(live.not_after, peer.not_after)
        return peer, live

    async def _enrol(self, stream: MessageStream, address: str) -> None:
        try:
            async with asyncio.timeout(self._settings.limits.handshake_s):
                message = m.decode_from_agent(await stream.receive(m.MAX_MESSAGE))
            if not isinstance(message, m.Enrol):
                raise Malformed("an enrolment connection carries one 'enrol' message")
            enrolled = await self._broker.enrol(message, address, self._now())
            self._live[enrolled.session].not_after = enrolled.not_after
            self.note(enrolled.session, State.ENROLLED, f"The job runs on {message.node}; its identity was checked.")
            self._log.info("session %s enrolled from %s as job %s", enrolled.session, address, message.job_id)
            await stream.send(enrolled)
        except TimeoutError as exc:
            raise Refused("enrol.timeout", "the enrolment message did not come in time") from exc
        except HpcsecError as error:
            rule = error.rule if isinstance(error, Refused) else f"enrol.{type(error).__name__.lower()}"
            await stream.send(m.Denied(rule=rule, reason=error.reason))
            raise
        finally:
            stream.close()

    # Control connections

    async def _control(self, control: ControlConnection, tls: ssl.SSLSocket) -> None:
        try:
            peer, live = self._identified(tls)
        except Refused as refusal:
            await control.deny(refusal)  # so that the agent of an ended session ends its job
            raise
        if live.control:
            live.control.close()  # the agent dialled anew: the old connection is dead or will be
        live.control = control
        try:
            await self._serve_control(control, peer, live)
        finally:
            control.close()
            if live.control is control:
                live.control = None
                self._away(peer.session)

    async def _serve_control(self, control: ControlConnection, peer: Peer, live: Live) -> None:
        session_id, limits = peer.session, self._settings.limits
        hello = await control.hello(limits.handshake_s)
        await control.stream.send(m.Welcome(heartbeat_s=limits.heartbeat_s, now=self._now()))
        self._take_report(session_id, hello.state, hello.message)
        live.port.connected()
        while True:
            message = await control.receive(limits.dead_after_s)
            match message:
                case m.Heartbeat():
                    await control.stream.send(m.Heartbeat(now=self._now()))
                case m.Report():
                    self._take_report(session_id, message.state, message.message, message.facts)
                case m.Renew():
                    renewed = self._renewed(peer, live, message.request)
                    peer = replace(peer, certificate=renewed.certificate, not_after=renewed.not_after)
                    await control.stream.send(renewed)
                case _:
                    raise Malformed(f"a {type(message).__name__} has no place on a running control connection")

    def _renewed(self, peer: Peer, live: Live, request: bytes) -> m.Renewed:
        session = self._store.get(peer.session)
        if session is None or session.state is State.ENDED:
            raise Refused("renew.no-session", "the session is over")
        renewed = self._broker.renew(peer, session, request, self._now())
        live.not_after = renewed.not_after
        self._log.info("session %s: certificate renewed until %d", peer.session, renewed.not_after)
        return renewed

    def _take_report(self, session_id: str, state: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        """What the job says of itself: a state from a short list and a sentence. It can set nothing else."""
        if state not in (State.ENROLLED, State.STARTING, State.READY, State.ENDED):
            raise Malformed(f"{state!r} is not a state that an agent may report")
        if facts:
            self._log.info("session %s reports (trust: node): %s", session_id, dict(facts))
        if state == State.ENDED:
            self._finish(session_id, message or "the job ended")
            return
        self._store.set_state(session_id, State(state))
        self.note(session_id, State(state), message)

    def _away(self, session_id: str) -> None:
        session = self._store.get(session_id)
        if session and session.state is not State.ENDED:
            self._store.set_state(session_id, State.AWAY)
            self.note(session_id, State.AWAY, "The compute node's connection is lost; it is expected back.")

    def _demand(self, session_id: str, total: int) -> None:
        live = self._live.get(session_id)
        if live and live.control:
            self._spawn(live.control.send_or_close(m.Lanes(total=total)))

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Progress

    def note(self, session_id: str, state: State, message: str) -> None:
        """Add a line to what the spawn page shows."""
        live = self._live.get(session_id)
        if live is None:
            return
        live.sequence += 1
        live.progress.append(Progress(live.sequence, self._now(), state.value, message))
        del live.progress[:-MAX_PROGRESS]
        if live.changed:
            live.changed.set()

    async def _sweep(self) -> None:
        """Every few seconds: surplus lanes, silent streams, certificates and sessions whose time is over."""
        count = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            count += 1
            now = self._now()
            for live in list(self._live.values()):
                live.port.sweep()
                if live.not_after and now > live.not_after:
                    live.port.cut("the certificate expired")
                    if live.control:
                        live.control.close()
            for session in self._store.active():
                if now > session.ends_at:
                    self._finish(session.id, "the job's time is over")
            if count % PURGE_EVERY == 0:
                self._store.purge(now)

    def _finish(self, session_id: str, reason: str) -> None:
        """Revoke and cut a session; nothing of it is accepted from here on. Steps: 1 on disk; 2 tell; 3 cut."""
        ended = self._store.end(session_id, reason, self._now())
        live = self._live.pop(session_id, None)
        if live is None:
            return
        if ended:
            self._log.info("session %s of %s ended: %s", session_id, ended.user, reason)
        control, live.control = live.control, None
        live.port.close(reason, keep_path=False)
        if control:
            self._spawn(control.end(reason))
        if live.changed:
            live.changed.set()

    # AdminControl (admin.py serves it on the admin socket)

    async def register(
        self, *, user: str, server: str, uid: int, lifetime_s: int, launch: Mapping[str, Any]
    ) -> Registration:
        """A new session for a job that is about to be submitted; an older one of the same server ends."""
        for old in self._store.active():
            if (old.user, old.server) == (user, server):
                self._finish(old.id, "the server was started anew")
        now = self._now()
        session = Session(
            id=secrets.token_hex(16),
            user=user,
            server=server,
            uid=uid,
            state=State.WAITING,
            job_id="",
            node="",
            created_at=now,
            ends_at=now + lifetime_s,
            serial="",
            reason="",
        )
        self._store.add(session, launch)
        try:
            self._open_port(session)
        except HpcsecError:
            self._finish(session.id, "its socket could not be made")
            raise
        self.note(session.id, State.WAITING, "Registered; the job is being submitted.")
        return Registration(
            session=session.id,
            token=self._broker.token(session, now),
            ca=self._broker.authority(),
            endpoints=list(self._settings.public_endpoints),
            socket=self.socket_path(session.id),
        )

    async def bind_job(self, session: str, job_id: str) -> None:
        """Say which job was submitted for a session: only that one may enrol."""
        self._store.bind_job(session, job_id)
        self.note(session, State.WAITING, f"Job {job_id} is in the queue.")

    async def show(self, session: str) -> dict[str, Any]:
        """One session with its counts."""
        row = self._store.get(session)
        if row is None:
            raise Refused("session.unknown", "there is no such session")
        return self._facts(row)

    def _facts(self, row: Session) -> dict[str, Any]:
        live = self._live.get(row.id)
        facts = live.port.facts() if live else {}
        return {**asdict(row), "connected": bool(live and live.control), **facts}

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        """Progress entries after number ``after``; waits up to ``timeout_s`` for the first."""
        live = self._live.get(session)
        if live is None:
            row = self._store.get(session)
            if row is None:
                raise Refused("session.unknown", "there is no such session")
            return [Progress(after + 1, self._now(), State.ENDED.value, row.reason)]
        if live.sequence <= after:
            live.changed = live.changed or asyncio.Event()
            live.changed.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await live.changed.wait()
            except TimeoutError:
                return []
        if session not in self._live:
            return await self.wait(session, after, 0)
        return [entry for entry in live.progress if entry.seq > after]

    async def end(self, session: str, reason: str) -> None:
        """End a session now, for whatever reason; ending it twice is no error."""
        self._finish(session, reason)

    async def sessions(self) -> list[dict[str, Any]]:
        """All sessions that have not ended."""
        return [self._facts(row) for row in self._store.active()]

    async def status(self) -> dict[str, Any]:
        """Facts about this gateway for people and for ``hpcsec doctor``."""
        return {
            "version": __version__,
            "now": self._now(),
            "listen": self.endpoints,
            "endpoints": list(self._settings.public_endpoints),
            "sessions": len(self._live),
            "hub_api_url": self._settings.hub_api_url,
            "state_directory": str(self._settings.state_directory),
            "run_directory": str(self._settings.run_directory),
            "refusals": dict(self._counters.snapshot()),
            "limits": asdict(self._settings.limits),
            **self._broker.status(self._now()),
        }

    async def keys(self) -> list[dict[str, Any]]:
        """The keys, without secrets."""
        return self._broker.keys(self._now())

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        """Rotate the keys of a kind; running sessions go on."""
        self._log.info("rotating keys: %s", kind)
        return self._broker.rotate(kind, self._now())
