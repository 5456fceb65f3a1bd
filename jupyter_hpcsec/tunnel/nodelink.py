"""A node's helper, its end of the connection to the gateway: it dials, enrols, tells what waits, and dials again.

Nothing dials it. The gateway is known by its authority, which the site put on the node; after a rotation by those that
the gateway itself named over a connection that the old one vouched for. What it tells is never lost by it: an event
leaves the spool when the gateway has it on record.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Protocol

import msgspec

from jupyter_hpcsec import __version__
from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeWatch
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.nodespool import NodeSpool
from jupyter_hpcsec.tunnel.teller import AGAIN_S, BATCH_BYTES, LINGER_S
from jupyter_hpcsec.tunnel.tls import HANDSHAKE_S, MessageStream, client_context, dial, parse_endpoint

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Backoff between two tries, doubled from the first to the longest, with jitter: all nodes of a cluster come back."""
POLL_S = 2.0
"""Between two looks into the spool: other processes (prolog, epilog) write into it, too."""
DEAD_AFTER_S = 45
SILENT_HEARTBEATS = 3
AUTHORITIES = "authorities"
_Authority = Annotated[bytes, msgspec.Meta(min_length=1)]


class NodeCredentials(Protocol):
    """The helper's key, which never touches a disk, and what root proves with it."""

    def request(self) -> bytes:
        """The DER of a request for a fresh key, which becomes current with ``install``."""

    def evidence(self) -> Mapping[str, str]:
        """By attestor, for the key of the next request. Blocks for milliseconds; ``Unavailable``."""

    def install(self, certificate: bytes) -> None:
        """Make the key of the last request current."""

    def certificate_pem(self) -> bytes:
        """The current certificate."""

    def key_pem(self) -> bytes:
        """The current key."""


