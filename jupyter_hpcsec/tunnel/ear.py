"""What a session's node tells, as the gateway takes it: judged event by event, recorded, and only then acknowledged.

It is the node's word: the record says so, and whose session it was comes from the certificate, never from the event.
The node's root can tell anything of its own sessions, late and wrong; it can't tell of another one, nor in the
gateway's name, nor with another time than the gateway's own, nor hold the record up.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Union

import msgspec

from jupyter_hpcsec.audit.events import Event, Subject, Told, Trust
from jupyter_hpcsec.audit.kinds import TELLABLE
from jupyter_hpcsec.audit.kinds.node import NodeGap, NodeRefused
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.messages import Events, EventsAcked, Item
from jupyter_hpcsec.tunnel.observer import Observer

EVENTS, EVENTS_AT_ONCE = 20.0, 1000
"""Events of one session: a second on the long run, and at once. A larger one counts as several, by the KiB."""
WAITING = 2
"""Batches of one session that wait: that of the connection before may still be on its way to the disk."""

_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Union[tuple(TELLABLE.values())])  # noqa: UP007 - computed


class Heard(Protocol):
    """What is remembered of a session beyond this process's life."""

    def heard(self, session_id: str) -> tuple[int, int]:
        """(boot, seq) of the last event on record."""

    def set_heard(self, session_id: str, boot: int, seq: int) -> None:
        """Remember it."""


class Pace:
    """A bucket that can be overdrawn: who took too much waits. ``rate`` a second, ``burst`` at once."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._level, self._at = rate, burst, burst, now

    def take(self, amount: float, now: float) -> float:
        """Take it; seconds to wait before it is used."""
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate) - amount
        self._at = max(self._at, now)
        return max(0.0, -self._level / self._rate)


def weight(item: Item) -> int:
    """What an event takes of its session's share."""
    return max(1, math.ceil(len(bytes(item.event)) / 1024))


def claimed_time(milliseconds: int) -> str:
    """A node's clock as RFC 3339."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


class Voice(Protocol):
    """Who tells: under which ``key`` its numbers are remembered, where it is, and what of its telling is recorded."""

    @property
    def key(self) -> str:
        """For ``Heard``."""

    @property
    def session(self) -> str:
        """Whose the gateway's own events about it are; empty for a node's root."""

    @property
    def node(self) -> str:
        """Likewise; empty for a session, whose node is known."""

    def understood(self, item: Item, boot: int, source: str) -> Told:
        """The event as it is recorded; ``Malformed`` for one that is not of a kind that it may tell."""


@dataclass(frozen=True)
class SessionVoice:
    """The node of one session."""

    key: str
    node: str = ""

    @property
    def session(self) -> str:
        """The session."""
        return self.key

    def understood(self, item: Item, boot: int, source: str) -> Told:
        """See ``understood``."""
        return understood(item, self.key, boot, source)


def decoded(item: Item, decoder: "msgspec.json.Decoder[Told]") -> Told:
    """Only what its type lets in; ``Malformed``."""
    try:
        return decoder.decode(item.event)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise Malformed(f"not an event that a node may tell: {exc}") from exc


def understood(item: Item, session_id: str, boot: int, source: str) -> Told:
    """The event as it is recorded; ``Malformed`` for one that is not of a kind that a node may tell.

    1. Only what its type lets in. 2. Whose it is, where and by what rules is the gateway's to say, not the event's.
    """
    if item.by == "node":
        raise Malformed("a session is not its node's root")
    return msgspec.structs.replace(
        decoded(item, _decoder),
        subject=Subject(),
        session=session_id,
        server="",
        job="",
        node="",
        source=source,
        project="",
        policy="",
        told_by=item.by,
        told_boot=boot,
        told_seq=item.seq,
        told_at=claimed_time(item.at),
    )


class Ear:
    """Hears one voice, over one connection after the other. ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        voice: Voice,
        *,
        memory: Heard,
        observer: Observer,
        counters: Counters,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._voice, self._memory, self._observer, self._counters = voice, memory, observer, counters
        self._clock, self._sleep = clock, sleep
        self._pace = Pace(EVENTS, EVENTS_AT_ONCE, clock())
        self.boot, self.seq = memory.heard(voice.key)
        self._recorded: set[tuple[int, int]] = set()
        """(boot, number) past ``seq`` of what is on record already, when one before it could not be written."""
        self._turn = asyncio.Lock()
        self._waiting = 0

    def admit(self, message: Events) -> None:
        """``Refused`` for a batch that no agent has reason to send; else ``take`` it."""
        if self._waiting >= WAITING:
            raise Refused("events.unanswered", "the agent sends events before the last ones are acknowledged")
        if message.boot < self.boot:
            raise Refused("events.boot", "the agent's numbers are those of an earlier start")

    async def take(self, message: Events, source: str) -> EventsAcked:
        """Record an admitted batch; what to answer.

        1. In its turn, and no faster than the session's pace. 2. Each event once, in order, with what is missing.
        3. Durable, then remembered, then acknowledged; where that fails, what was not is to be sent again.
        """
        self._waiting += 1
        try:
            async with self._turn:
                wait = self._pace.take(sum(map(weight, message.events)), self._clock())
                if wait:
                    self._counters.count("events.paced")
                    await self._sleep(wait)
                try:
                    await self._record(message, source)
                except HpcsecError:
                    self._counters.count("events.unrecorded")
                return EventsAcked(boot=message.boot, seq=self.seq if message.boot == self.boot else 0)
        finally:
            self._waiting -= 1

    async def _record(self, message: Events, source: str) -> None:
        boot = message.boot
        if boot < self.boot:  # a later one came while it waited
            return
        seq = self.seq if boot == self.boot else 0
        told: list[tuple[int, Event, Trust]] = []
        if boot != self.boot and self.boot:
            reason = "the node's numbers began anew: its agent was replaced"
            gap = NodeGap(
                session=self._voice.session, node=self._voice.node, boot=self.boot, first=self.seq + 1, reason=reason
            )
            told.append((0, gap, "gateway"))
        for item in message.events:
            if item.seq <= seq:
                continue
            if item.seq > seq + 1:
                gap = NodeGap(
                    session=self._voice.session, node=self._voice.node, boot=boot, first=seq + 1, last=item.seq - 1
                )
                told.append((-item.seq, gap, "gateway"))
            told.append((item.seq, *self._judged(item, boot, source)))
            seq = item.seq
        await self._write(told, boot, seq)

    def _judged(self, item: Item, boot: int, source: str) -> tuple[Event, Trust]:
        """The event, or that there was one; and whose word it is."""
        try:
            return self._voice.understood(item, boot, source), "node"
        except Malformed as error:
            self._counters.count("events.refused")
            refused = NodeRefused(
                session=self._voice.session,
                node=self._voice.node,
                boot=boot,
                seq=item.seq,
                source=source,
                decision="refused",
                rule="events.kind",
                reason=error.reason,
            )
            return refused, "gateway"

    async def _write(self, told: list[tuple[int, Event, Trust]], boot: int, seq: int) -> None:
        """All of it, or what can be: after a failure nothing that is on record is recorded again."""
        left = [each for each in told if (boot, each[0]) not in self._recorded]
        writes = (self._observer.keep(event, trust) for _, event, trust in left)
        results = await asyncio.gather(*writes, return_exceptions=True)
        self._recorded.update(
            (boot, number) for (number, _, _), result in zip(left, results, strict=True) if result is None
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await asyncio.to_thread(self._memory.set_heard, self._voice.key, boot, seq)
        self.boot, self.seq = boot, seq
        self._recorded.clear()
