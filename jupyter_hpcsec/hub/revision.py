"""Revocation by policy: sessions whose rules are no longer what the policy says are told, and end after a grace time.

The running sandbox can't be changed, only ended; so each enrolled session is resolved anew whenever the policy has
changed. A policy that can't be used ends nobody's session by itself, and gives nobody more time either.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

import msgspec

from jupyter_hpcsec.access.values import Subject
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.hub.policies import Policies, Rules, meaning
from jupyter_hpcsec.tunnel.messages import Stale
from jupyter_hpcsec.tunnel.session import Session

LOOK_S = 3.0
"""Seconds between two looks at the policy."""

CHANGED = "The access policy has changed, and with it what you may do; this session still runs under the old rules"
LOST = "The access policy gives you no access any more"
OVER = (
    "the access policy has changed for you and the grace time is over; start the server again to go on under the new "
    "rules"
)
NEVER_HAD = "This session began before there was an access policy here"


class Sessions(Protocol):
    """What is needed of the gateway's store."""

    def subjects(self) -> list[tuple[Session, str]]:
        """Enrolled sessions and whom they are for."""

    def set_stale(self, session_id: str, stale_at: int) -> None:
        """Remember since when a session is stale; 0: it is not."""


class Tellers(Protocol):
    """What is needed of the gateway's registry."""

    def now(self) -> int:
        """Unix seconds."""

    def tell_stale(self, session_id: str, stale: Stale) -> None:
        """Let the session's agent know."""

    def finish(self, session_id: str, reason: str) -> None:
        """End the session."""


def encode_subject(subject: Subject) -> str:
    """For the store."""
    return msgspec.json.encode(subject, order="sorted").decode()


class Revision:
    """Looks after all sessions of one gateway. ``grace_s``: from being told to the end."""

    def __init__(
        self, policies: Policies, sessions: Sessions, tellers: Tellers, *, grace_s: int, log: logging.Logger
    ) -> None:
        self._policies, self._sessions, self._tellers = policies, sessions, tellers
        self._grace_s, self._log = grace_s, log
        self._seen: Rules | None = None
        self._ending: dict[str, int] = {}

    async def run(self) -> None:
        """Look, for ever. A database that does not answer is said and tried again."""
        self.take_back()
        while True:
            try:
                await self.look()
            except HpcsecError as error:
                self._log.error("sessions can't be compared with the policy now: %s", error)
            await asyncio.sleep(LOOK_S)

    def take_back(self) -> None:
        """After a restart of the gateway nobody gets more time, and agents hear it again, also without a policy."""
        for session, _ in self._sessions.subjects():
            if session.stale_at:
                self._mark(session.id, session.stale_at, CHANGED)

    async def look(self) -> None:
        """Compare all sessions with a policy that has changed; end those whose time is over, also when that fails."""
        try:
            await self._compare_all()
        finally:
            self._end_overdue()

    async def _compare_all(self) -> None:
        rules = self._seen
        with contextlib.suppress(Refused):  # said when it was read; whoever runs goes on
            rules = await self._policies.rules()
        if rules is not None and rules is not self._seen:
            for session, subject in self._sessions.subjects():
                self._compare(rules, session, subject)
                await asyncio.sleep(0)  # thousands of sessions must not hold up a keystroke
            self._seen = rules

    def _end_overdue(self) -> None:
        now = self._tellers.now()
        for session_id in [known for known, ends_at in self._ending.items() if ends_at <= now]:
            del self._ending[session_id]
            with contextlib.suppress(Unavailable):  # it is cut all the same, and said (``registry.finish``)
                self._tellers.finish(session_id, OVER)

    def _compare(self, rules: Rules, session: Session, subject: str) -> None:
        reason = difference(rules, session.access, subject)
        since = (session.stale_at or self._tellers.now()) if reason else 0
        if since != session.stale_at:
            try:
                self._sessions.set_stale(session.id, since)
            except Refused:  # it has ended meanwhile
                return
            self._log.warning(
                "session %s of %s %s (policy %s)",
                session.id,
                session.user,
                f"is stale, and ends in {self._grace_s} s: {reason}" if reason else "is as the policy says again",
                rules.digest,
            )
        if not since:
            self._ending.pop(session.id, None)
            if session.stale_at:
                self._tellers.tell_stale(session.id, Stale())
            return
        self._mark(session.id, since, reason)

    def _mark(self, session_id: str, since: int, reason: str) -> None:
        ends_at = since + self._grace_s
        self._ending[session_id] = ends_at
        self._tellers.tell_stale(session_id, Stale(since=since, ends_at=ends_at, reason=f"{reason}."))


def difference(rules: Rules, access: str, subject: str) -> str:
    """Why a session is not as the policy says; empty when it is. ``access`` is what it began with (``meaning``)."""
    if not subject:
        return NEVER_HAD
    try:
        now = meaning(rules.resolve(msgspec.json.decode(subject, type=Subject)))
    except HpcsecError as error:
        return f"{LOST}: {error.reason.rstrip('.')}"
    return "" if now == access else CHANGED
