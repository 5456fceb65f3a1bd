"""What hub and admins may ask of the gateway: the calls behind the admin socket (``admin.AdminControl``)."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Union

import msgspec

from jupyter_hpcsec import __version__
from jupyter_hpcsec.audit.events import Event, Subject
from jupyter_hpcsec.audit.kinds import FROM_CONSOLE, FROM_HUB
from jupyter_hpcsec.audit.kinds.gateway import AdminCalled, KeysRotated
from jupyter_hpcsec.audit.kinds.sessions import SessionBound, SessionRefused, SessionRegistered
from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.acting import caller
from jupyter_hpcsec.tunnel.admin import Registration
from jupyter_hpcsec.tunnel.broker import Broker
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.observer import CALLER
from jupyter_hpcsec.tunnel.peer import PeerCredentials
from jupyter_hpcsec.tunnel.projectdesk import ProjectDesk, Projects
from jupyter_hpcsec.tunnel.registry import Registry
from jupyter_hpcsec.tunnel.session import By, Progress, Session, State
from jupyter_hpcsec.tunnel.sessionpage import SessionQuestion

KEY_REPLACED = "The site replaced its keys before this job had started; start the server again."


PEOPLE = 10_000
"""Users of whom the policy's page is told."""
RECORD_S = 0.4
"""How long an end waits for its record: lanes and websockets are cut within a second of the order."""

Reading = Callable[[str, str, int, bool, int, str, Subject], Awaitable[None]]
"""``reading(action, query, found, with_values, leaf, name, who)``: see ``AdminClient.audit_read``."""


Retaining = Callable[[int, int, Subject], Awaitable[dict[str, int]]]
"""``retaining(events_days, values_days, who)``: see ``AdminClient.audit_retain``."""


async def _no_retention(*_: object) -> dict[str, int]:
    raise Unavailable("This gateway keeps no audit record.")


async def _no_record(*_: object) -> None:
    raise Unavailable("This gateway keeps no audit record.")


def _person(session: Session, subject: str) -> dict[str, Any]:
    """Whom the policy was asked about: what it was given at the enrolment, before that what the hub said."""
    given = json.loads(subject) if subject else {}
    return {
        "user": session.user,
        "uid": session.uid,
        "gid": given.get("gid", session.uid),
        "home": given.get("home") or session.home,
        "groups": list(given.get("groups") or session.groups),
        "project": given.get("project") or session.project,
        "active": session.state is not State.ENDED,
        "created_at": session.created_at,
    }


def _check_owner(peer: PeerCredentials | None, rule: str, what: str) -> None:
    if peer is None or peer.uid not in (0, os.geteuid()):
        raise Refused(rule, f"only root and the gateway's user may {what}")


