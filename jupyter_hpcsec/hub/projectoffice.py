"""The registry at work: every change is decided by ``projects.rules``, recorded, and then made, in this order.

It is the only writer of the registry. Where the record can't be written, nothing changes and no session of a project
begins. A session's admission awaits nothing, so that none slips in behind a project that is being closed.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec

from jupyter_hpcsec.audit.events import Event, Object
from jupyter_hpcsec.audit.kinds import projects as kinds
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.hub.projectstore import ProjectStore
from jupyter_hpcsec.projects import rules
from jupyter_hpcsec.projects.rules import Site
from jupyter_hpcsec.projects.values import Actor, Project, State, Terms
from jupyter_hpcsec.tunnel.acting import Acting
from jupyter_hpcsec.tunnel.observer import Observer

T = TypeVar("T", kinds.ProjectProposed, kinds.ProjectApproved, kinds.ProjectChanged)


class ProjectOffice:
    """``mode`` is ``off``, ``optional`` or ``required``; ``clock`` gives Unix seconds.

    ``told(groups)``: what users of these groups are told before they start: ``access`` and ``recording``, in sentences.
    """

    def __init__(
        self,
        store: ProjectStore,
        *,
        mode: str,
        site: Site,
        observer: Observer,
        clock: Callable[[], float] = time.time,
        told: Callable[[Sequence[str]], Mapping[str, str]] = lambda _groups: {},
    ) -> None:
        self._told = told
        self._store, self.mode, self._site, self._observer, self._clock = store, mode, site, observer, clock
        self._changing = asyncio.Lock()

    def shut(self) -> None:
        """Close the file; the gateway stops."""
        self._store.close()

    # Sessions

    def admit(self, name: str, user: str, groups: Iterable[str]) -> None:
        """Whether a new session may be this project's; no name: of none. ``Refused``. Awaits nothing."""
        if self.mode == "off":
            return
        if name:
            rules.admit(self._store.get(name), name, user, groups, self._today(), self._site)
        elif self._mode_for(user, frozenset(groups), self._store.all()) == "required":
            raise Refused(
                "project.needed",
                "Every session of yours belongs to a project: choose one of yours. If you have none, ask "
                f"{self._site.office}.",
            )

    def _mode_for(self, user: str, groups: frozenset[str], projects: Iterable[Project]) -> str:
        """Where projects are optional they are for those who are in none: nobody leaves a review by naming none."""
        is_bound = self.mode == "optional" and any(each.binds(user, groups) for each in projects)
        return "required" if is_bound else self.mode

    # What is shown

    def listed(self, user: str, groups: Iterable[str]) -> dict[str, Any]:
        """The projects of a user, closed ones left out; all of them for nobody in particular."""
        mine, projects = frozenset(groups), self._store.all()
        found = [each for each in projects if not user or (each.has_member(user, mine) and not each.closed_at)]
        mode = self._mode_for(user, mine, projects) if user else self.mode
        answer = {"mode": mode, "office": self._site.office, "projects": [self.describe(each) for each in found]}
        return answer | ({"told": dict(self._told(sorted(mine)))} if user else {})

    def show(self, name: str) -> dict[str, Any]:
        """One project; ``Refused`` when there is none."""
        return self.describe(self._known(name))

    def describe(self, project: Project) -> dict[str, Any]:
        """A project as JSON: its fields, what it is good for today, and what its members are told of its review."""
        today = self._today()
        return {
            **msgspec.to_builtins(project),
            "state": project.state(today).value,
            "days_left": project.days_left(today),
            "warning": rules.warning(project, today, self._site),
            "why_not": self._why_not(project, today),
        }

    def _why_not(self, project: Project, today: date) -> str:
        if project.state(today) is State.OPEN:
            return ""
        try:
            rules.admit(project, project.id, project.terms.owner, (), today, self._site)
        except Refused as refusal:
            return refusal.reason
        raise AssertionError("BUG: a project that is not open lets its owner begin")

    # Changes

    async def propose(self, name: str, terms: Mapping[str, Any], acting: Acting) -> dict[str, Any]:
        """A new project, or other terms for one; ``terms`` are the fields of ``Terms``."""

        def make(before: Project | None) -> tuple[Project, Event]:
            try:
                asked = msgspec.convert(dict(terms), Terms)
            except msgspec.ValidationError as exc:
                raise Malformed(f"the project's terms: {exc}") from exc
            unapproved = sum(each.proposed_by == acting.name and not each.approved_at for each in self._store.all())
            after = rules.propose(before, name, asked, _actor(acting), self._now(), self._site, unapproved=unapproved)
            return after, _terms(kinds.ProjectProposed, after)

        return await self._change("propose", name, make, acting)

    async def approve(self, name: str, review_on: str, acting: Acting, seen: int = 0) -> dict[str, Any]:
        """Approve the terms until a day, those of revision ``seen`` where that is not 0."""

        def make(before: Project | None) -> tuple[Project, Event]:
            known, day = self._there(before), _day(review_on)
            after = rules.approve(known, day, _actor(acting), self._now(), self._today(), self._site, seen=seen)
            return after, msgspec.structs.replace(_terms(kinds.ProjectApproved, after), review_on=after.review_on)

        return await self._change("approve", name, make, acting)

    async def renew(self, name: str, review_on: str, reason: str, acting: Acting) -> dict[str, Any]:
        """Grant a renewal until a day; without one, ask for it."""

        def make(before: Project | None) -> tuple[Project, Event]:
            known = self._there(before)
            if not review_on:
                asked = rules.ask(known, reason, _actor(acting), self._now(), self._site)
                return asked, kinds.ProjectRenewalAsked(
                    review_on=known.review_on, reason=reason, revision=asked.revision
                )
            after = rules.renew(known, _day(review_on), _actor(acting), self._today(), self._site)
            return after, kinds.ProjectRenewed(
                review_on=after.review_on, review_before=known.review_on, reason=reason, revision=after.revision
            )

        return await self._change("renew", name, make, acting)

    async def change_members(self, name: str, changes: Mapping[str, Sequence[str]], acting: Acting) -> dict[str, Any]:
        """Members come and go: ``add_users``, ``remove_users``, ``add_groups``, ``remove_groups``."""

        def make(before: Project | None) -> tuple[Project, Event]:
            known = self._there(before)
            users, groups = (
                (set(getattr(known.terms, kind)) | set(changes[f"add_{kind}"])) - set(changes[f"remove_{kind}"])
                for kind in ("users", "groups")
            )
            after = rules.set_members(known, users, groups, _actor(acting), self._site)
            return after, _terms(kinds.ProjectChanged, after)

        return await self._change("members", name, make, acting)

    async def close(self, name: str, reason: str, acting: Acting) -> dict[str, Any]:
        """No session of it begins any more."""

        def make(before: Project | None) -> tuple[Project, Event]:
            after = rules.close(self._there(before), reason, _actor(acting), self._now(), self._site)
            return after, kinds.ProjectClosed(reason=reason, revision=after.revision)

        return await self._change("close", name, make, acting)

    async def _change(
        self,
        action: str,
        name: str,
        make: Callable[[Project | None], tuple[Project, Event]],
        acting: Acting,
    ) -> dict[str, Any]:
        """Steps: 1 one change at a time; 2 the rules; 3 on record; 4 on disk. A refusal is on record too."""
        facts: dict[str, Any] = {
            "subject": acting.subject,
            "project": name,
            "object": Object(type="project", name=name),
        }
        async with self._changing:  # 1
            try:
                self._observer.require()
                after, event = make(self._store.get(name))  # 2
                digest = Object(type="project", name=name, sha256=_digest(after))
                await self._observer.keep(  # 3
                    msgspec.structs.replace(event, **(facts | {"object": digest}), decision="allowed")
                )
                self._store.put(after)  # 4
            except HpcsecError as error:
                rule = error.rule if isinstance(error, Refused) else f"project.{type(error).__name__.lower()}"
                self._observer.note(
                    kinds.ProjectRefused(action=action, decision="refused", rule=rule, reason=error.reason, **facts)
                )
                raise
        return self.describe(after)

    def _known(self, name: str) -> Project:
        return self._there(self._store.get(name))

    @staticmethod
    def _there(project: Project | None) -> Project:
        if project is None:
            raise Refused("project.unknown", "There is no project of this name.")
        return project

    def _now(self) -> int:
        return int(self._clock())

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).date()


def _actor(acting: Acting) -> Actor:
    return Actor(acting.name, acting.is_office)


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise Malformed("A review date is written as year-month-day, such as 2027-06-30.") from None


def _terms(kind: type[T], project: Project) -> T:
    terms = project.terms
    return kind(
        title=terms.title,
        purpose=" ".join(terms.purpose.split()),
        owner=terms.owner,
        members=json.dumps({"users": terms.users, "groups": terms.groups}, ensure_ascii=False),
        paths=json.dumps(terms.paths, ensure_ascii=False),
        account=terms.account,
        revision=project.revision,
    )


def _digest(project: Project) -> str:
    terms = json.dumps(msgspec.to_builtins(project.terms), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(terms.encode()).hexdigest()
