"""The gateway's end of what root's helpers on the nodes tell: they enrol, and hold one connection each from then on.

It is root's word about one node, and the record says so: which node it was comes from the certificate, and of whose
session a helper speaks is looked up by job **and** node. Root of a node can tell anything of that node, late and wrong;
it can't tell of another one, nor of a job elsewhere, nor in a session's or the gateway's name.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Protocol, Union

import msgspec

from jupyter_hpcsec.audit.events import Subject, Told
from jupyter_hpcsec.audit.kinds import TELLABLE_BY_ROOT
from jupyter_hpcsec.audit.kinds.gpunode import NodeHelperEnrolled, NodeHelperHeard, NodeHelperSilent
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused
from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.broker import Broker, NodePeer
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.ear import Ear, Heard, claimed_time, decoded
from jupyter_hpcsec.tunnel.limits import Counters, RateLimit
from jupyter_hpcsec.tunnel.observer import Observer
from jupyter_hpcsec.tunnel.silence import Silence
from jupyter_hpcsec.tunnel.tls import MessageStream

MESSAGES, MESSAGES_AT_ONCE = 5.0, 600
"""Messages a second from one helper on the long run, and at once: one of each job on its node."""
ENROLMENTS, ENROLMENTS_AT_ONCE = 0.1, 10
"""Enrolments from one address likewise: each is a question to the batch system and one to MUNGE."""

_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Union[tuple(TELLABLE_BY_ROOT.values())])  # noqa: UP007 - computed


def node_key(node: str) -> str:
    """Under which a node's numbers are remembered; no session's id looks like it."""
    return f"node/{node}"


class Books(Heard, Protocol):
    """What is asked of the store."""

    def nodes(self) -> list[str]:
        """Nodes that were heard before."""

    def session_of_job(self, job_id: str, node: str) -> str:
        """The session of a job that runs, or ran, on this node; empty where there is none."""


class Watchers(Protocol):
    """Takes what the watches see, to be compared and counted."""

    def session_sees(self, session: str, seen: m.Seen) -> None:
        """A session's own watch."""

    def root_sees(self, node: str, session: str, seen: m.Seen) -> None:
        """Root's on the node, of the job of one session."""

    def node_gone(self, node: str) -> None:
        """Root's watch there is not connected any more."""


class NodeVoice:
    """Root's helper on one node. See ``ear.Voice``."""

    session = ""

    def __init__(self, node: str, books: Books) -> None:
        self.node, self.key, self._books = node, node_key(node), books

    def understood(self, item: m.Item, boot: int, source: str) -> Told:
        """1. Only what its type lets in. 2. Where it is comes from the certificate; whose job it is, from the books."""
        if item.by != "node":
            raise Malformed("a node's helper is no session's agent or server")
        event = decoded(item, _decoder)
        return msgspec.structs.replace(
            event,
            subject=Subject(),
            session=self._books.session_of_job(event.job, self.node) if event.job else "",
            server="",
            node=self.node,
            source=source,
            project="",
            policy="",
            told_by=f"{self.key}/gpu",
            told_boot=boot,
            told_seq=item.seq,
            told_at=claimed_time(item.at),
        )


class _Helper:
    """One node's, over all its connections."""

    def __init__(self, ear: Ear, silence: Silence) -> None:
        self.ear, self.silence = ear, silence
        self.stream: MessageStream | None = None
        self.is_silent = False