class NodeLink:
    """Holds the connection. ``say`` gets a sentence when the link comes, goes, or is refused; ``seen`` what to show.

    ``is_up``: the gateway hears. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        spool: NodeSpool,
        credentials: NodeCredentials,
        *,
        node: str,
        endpoints: Sequence[str],
        ca: bytes,
        server_name: Callable[[bytes], str],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        poll_s: float = POLL_S,
    ) -> None:
        self._spool, self._credentials, self._node, self._say = spool, credentials, node, say
        self._endpoints = [parse_endpoint(endpoint) for endpoint in endpoints]
        if not self._endpoints:
            raise Malformed("no gateway is named that could be told")
        self._ca, self._server_name = ca, server_name
        self._clock, self._jitter, self._poll_s = clock, jitter, poll_s
        self._renew_at = 0.0
        self._said = ""
        self._answered = asyncio.Event()
        self._acked = 0
        self._stream: MessageStream | None = None
        self.is_up = False

    async def run(self) -> None:
        """Keep the link until cancelled. A gateway that refuses is asked again, too: an admin may be mending it."""
        wait = FIRST_WAIT_S
        while True:
            try:
                if self._clock() >= self._renew_at:
                    await self._enrol()
                await self._hold()
                wait = FIRST_WAIT_S  # it held until a certificate was due
            except HpcsecError as error:
                if self.is_up:
                    wait = FIRST_WAIT_S
                if isinstance(error, Refused):
                    self._renew_at = 0.0  # with a fresh certificate it may be another matter
                self._once(f"the gateway is not told: {error.reason}")
            self.is_up = False
            await asyncio.sleep(wait * (0.5 + self._jitter()))
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def show(self, seen: m.Seen) -> None:
        """Have the gateway see it now, or never: the next one replaces it."""
        if self._stream and self.is_up:
            with contextlib.suppress(HpcsecError):
                await self._stream.send(seen)

    def _once(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)

    async def _enrol(self) -> None:
        request = self._credentials.request()
        evidence = await asyncio.to_thread(self._credentials.evidence)
        stream = MessageStream(await self._dial(None))
        try:
            await stream.send(m.NodeEnrol(node=self._node, request=request, evidence=dict(evidence)))
            answer = await _next(stream, HANDSHAKE_S)
        finally:
            stream.close()
        if isinstance(answer, m.Denied):
            raise Refused(answer.rule, answer.reason)
        if not isinstance(answer, m.NodeEnrolled):
            raise Malformed(f"the gateway answered an enrolment with {type(answer).__name__}")
        self._credentials.install(answer.certificate)
        # by this clock alone: only how long it is good counts, not what the gateway's clock says
        self._renew_at = self._clock() + 0.75 * max(0, answer.not_after - answer.now)
        if answer.authorities:
            self._spool.set_fact(AUTHORITIES, msgspec.json.encode(answer.authorities))

    async def _hold(self) -> None:
        """One connection from its begin to its end, which is an ``HpcsecError``, or when a new certificate is due."""
        shown = (self._credentials.certificate_pem(), self._credentials.key_pem())
        stream = MessageStream(await self._dial(shown))
        tasks: list[asyncio.Task[None]] = []
        try:
            await stream.send(m.NodeHello(version=__version__))
            welcome = await _next(stream, HANDSHAKE_S)
            if isinstance(welcome, m.Denied):
                raise Refused(welcome.rule, welcome.reason)
            if not isinstance(welcome, m.Welcome):
                raise Malformed(f"the gateway began with {type(welcome).__name__}")
            heartbeat_s = max(1, welcome.heartbeat_s)
            self._stream, self.is_up = stream, True
            self._once("the gateway is told")
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(work) for work in (self._beat(stream, heartbeat_s), self._send(stream))]
            while self._clock() < self._renew_at:
                self._take(await _next(stream, SILENT_HEARTBEATS * heartbeat_s))
        finally:
            self._stream = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stream.close()

    def _take(self, message: m.FromGateway) -> None:
        match message:
            case m.EventsAcked():
                if message.boot == self._spool.boot and message.seq >= self._acked:
                    self._acked = message.seq
                    self._spool.drop(message.seq)
                self._answered.set()
            case m.Heartbeat():
                return
            case m.Denied(rule=rule, reason=reason):
                raise Refused(rule, reason)
            case _:
                raise Malformed(f"a {type(message).__name__} has no place on a helper's connection")

    async def _beat(self, stream: MessageStream, heartbeat_s: int) -> None:
        with contextlib.suppress(Unavailable):  # the reader of this connection sees the same and ends it
            while True:
                await stream.send(m.Heartbeat(now=int(self._clock())))
                await asyncio.sleep(heartbeat_s)

    async def _send(self, stream: MessageStream) -> None:
        with contextlib.suppress(HpcsecError):
            while True:
                items = self._spool.first(m.MAX_EVENTS, BATCH_BYTES)
                if not items:
                    await asyncio.sleep(self._poll_s)
                    continue
                before = self._acked
                self._answered.clear()
                await stream.send(m.Events(boot=self._spool.boot, events=items))
                await self._answered.wait()
                await asyncio.sleep(min(self._poll_s, LINGER_S) if self._acked > before else AGAIN_S)

    def _authorities(self) -> list[bytes]:
        """Those that the gateway named last, then the one that the site put here.

        What is no list of authorities is told, and forgotten: the next try stands on the site's alone.
        """
        kept = self._spool.fact(AUTHORITIES)
        try:
            named = msgspec.json.decode(kept, type=list[_Authority]) if kept else []
        except msgspec.DecodeError as exc:
            self._spool.set_fact(AUTHORITIES, b"")
            reason = "what was kept of the gateway's authorities is damaged; from now on only the site's own counts"
            self._spool.put(GpuNodeWatch(state="damaged", reason=reason))
            raise Refused("node.authorities", reason) from exc
        return list(dict.fromkeys([*named, self._ca]))

    async def _dial(self, shown: tuple[bytes, bytes] | None) -> TlsConnection:
        error: HpcsecError = Unavailable("BUG: no endpoint")
        for authority in self._authorities():
            for endpoint in self._endpoints:
                try:
                    return await dial(
                        endpoint,
                        client_context(m.NODE, authority, shown),
                        self._server_name(authority),
                        timeout_s=HANDSHAKE_S,
                        dead_after_s=DEAD_AFTER_S,
                    )
                except (HpcsecError, OSError) as exc:
                    reason = exc.reason if isinstance(exc, HpcsecError) else str(exc)
                    error = Unavailable(f"{endpoint[0]} port {endpoint[1]}: {reason}")
        raise error


async def _next(stream: MessageStream, timeout_s: float) -> m.FromGateway:
    try:
        async with asyncio.timeout(timeout_s):
            return m.decode_from_gateway(await stream.receive(m.MAX_MESSAGE))
    except TimeoutError as exc:
        raise Unavailable(f"the gateway said nothing for {timeout_s:g} s") from exc
