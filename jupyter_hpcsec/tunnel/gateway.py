"""The gateway: the hub host's end of every session, seen from the nodes.

It lets a session's job enrol once, and holds its control connection and lanes from then on. Who may do what is decided
by the broker (identity); which sessions there are is known to the registry. Killing it kills no kernel: agents come
back, and the store says who they are.
"""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jupyter_hpcsec.audit.kinds.sessions import CertificateRenewed, EnrolmentRefused, SessionEnrolled, SessionState
from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable, printable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.broker import Broker, NoAccess, Peer
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.control import ControlConnection
from jupyter_hpcsec.tunnel.front import FrontDoor
from jupyter_hpcsec.tunnel.limits import RateLimit
from jupyter_hpcsec.tunnel.nodeport import NodePort
from jupyter_hpcsec.tunnel.registry import Live, Registry
from jupyter_hpcsec.tunnel.session import Session, State
from jupyter_hpcsec.tunnel.tls import MessageStream

SWEEP_S = 5.0
MESSAGES, MESSAGES_AT_ONCE = 5.0, 100
"""Messages a second from one agent on the long run, and at once: a report is a transaction on disk and a log line."""
RENEWALS, RENEWALS_AT_ONCE = 0.1, 10
"""Renewals likewise: each is a signature and a row."""
ENDS, ENDS_AT_ONCE = 1 / 60, 2
"""Questions to the batch system for one session's end likewise; past them, the end is the one that is known."""
NEAR_LIVES = 2
"""A session's end is asked for anew once it is nearer than so many lives of a certificate."""
PURGE_EVERY = 720
"""Sweeps between two clean-ups of the store: an hour."""