class NodePort:
    """All helpers. ``now`` gives Unix seconds, ``clock`` monotonic ones."""

    def __init__(
        self,
        books: Books,
        broker: Broker,
        *,
        observer: Observer,
        counters: Counters,
        limits: Limits,
        log: logging.Logger,
        now: Callable[[], int],
        clock: Callable[[], float],
        watchers: Watchers | None = None,
    ) -> None:
        self._books, self._broker, self._observer, self._counters = books, broker, observer, counters
        self._limits, self._log, self._now, self._clock = limits, log, now, clock
        self._watchers = watchers
        self._messages = RateLimit(MESSAGES, MESSAGES_AT_ONCE)
        self._enrolments = RateLimit(ENROLMENTS, ENROLMENTS_AT_ONCE)
        self._helpers: dict[str, _Helper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for node in books.nodes():
            self._helper(node)

    def counts(self) -> Mapping[str, int]:
        """Helpers by how they are: ``connected``, ``away`` and, of both, ``silent``."""
        connected = sum(helper.stream is not None for helper in self._helpers.values())
        silent = sum(helper.is_silent for helper in self._helpers.values())
        return {"connected": connected, "away": len(self._helpers) - connected, "silent": silent}

    def session_sees(self, session: str, seen: m.Seen) -> None:
        """What a session's own watch shows."""
        if self._watchers:
            self._watchers.session_sees(session, seen)

    def close(self) -> None:
        """Cut them off; they come back to the next gateway."""
        for task in self._tasks:
            task.cancel()
        for helper in self._helpers.values():
            if helper.stream:
                helper.stream.close()

    def sweep(self) -> None:
        """Say which helpers are silent."""
        for node, helper in self._helpers.items():
            _, silence = helper.silence.due(self._clock())
            if silence:
                helper.is_silent = True
                reason = "root's helper on this node tells nothing: what happens on its GPUs is not told"
                self._observer.note(NodeHelperSilent(node=node, seconds=round(silence), reason=reason))

    async def connected(self, tls: TlsConnection, address: str) -> None:
        """One handshaken connection: an enrolment without a certificate, what is told with one."""
        stream = MessageStream(tls)
        certificate = tls.certificate
        claimed = ""
        try:
            if certificate:
                await self._serve(stream, self._broker.identify_node(certificate, self._now()), address)
                return
            message = await self._receive(stream, self._limits.handshake_s)
            if not isinstance(message, m.NodeEnrol):
                raise Malformed("without a certificate a node's helper can only enrol")
            claimed = message.node
            await self._enrol(stream, message, address)
        except HpcsecError as error:
            refusal = (
                error if isinstance(error, Refused) else Refused(f"node.{type(error).__name__.lower()}", error.reason)
            )
            if not isinstance(error, Unavailable) or not certificate:
                event = EnrolmentRefused(
                    node=claimed, source=address, decision="refused", rule=refusal.rule, reason=error.reason
                )
                self._observer.note(event)
                with contextlib.suppress(HpcsecError):
                    await stream.send(m.Denied(rule=refusal.rule, reason=refusal.reason))
            raise refusal from error
        finally:
            stream.close()

    async def _receive(self, stream: MessageStream, timeout_s: float) -> m.FromNode:
        try:
            async with asyncio.timeout(timeout_s):
                return m.decode_from_node(await stream.receive(m.MAX_MESSAGE))
        except TimeoutError as exc:
            raise Refused("node.silent", f"the node's helper said nothing for {timeout_s:g} s") from exc

    async def _enrol(self, stream: MessageStream, message: m.NodeEnrol, address: str) -> None:
        if not self._enrolments.allow(address, self._clock()):
            raise Refused("node.rate", "more enrolments come from this address than a node has reason to")
        self._observer.require()
        enrolled = await self._broker.enrol_node(message, address, self._now())
        event = NodeHelperEnrolled(node=message.node, source=address, decision="allowed", not_after=enrolled.not_after)
        await self._observer.keep(event)  # on record before the certificate leaves
        self._log.info("the helper of node %s enrolled from %s", message.node, address)
        await stream.send(enrolled)

    def _helper(self, node: str) -> _Helper:
        if node not in self._helpers:
            ear = Ear(
                NodeVoice(node, self._books),
                memory=self._books, observer=self._observer, counters=self._counters, clock=self._clock,
            )  # fmt: skip
            self._helpers[node] = _Helper(ear, Silence(self._clock()))
        return self._helpers[node]

    async def _serve(self, stream: MessageStream, peer: NodePeer, address: str) -> None:
        hello = await self._receive(stream, self._limits.handshake_s)
        if not isinstance(hello, m.NodeHello):
            raise Malformed("a helper's connection begins with 'node-hello'")
        helper = self._helper(peer.node)
        if helper.stream:
            helper.stream.close()  # it dialled anew: the old connection is dead or will be
        helper.stream = stream
        try:
            await stream.send(m.Welcome(heartbeat_s=self._limits.heartbeat_s, now=self._now()))
            while True:
                message = await self._receive(stream, self._limits.dead_after_s)
                await self._take(message, stream, helper, peer, address)
        finally:
            if helper.stream is stream:
                helper.stream = None
                if self._watchers:
                    self._watchers.node_gone(peer.node)

    async def _take(
        self, message: m.FromNode, stream: MessageStream, helper: _Helper, peer: NodePeer, address: str
    ) -> None:
        """Steps: 1 the certificate still holds; 2 no flood; 3 what is said."""
        if peer.not_after <= self._now():  # 1
            raise Refused("node.expired", "the helper's certificate has expired: it has to enrol again")
        if not self._messages.allow(peer.node, self._clock()):  # 2
            raise Refused("node.rate", "the helper sends more messages than a helper has reason to")
        match message:  # 3
            case m.Heartbeat():
                await stream.send(m.Heartbeat(now=self._now()))
            case m.Events():
                helper.ear.admit(message)
                self._spawn(self._answer(message, stream, helper, peer.node, address))
            case m.Seen():
                session = self._books.session_of_job(message.job, peer.node)
                if session and self._watchers:
                    self._watchers.root_sees(peer.node, session, message)
            case _:
                raise Malformed(f"a {type(message).__name__} has no place on a helper's running connection")

    async def _answer(self, message: m.Events, stream: MessageStream, helper: _Helper, node: str, address: str) -> None:
        before = helper.ear.seq, helper.ear.boot
        answer = await helper.ear.take(message, address)
        if (helper.ear.seq, helper.ear.boot) != before and (silence := helper.silence.heard(self._clock())):
            helper.is_silent = False
            self._observer.note(NodeHelperHeard(node=node, seconds=round(silence)))
        with contextlib.suppress(Unavailable):
            await stream.send(answer)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