class Desk(ProjectDesk):
    """Answers the admin socket. Errors are ours and cross it with their rule."""

    def __init__(
        self,
        registry: Registry,
        broker: Broker,
        *,
        settings: GatewaySettings,
        counters: Counters,
        endpoints: Callable[[], list[str]],
        log: logging.Logger,
        reading: "Reading | None" = None,
        retaining: "Retaining | None" = None,
        record: Callable[[], dict[str, Any]] = dict,
        projects: Projects | None = None,
        policy_text: Callable[[], str] = str,
    ) -> None:
        super().__init__(projects)
        self._policy_text = policy_text
        self._retaining = retaining or _no_retention
        self._reading, self._record = reading or _no_record, record
        self._recording: set[asyncio.Future[None]] = set()
        self._registry, self._broker, self._settings = registry, broker, settings
        self._counters, self._endpoints, self._log = counters, endpoints, log

    async def register(
        self,
        *,
        user: str,
        server: str,
        uid: int,
        lifetime_s: int,
        launch: Mapping[str, Any],
        home: str,
        groups: Sequence[str] = (),
        project: str = "",
    ) -> Registration:
        """A new session for a job that is about to be submitted, and its job token."""
        self._registry.observer.require()
        now = self._registry.now()
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
            groups=tuple(groups),
            project=project,
            home=home,
        )
        try:
            self._projects.admit(project, user, groups)
            await self._broker.admit(session)
            self._projects.admit(project, user, groups)  # closed meanwhile? From here on nothing is awaited
        except HpcsecError as error:
            self._tell_refused(session, error)
            raise
        self._registry.add(session, launch)
        try:
            token, ca = self._broker.token(session, self._registry.now()), self._broker.authority()
        except BaseException:
            self._registry.finish(session.id, "no token could be made")  # nobody will ever know of it
            raise
        try:
            await self._registry.observer.keep(
                SessionRegistered(session=session.id, lifetime_s=lifetime_s, decision="allowed")
            )
        except Unavailable:
            self._registry.finish(session.id, "it could not be recorded")
            raise
        self._registry.note(session.id, State.WAITING, "Registered; the job is being submitted.")
        return Registration(
            session=session.id,
            token=token,
            ca=ca,
            endpoints=list(self._settings.public_endpoints),
            socket=self._registry.socket_path(session.id),
        )

    def _tell_refused(self, session: Session, error: HpcsecError) -> None:
        policy = self._broker.status(self._registry.now()).get("policy", {})
        event = SessionRefused(
            subject=Subject(user=session.user, account=f"uid {session.uid}"),
            server=session.server,
            project=session.project,
            decision="refused",
            rule=error.rule if isinstance(error, Refused) else "session.unavailable",
            policy=str(policy.get("digest", "")),
            reason=error.reason,
        )
        self._registry.observer.note(event)

    async def bind_job(self, session: str, job_id: str) -> None:
        """Say which job was submitted for a session: only that one may enrol."""
        self._registry.store.bind_job(session, job_id)
        self._registry.observer.note(SessionBound(session=session, job=job_id))
        self._registry.note(session, State.WAITING, f"Job {job_id} is in the queue.")

    async def show(self, session: str) -> dict[str, Any]:
        """One session with its counts."""
        return self._registry.facts(session)

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        """Progress of a session after a number, as it comes."""
        return await self._registry.wait(session, after, timeout_s)

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """Sessions that ended, as they end: the hub cancels their jobs."""
        return await self._registry.endings.after(boot, after, timeout_s)

    async def end(self, session: str, reason: str, by: By = "staff", on_behalf: str = "") -> None:
        """End a session now, for whatever reason; ending it twice is no error.

        Who ended it and why is on record before it takes effect; but a record that can't be written, or is slow, keeps
        nobody in: ending is the safe direction. It is then recorded when it can be, and ``session.ended`` after it.
        """
        await self._called_first("end", session, reason, caller(on_behalf))
        self._registry.finish(session, reason, by)

    async def cut(self, session: str, reason: str) -> None:
        """Cut a session's open connections: its websockets end now, its job goes on. Recorded as an end is."""
        await self._called_first("cut", session, reason, caller())
        self._registry.cut(session, reason)

    async def _called_first(self, call: str, session: str, reason: str, who: Subject) -> None:
        """Who asked for it: the hub does so for its users, people do with ``hpcsec session``."""
        observer = self._registry.observer
        event = AdminCalled(call=call, subject=who, session=session, reason=reason)

        async def record() -> None:
            try:
                await observer.keep(event)
            except Unavailable:
                observer.note(event)

        recording = asyncio.ensure_future(record())
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)
        await asyncio.wait({recording}, timeout=RECORD_S)

    async def audit_read(
        self, *, action: str, query: str, found: int, with_values: bool, leaf: int, name: str, on_behalf: str = ""
    ) -> None:
        """Somebody reads the audit record; it is theirs to read, and it is recorded before they do.

        A value is shredded for root and the gateway's own user only: the hub may register sessions and destroy nothing.
        """
        peer = CALLER.get()
        if action == "shred":
            _check_owner(peer, "audit.shred", "shred values")
        await self._reading(action, query, found, with_values, leaf, name, caller(on_behalf))

    async def hub_event(self, *, event: dict[str, Any]) -> None:
        """What happened in the hub, as its word: durable when this returns. ``Malformed`` for what is not the hub's."""
        try:
            told: Event = msgspec.convert(event, Union[FROM_HUB])  # noqa: UP007 - computed
        except msgspec.ValidationError as exc:
            raise Malformed(f"not an event of the hub: {exc}") from exc
        await self._registry.observer.keep(told, "hub")

    async def console_event(self, *, event: dict[str, Any], on_behalf: str, note: str = "") -> None:
        """What happened in the console: noted where it refused something, else durable when this returns.

        A ``note`` is sealed beside its event, so that it can be destroyed and is in no log collector.
        """
        _check_owner(CALLER.get(), "audit.console", "tell what happened in the console")
        try:
            told: Event = msgspec.convert(event, Union[FROM_CONSOLE])  # noqa: UP007 - computed
        except msgspec.ValidationError as exc:
            raise Malformed(f"not an event of the console: {exc}") from exc
        placed = msgspec.structs.replace(told, subject=caller(on_behalf))
        if told.decision == "refused":
            self._registry.observer.note(placed)
        elif note:
            await self._registry.observer.keep(placed, sealed={"note": note.encode()})
        else:
            await self._registry.observer.keep(placed)

    async def audit_retain(self, *, events_days: int, values_days: int) -> dict[str, int]:
        """Remove what is older than so many days, for root and the gateway's own user."""
        _check_owner(CALLER.get(), "audit.retain", "remove events")
        return await self._retaining(events_days, values_days, caller())

    async def sessions(self) -> list[dict[str, Any]]:
        """All sessions that have not ended."""
        return [self._registry.facts(row.id) for row in self._registry.store.active()]

    async def session_page(self, **asked: Any) -> dict[str, Any]:
        """One page of them (``sessionpage.SessionQuestion``), and how many answer in all; ``more``: another page is."""
        question = SessionQuestion(**asked)
        rows, total = self._registry.store.page(question)
        shown = [self._registry.facts(row.id) for row in rows[: question.limit]]
        return {"sessions": shown, "total": total, "more": len(rows) > question.limit}

    async def status(self) -> dict[str, Any]:
        """Facts about this gateway for people and for ``hpcsec doctor``."""
        return {
            "version": __version__,
            "now": self._registry.now(),
            "listen": self._endpoints(),
            "endpoints": list(self._settings.public_endpoints),
            "sessions": len(self._registry),
            "hub_api_url": self._settings.hub_api_url,
            "state_directory": str(self._settings.state_directory),
            "run_directory": str(self._settings.run_directory),
            "refusals": dict(self._counters.snapshot()),
            "limits": asdict(self._settings.limits),
            "audit": self._record(),
            **self._broker.status(self._registry.now()),
        }

    async def policy(self) -> dict[str, Any]:
        """The access policy as it was loaded, and for whom it decided: who has a session, or had one lately."""
        found = await asyncio.to_thread(self._registry.store.people, PEOPLE + 1)
        facts = self._broker.status(self._registry.now())
        return {
            **facts.get("policy", {}),
            "recording": facts.get("recording", {}),
            "text": self._policy_text(),
            "people": [_person(session, subject) for session, subject in found[:PEOPLE]],
            "more": len(found) > PEOPLE,
        }

    async def keys(self) -> list[dict[str, Any]]:
        """The keys, without secrets."""
        return self._broker.keys(self._registry.now())

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        """Rotate the keys of a kind; running sessions go on."""
        self._log.info("rotating keys: %s", kind)
        self._registry.observer.note(KeysRotated(what=kind, subject=caller()))
        return self._broker.rotate(kind, self._registry.now())

    async def drop_tokens(self) -> list[dict[str, Any]]:
        """Accept no token that was signed until now, at once.

        Steps: 1 the keys, on disk; 2 sessions that wait end, so that an enrolment that was past the token's check fails
        as well, and that nobody waits in the queue for nothing. No step awaits: no session is registered in between.
        """
        self._log.warning("dropping all token keys: jobs that have not enrolled lose their tokens")
        self._broker.drop_tokens(self._registry.now())
        lost = [asdict(session) for session in self._registry.store.active() if session.state is State.WAITING]
        for session in lost:
            with contextlib.suppress(Unavailable):  # it is cut, and its end is written later (see finish)
                self._registry.finish(session["id"], KEY_REPLACED)
        return lost