class Gateway:
    """Serves the nodes' connections to the sessions of a registry."""

    def __init__(
        self,
        registry: Registry,
        broker: Broker,
        *,
        limits: Limits,
        certificate_lifetime_s: int,
        log: logging.Logger,
        nodes: NodePort | None = None,
    ) -> None:
        self._nodes = nodes
        self._registry, self._broker, self._limits, self._log = registry, broker, limits, log
        self._certificate_lifetime_s = certificate_lifetime_s
        self._messages = RateLimit(MESSAGES, MESSAGES_AT_ONCE)
        self._renewals = RateLimit(RENEWALS, RENEWALS_AT_ONCE)
        self._ends = RateLimit(ENDS, ENDS_AT_ONCE)
        self._front: FrontDoor | None = None
        self.enrolments: Counter[str] = Counter()
        """Since the start: ``done`` and ``refused``."""
        self._sweeper: asyncio.Task[None] | None = None

    def start(self, make_front: Callable[..., FrontDoor]) -> None:
        """Take the sessions of an earlier gateway back, then open the port."""
        self._registry.take_back()
        self._front = make_front(context=self._broker.context, handler=self._connected)
        self._front.open()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @property
    def endpoints(self) -> list[str]:
        """What the port listens on."""
        return self._front.endpoints if self._front else []

    @property
    def handshakes(self) -> Counter[str]:
        """The port's handshakes since the start: ``done`` and ``failed``."""
        return self._front.handshakes if self._front else Counter()

    def close(self) -> None:
        """Stop serving. Sessions stay: a gateway that starts again takes them back."""
        if self._sweeper:
            self._sweeper.cancel()
        if self._front:
            self._front.close()
        if self._nodes:
            self._nodes.close()
        self._registry.close()

    async def _sweep(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            count += 1
            self._registry.sweep()
            if self._nodes:
                self._nodes.sweep()
            if count % PURGE_EVERY == 0:
                try:
                    self._registry.store.purge(self._registry.now())
                except HpcsecError as error:  # a full disk, say; what is kept for too long protects no less
                    self._log.error("the clean-up of the database failed: %s", error)

    async def _connected(self, protocol: str, tls: TlsConnection, address: str) -> None:
        """One handshaken connection: enrolments come without a certificate, everything else with one."""
        try:
            if protocol == m.ENROL:
                await self._enrol(MessageStream(tls), address)
            elif protocol == m.NODE:
                await self._node_port.connected(tls, address)
            elif protocol == m.LANE:
                self._identified(tls)[1].port.add_lane(tls)
            else:
                await self._control(ControlConnection(tls), tls, address)
        except BaseException:
            tls.close()
            raise

    @property
    def _node_port(self) -> NodePort:
        if self._nodes is None:
            raise Refused("node.off", "this gateway hears no nodes' helpers")
        return self._nodes

    def _identified(self, tls: TlsConnection) -> tuple[Peer, Live]:
        """Steps: 1 a certificate; 2 of this deployment; 3 not revoked; 4 of a session that lives here."""
        certificate = tls.certificate
        if not certificate:
            raise Refused("lane.no-certificate", "a lane or control connection needs the job's certificate")
        peer = self._broker.identify(certificate, self._registry.now())
        if self._registry.store.is_revoked(peer.serial):
            raise Refused("lane.revoked", "the certificate was revoked")
        session, live = self._registry.store.get(peer.session), self._registry.get(peer.session)
        if session is None or live is None or session.state in (State.ENDED, State.WAITING):
            raise Refused("lane.no-session", "the certificate's session is not one that runs")
        live.not_after = max(live.not_after, peer.not_after)
        return peer, live

    # Enrolment

    async def _enrol(self, stream: MessageStream, address: str) -> None:
        message: m.FromAgent | None = None
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                message = m.decode_from_agent(await stream.receive(m.MAX_MESSAGE))
            if not isinstance(message, m.Enrol):
                raise Malformed("an enrolment connection carries one 'enrol' message")
            self._registry.observer.require()  # before the token is used: it can be tried again
            enrolled = await self._broker.enrol(message, address, self._registry.now())
            self._admitted(enrolled, message, address)
            await self._told_of(enrolled, message, address)
            await stream.send(enrolled)
            self.enrolments["done"] += 1
        except TimeoutError as exc:
            reason = "the enrolment message did not come in time"
            self._tell_refused(message, address, "enrol.timeout", reason)
            raise Refused("enrol.timeout", reason) from exc
        except HpcsecError as error:
            if isinstance(error, NoAccess):  # no later enrolment could do better, and the spawn page is to say why
                self._log.warning("session %s gets no access [%s]: %s", error.session, error.rule, error.reason)
                self._registry.finish(error.session, error.reason)
            rule = error.rule if isinstance(error, Refused) else f"enrol.{type(error).__name__.lower()}"
            session = error.session if isinstance(error, NoAccess) else ""
            self._tell_refused(message, address, rule, error.reason, session=session)
            with contextlib.suppress(Unavailable):  # who hangs up on the answer is refused under the same rule
                await stream.send(m.Denied(rule=rule, reason=error.reason))
            raise Refused(rule, error.reason) from error
        finally:
            stream.close()

    async def _told_of(self, enrolled: m.Enrolled, message: m.Enrol, address: str) -> None:
        """The enrolment is on record before the certificate leaves; where it can't be, the session ends."""
        event = SessionEnrolled(
            session=enrolled.session, job=message.job_id, node=message.node, source=address, decision="allowed"
        )
        try:
            await self._registry.observer.keep(event)
        except Unavailable:
            self._registry.finish(enrolled.session, "the enrolment could not be recorded; start the server again")
            raise

    def _tell_refused(
        self, message: m.FromAgent | None, address: str, rule: str, reason: str, *, session: str = ""
    ) -> None:
        self.enrolments["refused"] += 1
        claimed = message if isinstance(message, m.Enrol) else None
        event = EnrolmentRefused(
            session=session,
            job=claimed.job_id if claimed else "",
            node=claimed.node if claimed else "",
            source=address,
            decision="refused",
            rule=rule,
            reason=reason,
        )
        self._registry.observer.note(event)

    def _admitted(self, enrolled: m.Enrolled, message: m.Enrol, address: str) -> None:
        live = self._registry.get(enrolled.session)
        if live is None:
            raise Refused("enrol.session-over", "the session ended while its job enrolled")
        live.not_after, live.ends_at = enrolled.not_after, enrolled.ends_at
        self._registry.watch(live)
        self._registry.note(enrolled.session, State.ENROLLED, f"The job runs on {message.node}; it has enrolled.")
        self._log.info("session %s enrolled from %s as job %s", enrolled.session, address, message.job_id)

    # Control connections

    async def _control(self, control: ControlConnection, tls: TlsConnection, address: str) -> None:
        try:
            peer, live = self._identified(tls)
        except Refused as refusal:
            await control.deny(refusal)  # so that the agent of an ended session ends its job
            raise
        if live.control:
            live.control.close()  # the agent dialled anew: the old connection is dead or will be
        live.control = control
        try:
            await self._serve_control(control, peer, live, address)
        except Malformed as error:
            raise Refused("control.malformed", error.reason) from error
        finally:
            control.close()
            if live.control is control:
                live.control = None
                self._away(peer.session)

    async def _serve_control(self, control: ControlConnection, peer: Peer, live: Live, address: str) -> None:
        hello = await control.hello(self._limits.handshake_s)
        await control.welcome(
            m.Welcome(heartbeat_s=self._limits.heartbeat_s, now=self._registry.now(), stale=live.stale)
        )
        self._take_report(peer.session, hello.state, hello.message, {})
        live.port.connected()
        while True:
            message = await control.receive(self._limits.dead_after_s)
            self._check_rate(self._messages, peer.session, "control.rate")
            match message:
                case m.Heartbeat():
                    await control.stream.send(m.Heartbeat(now=self._registry.now()))
                case m.Report():
                    self._take_report(peer.session, message.state, message.message, message.facts)
                case m.Renew():
                    self._check_rate(self._renewals, peer.session, "renew.rate")
                    renewed = await self._renewed(peer, live, message.request)
                    peer = replace(peer, certificate=renewed.certificate, not_after=renewed.not_after)
                    await control.stream.send(renewed)
                case m.Seen():
                    if self._nodes:
                        self._nodes.session_sees(peer.session, message)
                case m.Events():
                    self._registry.hear(peer.session, control, message, address)
                case _:
                    raise Malformed(f"a {type(message).__name__} has no place on a running control connection")

    def _check_rate(self, limit: RateLimit, session_id: str, rule: str) -> None:
        if not limit.allow(session_id, asyncio.get_running_loop().time()):
            raise Refused(rule, "the agent sends more messages than an agent has reason to")

    async def _renewed(self, peer: Peer, live: Live, request: bytes) -> m.Renewed:
        await self._look_for_more_time(self._running(peer.session))
        # read again: the session may have ended while the batch system was asked
        renewed = self._broker.renew(peer, self._running(peer.session), request, self._registry.now())
        live.not_after = renewed.not_after
        self._log.info("session %s: certificate renewed until %d", peer.session, renewed.not_after)
        self._registry.observer.note(CertificateRenewed(session=peer.session, not_after=renewed.not_after))
        return renewed

    def _running(self, session_id: str) -> Session:
        session = self._registry.store.get(session_id)
        if session is None or session.state is State.ENDED:
            raise Refused("renew.no-session", "the session is over")
        return session

    async def _look_for_more_time(self, session: Session) -> None:
        """Extend a session that is near its end by what its job was given since; without an answer nothing changes.

        It takes at most one heartbeat: the agent counts some without an answer as the gateway's death.
        """
        if session.ends_at - self._registry.now() > NEAR_LIVES * self._certificate_lifetime_s:
            return
        if not self._ends.allow(session.id, asyncio.get_running_loop().time()):
            return
        try:
            async with asyncio.timeout(self._limits.heartbeat_s):
                ends_at = await self._broker.ends_at(session)
        except (HpcsecError, TimeoutError) as error:
            reason = str(error) or "the batch system gave no answer in time"
            self._log.warning("session %s: its end stays %d: %s", session.id, session.ends_at, reason)
            return
        if ends_at > session.ends_at:
            self._registry.extend(session.id, ends_at)
            self._log.info("session %s: its job has more time now, it ends at %d", session.id, ends_at)

    def _take_report(self, session_id: str, state: str, message: str, facts: Mapping[str, Any]) -> None:
        """What the job says of itself: a state from a short list and a sentence. It can set nothing else."""
        if state not in (State.ENROLLED, State.STARTING, State.READY, State.ENDED):
            raise Malformed(f"{state!r} is not a state that an agent may report")
        message = printable(message)
        told = json.dumps(dict(facts), sort_keys=True, separators=(",", ":")) if facts else ""
        if facts:
            self._log.info("session %s reports (trust: node): %s", session_id, told)
        self._registry.observer.note(SessionState(session=session_id, state=state, reason=message, facts=told), "node")
        if state == State.ENDED:
            self._registry.finish(session_id, message or "the job ended")
        else:
            self._registry.move(session_id, State(state), message)

    def _away(self, session_id: str) -> None:
        session = self._registry.store.get(session_id)
        if session and session.state is not State.ENDED:
            message = "The compute node's connection is lost; it is expected back."
            self._registry.move(session_id, State.AWAY, message)
            self._registry.observer.note(SessionState(session=session_id, state=State.AWAY, reason=message))
