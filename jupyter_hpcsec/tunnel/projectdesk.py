"""The admin socket's calls about projects: who may make them, and on to the registry, which decides."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel.acting import Acting, acting
from jupyter_hpcsec.tunnel.observer import CALLER


class Projects(Protocol):
    """The registry (``hub.projectoffice``)."""

    def admit(self, name: str, user: str, groups: Iterable[str]) -> None:
        """Whether a new session of the user may be of this project, or of none; ``Refused``. Awaits nothing."""

    def listed(self, user: str, groups: Iterable[str]) -> dict[str, Any]:
        """A user's projects; all of them for nobody in particular."""

    def show(self, name: str) -> dict[str, Any]:
        """One project."""

    async def propose(self, name: str, terms: Mapping[str, Any], acting: Acting) -> dict[str, Any]:
        """A new project, or other terms for one."""

    async def approve(self, name: str, review_on: str, acting: Acting, seen: int = 0) -> dict[str, Any]:
        """Approve the terms until a day, those of revision ``seen`` where that is not 0."""

    async def renew(self, name: str, review_on: str, reason: str, acting: Acting) -> dict[str, Any]:
        """Grant a renewal until a day; without one, ask for it."""

    async def change_members(self, name: str, changes: Mapping[str, Sequence[str]], acting: Acting) -> dict[str, Any]:
        """Other members."""

    async def close(self, name: str, reason: str, acting: Acting) -> dict[str, Any]:
        """No session of it begins any more."""


class NoProjects:
    """A gateway without a registry: for tests of its other parts. A project's name is taken as it is given."""

    def admit(self, name: str, user: str, groups: Iterable[str]) -> None:
        """Every name is good."""

    def __getattr__(self, name: str) -> Any:
        raise Unavailable("This gateway keeps no projects.")


class ProjectDesk:
    """Part of ``desk.Desk``."""

    def __init__(self, projects: Projects | None) -> None:
        self._projects: Projects = projects or NoProjects()

    async def projects(self, user: str, groups: Sequence[str]) -> dict[str, Any]:
        """A user's projects, for the hub's spawn page; the whole list for root and the gateway's user only."""
        if not user:
            _check_reader()
        return self._projects.listed(user, groups)

    async def project_show(self, project: str) -> dict[str, Any]:
        """One project, for root and the gateway's user."""
        _check_reader()
        return self._projects.show(project)

    async def project_propose(self, project: str, on_behalf: str, as_office: bool, **terms: Any) -> dict[str, Any]:
        """A new project, or other terms for one; nobody's in particular is the proposer's."""
        who = acting(on_behalf, as_office=as_office)
        return await self._projects.propose(project, terms | {"owner": terms["owner"] or who.name}, who)

    async def project_approve(
        self, project: str, on_behalf: str, as_office: bool, review_on: str, revision: int = 0
    ) -> dict[str, Any]:
        """The office approves a project's terms, as they were in the revision that it read."""
        return await self._projects.approve(project, review_on, acting(on_behalf, as_office=as_office), revision)

    async def project_renew(
        self, project: str, on_behalf: str, as_office: bool, review_on: str, reason: str
    ) -> dict[str, Any]:
        """The office renews; without a day, the owner asks for it."""
        return await self._projects.renew(project, review_on, reason, acting(on_behalf, as_office=as_office))

    async def project_members(
        self, project: str, on_behalf: str, as_office: bool, **changes: Sequence[str]
    ) -> dict[str, Any]:
        """Members come and go."""
        return await self._projects.change_members(project, changes, acting(on_behalf, as_office=as_office))

    async def project_close(self, project: str, on_behalf: str, as_office: bool, reason: str) -> dict[str, Any]:
        """No session of it begins any more."""
        return await self._projects.close(project, reason, acting(on_behalf, as_office=as_office))


def _check_reader() -> None:
    peer = CALLER.get()
    if peer is None or peer.uid not in (0, os.geteuid()):
        raise Refused("project.caller", "Only root and the gateway's user may see other people's projects.")
