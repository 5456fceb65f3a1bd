"""The agent: the node's end of the tunnel. It dials, and nothing dials it.

Inside the batch job it enrols once, then holds one control connection and as many lanes as the gateway asks for, and
takes up both again when they break. It connects a stream only to a name on its list of targets, and lets the
single-user server reach the Hub API through a unix socket. It starts and stops no process: that is ``hub.launch``.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_hpcsec import __version__
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.buffers import BufferPool
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.hubport import HubApiPort
from jupyter_hpcsec.tunnel.jobkey import Credentials
from jupyter_hpcsec.tunnel.lane import Lane
from jupyter_hpcsec.tunnel.peer import connect_unix
from jupyter_hpcsec.tunnel.renewal import Renewal
from jupyter_hpcsec.tunnel.session import State
from jupyter_hpcsec.tunnel.stream import Side, StreamState
from jupyter_hpcsec.tunnel.teller import Teller
from jupyter_hpcsec.tunnel.tls import HANDSHAKE_S, MessageStream, client_context, dial, parse_endpoint

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
"""Backoff between two tries to reach the gateway, doubled from the first to the longest, with jitter."""
TOO_EARLY = ("attest.pending", "enrol.job-unbound", "enrol.unavailable")
"""Refusals that leave the token unused and may be over soon: the batch system starts the job, or does not answer."""
EARLY_TRIES, EARLY_WAIT_S = 6, 3.0
CONNECT_S, CONNECT_AGAIN_S = 10.0, 0.05
"""How long a server that is too busy to accept a stream is tried, and how often."""
DEAD_AFTER_S = 45
SILENT_HEARTBEATS = 3
"""Heartbeats without an answer after which the control connection counts as dead."""


class Agent:
    """The node's end of one session.

    ``targets`` are the unix sockets that streams may reach, by target name. ``server_name`` gives the name to expect in
    the certificate of a gateway under an authority (DER). ``clock`` gives Unix seconds, ``jitter`` a number in 0 to 1.
    ``on_stale`` is told when the user's rules have changed, and when they are as they were again; ``on_certificate``
    until when each certificate is good, and when the session ends (Unix seconds). What ``teller`` is told goes to the
    gateway's record.
    """

    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        ca: bytes,
        credentials: Credentials,
        targets: Mapping[str, Path],
        hub_api_socket: Path,
        server_name: Callable[[bytes], str],
        log: logging.Logger,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        on_stale: Callable[[m.Stale], None] = lambda stale: None,
        on_certificate: Callable[[int, int], None] = lambda not_after, ends_at: None,
        teller: Teller | None = None,
    ) -> None:
        self._endpoints = [parse_endpoint(endpoint) for endpoint in endpoints]
        if not self._endpoints:
            raise Malformed("the job was given no gateway to dial")
        self._authority, self._credentials, self._targets = ca, credentials, dict(targets)
        self._server_name, self._log, self._teller = server_name, log, teller
        self._on_stale, self._on_certificate = on_stale, on_certificate
        self._stale = m.Stale()
        self._clock, self._jitter = clock, jitter
        self._loop = asyncio.get_running_loop()
        self._pool = BufferPool()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._control: MessageStream | None = None
        self._connected = asyncio.Event()
        self._lanes: set[Lane] = set()
        self._dialling = self._total = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._hub_api = HubApiPort(hub_api_socket, dial=lambda: self._dial(m.LANE), pool=self._pool, log=log)
        self._lane_wait = FIRST_WAIT_S
        self._state, self._message = State.ENROLLED.value, ""
        self._renewal = Renewal()
        self._gateway_clock = clock() - self._loop.time()

    # Enrolment

    async def enrol(
        self, *, token: str, job_id: str, node: str, evidence: Mapping[str, str], account: m.Account
    ) -> m.Enrolled:
        """Trade the job token for a certificate, once. ``Refused`` carries the gateway's rule and sentence.

        A gateway that can't be reached is tried again until it answers. An answer is final, but for the few that say
        that the batch system does not know yet.
        """
        request = m.Enrol(
            token=token,
            request=self._credentials.request(),
            job_id=job_id,
            node=node,
            evidence=dict(evidence),
            account=account,
        )
        answer = await self._ask_to_enrol(request)
        for _ in range(EARLY_TRIES):
            if not isinstance(answer, m.Denied) or answer.rule not in TOO_EARLY:
                break
            self._log.warning("not enrolled yet, trying again: %s [%s]", answer.reason, answer.rule)
            await asyncio.sleep(EARLY_WAIT_S * (0.5 + self._jitter()))
            answer = await self._ask_to_enrol(request)
        if isinstance(answer, m.Denied):
            raise Refused(answer.rule, answer.reason)
        if not isinstance(answer, m.Enrolled):
            raise Malformed(f"the gateway answered an enrolment with {type(answer).__name__}")
        self._credentials.install(answer.certificate)
        self._note_time(answer.now)
        self._issued(answer)
        return answer

    def _issued(self, answer: m.Enrolled | m.Renewed) -> None:
        self._renewal.issued(self._gateway_time(), not_after=answer.not_after, ends_at=answer.ends_at)
        self._on_certificate(answer.not_after, answer.ends_at)

    async def _ask_to_enrol(self, request: m.Enrol) -> m.FromGateway:
        stream = MessageStream(await self._dial_patiently(m.ENROL))
        try:
            await stream.send(request)
            return m.decode_from_gateway(await stream.receive(m.MAX_ENROLLED))
        finally:
            stream.close()

    # Control

    async def run(self) -> str:
        """Hold the tunnel until the session ends; the reason of the end."""
        self._hub_api.listen()
        keeper = self._loop.create_task(self._keep_control())
        try:
            keeper.add_done_callback(self._keeper_stopped)
            return await self._ended
        finally:
            keeper.cancel()
            self._close()

    async def report(self, state: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        """Say where the server is; kept and said again after a reconnect, so that it need not arrive now."""
        self._state, self._message = state, message
        if self._control:
            with contextlib.suppress(Unavailable):
                await self._control.send(m.Report(state=state, message=message, facts=dict(facts or {})))

    async def connected(self) -> None:
        """Return once a report would reach the gateway; the caller limits the time."""
        await self._connected.wait()

    def stop(self, reason: str) -> None:
        """End ``run`` from this side."""
        if not self._ended.done():
            self._ended.set_result(reason)

    def _close(self) -> None:
        self._hub_api.close()
        for task in self._tasks:
            task.cancel()
        for lane in list(self._lanes):
            lane.close("the session is over")
        if self._control:
            self._control.close()
            self._control = None

    def _keeper_stopped(self, keeper: "asyncio.Task[None]") -> None:
        """A BUG in the keeper must end the job with its trace, not leave it without a tunnel."""
        if not keeper.cancelled() and not self._ended.done():
            error = keeper.exception()
            self._ended.set_exception(error or RuntimeError("BUG: the control keeper stopped by itself"))

    async def _keep_control(self) -> None:
        wait = FIRST_WAIT_S
        while not self._ended.done():
            began = self._loop.time()
            try:
                await self._hold_control()
            except Refused as refusal:
                self.stop(f"the gateway refused this job: {refusal}")
                return
            except HpcsecError as error:
                self._log.warning("the control connection is lost: %s", error)
            if self._gateway_time() > self._renewal.not_after:
                self.stop("the certificate expired while the gateway could not be reached")
                return
            if self._loop.time() - began > 2 * LONGEST_WAIT_S:
                wait = FIRST_WAIT_S  # it stood for a while: this is a new trouble, not the old one going on
            await asyncio.sleep(wait * (0.5 + self._jitter()))
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _hold_control(self) -> None:
        """One control connection from its begin to its end, which is always an ``HpcsecError`` or the session's end."""
        stream = MessageStream(await self._dial(m.CONTROL))
        tasks: list[asyncio.Task[None]] = []
        try:
            hello = m.Hello(version=__version__, state=self._state, message=self._message, lanes=len(self._lanes))
            await stream.send(hello)
            heartbeat_s = await self._welcome(stream)
            self._control = stream
            self._connected.set()
            self._log.info("connected to the gateway")
            tasks.append(self._loop.create_task(self._beat(stream, heartbeat_s)))
            if self._teller:
                tasks.append(self._loop.create_task(self._teller.send_over(stream)))
            while not self._ended.done():
                message = await self._next(stream, SILENT_HEARTBEATS * heartbeat_s)
                self._take(message)
        finally:
            for task in tasks:
                task.cancel()
            if self._control is stream:
                self._control = None
                self._connected.clear()
            stream.close()

    async def _welcome(self, stream: MessageStream) -> int:
        message = await self._next(stream, HANDSHAKE_S)
        if isinstance(message, m.Denied):
            raise Refused(message.rule, message.reason)
        if isinstance(message, m.End):
            self.stop(message.reason)
            raise Unavailable("the session ended")
        if not isinstance(message, m.Welcome):
            raise Malformed(f"the gateway began with {type(message).__name__}")
        self._note_time(message.now)
        self._note_stale(message.stale)
        return max(1, message.heartbeat_s)

    @staticmethod
    async def _next(stream: MessageStream, timeout_s: float) -> m.FromGateway:
        try:
            async with asyncio.timeout(timeout_s):
                return m.decode_from_gateway(await stream.receive(m.MAX_MESSAGE))
        except TimeoutError as exc:
            raise Unavailable(f"the gateway said nothing for {timeout_s:g} s") from exc

    def _take(self, message: m.FromGateway) -> None:
        match message:
            case m.Lanes(total=total):
                self._total = total
                self._fill()
            case m.End(reason=reason):
                self.stop(reason)
            case m.Renewed():
                self._credentials.install(message.certificate)
                self._issued(message)
                if message.authorities:
                    self._authority = message.authorities[0]
                self._contexts.clear()
                self._log.info("certificate renewed")
            case m.Heartbeat():
                self._note_time(message.now)
            case m.Stale():
                self._note_stale(message)
            case m.EventsAcked() if self._teller:
                self._teller.heard(message)
            case _:
                raise Malformed(f"a {type(message).__name__} has no place on a running control connection")

    async def _beat(self, stream: MessageStream, heartbeat_s: int) -> None:
        """Heartbeats, and a renewal when it is due."""
        self._renewal.reconnected()
        with contextlib.suppress(Unavailable):  # the reader of this connection sees the same and ends it
            while True:
                if self._renewal.is_due(self._gateway_time()):
                    await stream.send(m.Renew(request=self._credentials.request()))
                await stream.send(m.Heartbeat(now=int(self._clock())))
                pause = min(heartbeat_s, max(1.0, self._renewal.due_at - self._gateway_time()))
                await asyncio.sleep(pause)

    def _note_stale(self, stale: m.Stale) -> None:
        if stale != self._stale:
            self._stale = stale
            self._log.warning("the session's rules: %s", stale.reason or "as they were when it began")
            self._on_stale(stale)

    def _note_time(self, gateway_now: int) -> None:
        self._gateway_clock = gateway_now - self._loop.time()

    def _gateway_time(self) -> float:
        """The gateway's clock, carried on by one that nobody sets: a step of the node's clock must not end the job."""
        return self._loop.time() + self._gateway_clock

    # Connections to the gateway

    async def _dial(self, protocol: str) -> TlsConnection:
        """A handshaken connection to the first endpoint that takes it."""
        error: HpcsecError = Unavailable("BUG: no endpoint")
        for endpoint in self._endpoints:
            try:
                return await dial(
                    endpoint,
                    self._context(protocol),
                    self._server_name(self._authority),
                    timeout_s=HANDSHAKE_S,
                    dead_after_s=DEAD_AFTER_S,
                )
            except HpcsecError as exc:
                error = Unavailable(f"{endpoint[0]} port {endpoint[1]}: {exc.reason}")
        raise error

    async def _dial_patiently(self, protocol: str) -> TlsConnection:
        wait = FIRST_WAIT_S
        while True:
            try:
                return await self._dial(protocol)
            except Unavailable as error:
                self._log.warning("the gateway can't be reached, trying again: %s", error)
            await asyncio.sleep(wait * (0.5 + self._jitter()))
            wait = min(2 * wait, LONGEST_WAIT_S)

    def _context(self, protocol: str) -> ssl.SSLContext:
        if protocol not in self._contexts:
            shown = None
            if protocol != m.ENROL:
                shown = (self._credentials.certificate_pem(), self._credentials.key_pem())
            try:
                self._contexts[protocol] = client_context(protocol, self._authority, shown)
            except OSError as exc:  # no descriptor left, say: a later try may find one
                raise Unavailable(f"no TLS context can be made: {exc}") from exc
        return self._contexts[protocol]

    # Lanes

    def _fill(self) -> None:
        """Dial until there are as many lanes as the gateway wants, busy ones counted."""
        while self._control and len(self._lanes) + self._dialling < self._total:
            self._dialling += 1
            self._spawn(self._add_lane())

    async def _add_lane(self) -> None:
        try:
            tls = await self._dial(m.LANE)
        except Unavailable as error:
            self._log.warning("a lane can't be made: %s", error)
            await asyncio.sleep(LONGEST_WAIT_S * self._jitter())
        else:
            state = StreamState(local=Side.NEW, remote=Side.IDLE)
            lane = Lane(tls, loop=self._loop, owner=self, pool=self._pool, state=state)
            self._lanes.add(lane)
            lane.announce()
        finally:
            self._dialling -= 1
        self._loop.call_later(self._lane_wait, self._fill)

    def lane_idle(self, lane: Lane) -> None:
        """LaneOwner: the lane waits for the gateway's next stream."""

    def lane_opened(self, lane: Lane, target: str) -> None:
        """LaneOwner: connect a stream to what its target's name stands for."""
        self._lane_wait = FIRST_WAIT_S
        path = self._targets.get(target)
        if path is None:
            self._log.warning("refused a stream to %r: not a target of this session", target)
            lane.refuse("no such target")
        else:
            self._connect(lane, path, self._loop.time() + CONNECT_S)

    def _connect(self, lane: Lane, path: Path, until: float) -> None:
        """A unix socket whose queue is full says so at once instead of waiting: it is tried again for a while."""
        if lane.is_closed:
            return
        try:
            plain = connect_unix(path)
        except BlockingIOError:
            if self._loop.time() < until:
                lane.hold()
                self._loop.call_later(CONNECT_AGAIN_S, self._connect, lane, path, until)
                return
            self._log.warning("a stream was refused: the server has not accepted one for %g s", CONNECT_S)
            lane.refuse("server busy")
        except OSError as exc:
            self._log.warning("a stream was refused by the server: %s", exc)
            lane.refuse("server not ready")
        else:
            lane.attach(plain)

    def lane_closed(self, lane: Lane, reason: str) -> None:
        """LaneOwner: forget the lane, and make up for it if it is missed."""
        self._log.debug("lane closed: %s", reason)
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._loop.call_later(self._lane_wait, self._fill)
            self._lane_wait = min(2 * self._lane_wait, LONGEST_WAIT_S)  # until one carries a stream

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
