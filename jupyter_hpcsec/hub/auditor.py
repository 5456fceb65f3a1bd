"""What the gateway observes, on its way into the audit record: whose session it was is added, floods are counted.

It is the gateway's ``tunnel.observer.Observer``. It decides nothing; where the record can't be written it says so, and
the gateway lets nothing new begin.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from jupyter_hpcsec.audit.events import Event, Subject, Trust, kind_of
from jupyter_hpcsec.audit.kinds.connections import ConnectionRefused, HubApiRefused, LaneRefused, SocketRefused
from jupyter_hpcsec.audit.kinds.console import ConsoleRefused
from jupyter_hpcsec.audit.kinds.gateway import AdminRefused
from jupyter_hpcsec.audit.kinds.hub import HubLoginRefused
from jupyter_hpcsec.audit.kinds.record import AuditExported, AuditRead, AuditShredded
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused, SessionBound, SessionEnrolled
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.stamps import timestamp
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.tunnel.limits import RateLimit
from jupyter_hpcsec.tunnel.session import Session

REFUSALS, REFUSALS_AT_ONCE = 2.0, 200
"""Refusals of one kind, rule and source that are events of their own: a second on the long run, and at once."""
DAY_NS = 86_400 * 10**9
SESSIONS = 16_384
"""Sessions whose facts are remembered."""
FLOODS = (
    *(AdminRefused, ConnectionRefused, ConsoleRefused, EnrolmentRefused, HubApiRefused, HubLoginRefused, LaneRefused),
    SocketRefused,
)
UNLOGGED = "port."
"""Refusals by these rules are only counted by the front door; here the counts become events."""


class Auditor:
    """``session(id)`` gives a session's row; ``clock`` monotonic seconds; ``facts()`` what is around the record."""

    def __init__(
        self,
        log: Log,
        *,
        session: Callable[[str], Session | None],
        clock: Callable[[], float],
        facts: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._log, self._session, self._clock, self._facts = log, session, clock, facts
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._limit = RateLimit(REFUSALS, REFUSALS_AT_ONCE)
        self._damped: Counter[tuple[str, str]] = Counter()
        self._counted: dict[str, int] = {}

    # tunnel.observer.Observer

    def note(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        """Record it in its turn; a refusal among too many like it is counted instead. ``sealed`` is kept beside it."""
        if isinstance(event, FLOODS):
            key = f"{kind_of(event)} {event.rule} {event.source or event.session}"
            if not self._limit.allow(key, self._clock()):
                self._damped[kind_of(event), event.rule] += 1
                return
        self._log.note(self._placed(event), trust, sealed)

    async def keep(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        """Record it; durable when this returns. ``Unavailable``."""
        # shielded: the record sets its receipts, and who waits may be cancelled while it does
        await asyncio.shield(asyncio.wrap_future(self._log.record(self._placed(event), trust, sealed)))

    def receipt(self, event: Event, sealed: Mapping[str, bytes]) -> "Future[int]":
        """Record it; the receipt is given once it is durable, and raises ``Unavailable`` where it can't be."""
        return self._log.record(self._placed(event), "gateway", sealed)

    def require(self) -> None:
        """``Unavailable`` where nothing can be recorded."""
        self._log.require()

    # For the admin socket

    async def reading(
        self, action: str, query: str, found: int, with_values: bool, leaf: int, name: str, who: Subject
    ) -> None:
        """Record that ``who`` reads the record, before it is read; ``shred`` destroys a value."""
        if action == "shred":
            event = AuditShredded(subject=who, leaf=leaf, name=name, reason=query)
            if not await asyncio.to_thread(self._log.shred, leaf, name, event):
                raise Refused("audit.no-value", f"event {leaf} has no value {name!r} that could be shredded")
        elif action == "export":
            await self.keep(AuditExported(subject=who, query=query, found=found, with_values=with_values))
        else:
            await self.keep(AuditRead(subject=who, action=action, query=query, found=found))

    async def retaining(self, events_days: int, values_days: int, who: Subject) -> dict[str, int]:
        """Remove events and sealed values older than so many days (0: none more); the first leaves that remain."""
        now = time.time_ns()
        events, values = (timestamp(now - days * DAY_NS) if days else "" for days in (events_days, values_days))
        try:
            removed = await asyncio.to_thread(self._log.retain, events, values, who)
        except OSError as error:
            raise Unavailable(f"What is old could not be removed: {error}. It is tried again.") from error
        return {"events": removed.events, "values": removed.values}

    def status(self) -> dict[str, Any]:
        """Facts for ``hpcsec doctor``: how far the record is, and why it can't be written where it can't."""
        health = self._log.health()
        return {
            "durable": health.durable,
            "published": health.published,
            "failing": health.why,
            "lost": health.lost,
            "key": str(self._log.verifier),
            **self._facts(),
        }

    # Floods

    def flush(self, counts: Mapping[str, int]) -> None:
        """Now and then: what was only counted since. ``counts`` are the gateway's counters by rule."""
        for rule, count in counts.items():
            since = count - self._counted.get(rule, 0)
            if rule.startswith(UNLOGGED) and since > 0:
                self._counted[rule] = count
                self._damped["connection.refused", rule] += since
        damped, self._damped = self._damped, Counter()
        for (kind, rule), count in damped.items():
            event = ConnectionRefused(decision="refused", rule=rule, count=count, reason=f"further ones of {kind}")
            self._log.note(event, "gateway")

    def _placed(self, event: Event) -> Event:
        """The event with whose session it was, and where it runs."""
        if not event.session:
            return event
        if isinstance(event, SessionBound | SessionEnrolled):
            self._known.pop(event.session, None)  # its row has changed
        session = self._known.get(event.session) or self._look_up(event.session)
        if session is None:
            return event
        subject = event.subject
        if not subject.user:
            subject = msgspec.structs.replace(
                subject, user=session.user, account=subject.account or f"uid {session.uid}"
            )
        return msgspec.structs.replace(
            event,
            subject=subject,
            server=session.server,
            job=event.job or session.job_id,
            node=event.node or session.node,
            project=session.project,
            policy=event.policy or session.access,
        )

    def _look_up(self, session_id: str) -> Session | None:
        try:
            session = self._session(session_id)
        except HpcsecError:  # the store is away; the event has the session's id all the same
            return None
        if session is not None and session.node:  # until then its row will change
            self._known[session_id] = session
            while len(self._known) > SESSIONS:
                self._known.popitem(last=False)
        return session
