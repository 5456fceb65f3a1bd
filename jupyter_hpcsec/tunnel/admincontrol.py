"""What the admin socket's server asks, and the gateway does: the calls of ``admin``, as an interface."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jupyter_hpcsec.tunnel.adminwire import Registration
from jupyter_hpcsec.tunnel.session import By, Progress


class AdminControl(Protocol):
    """What the server asks and the gateway does. Errors are ours; ``session.unknown`` refuses an unknown session."""

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
        """Make a waiting session and its job token."""

    async def bind_job(self, session: str, job_id: str) -> None:
        """Bind a session to the batch system's job, once."""

    async def show(self, session: str) -> dict[str, Any]:
        """One session's fields and counters."""

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        """Steps with ``seq > after``, as soon as there are any; [] after ``timeout_s`` seconds."""

    async def end(self, session: str, reason: str, by: By = "staff", on_behalf: str = "") -> None:
        """End, revoke, cut; ending an ended session changes nothing. ``on_behalf`` names whom the console acts for."""

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """Which sessions ended after number ``after`` of the gateway's start ``boot``; see ``endings.Endings``."""

    async def cut(self, session: str, reason: str) -> None:
        """Cut what is open; the session goes on."""

    async def sessions(self) -> list[dict[str, Any]]:
        """All sessions that have not ended."""

    async def session_page(self, **asked: Any) -> dict[str, Any]:
        """One page of the sessions that have not ended: ``sessions``, ``total``, ``more``."""

    async def status(self) -> dict[str, Any]:
        """The gateway's own facts and counters."""

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        """Make a new current key of ``kind`` (``token``, ``authority``, ``all``); all keys after that."""

    async def drop_tokens(self) -> list[dict[str, Any]]:
        """Make a new token key, drop all others and end the sessions that wait with their tokens; those sessions."""

    async def keys(self) -> list[dict[str, Any]]:
        """All keys, without what is secret of them."""

    async def audit_read(
        self, *, action: str, query: str, found: int, with_values: bool, leaf: int, name: str, on_behalf: str = ""
    ) -> None:
        """Record that the audit record is read, or taken out, before it is; or shred a value of it."""

    async def hub_event(self, *, event: dict[str, Any]) -> None:
        """Record what happened in the hub, as the hub's word; durable when this returns."""

    async def policy(self) -> dict[str, Any]:
        """The access policy as the gateway has it, and for whom it decided in the last weeks."""

    async def console_event(self, *, event: dict[str, Any], on_behalf: str, note: str = "") -> None:
        """Record what happened in the security console, for the gateway's own user only; ``note`` is sealed beside."""

    async def projects(self, user: str, groups: Sequence[str]) -> dict[str, Any]:
        """A user's projects, or all."""

    async def project_show(self, project: str) -> dict[str, Any]:
        """One project."""

    async def project_propose(self, project: str, on_behalf: str, as_office: bool, **terms: Any) -> dict[str, Any]:
        """A new project, or other terms for one."""

    async def project_approve(
        self, project: str, on_behalf: str, as_office: bool, review_on: str, revision: int = 0
    ) -> dict[str, Any]:
        """Approve a project's terms until a day; ``Refused`` where they are not those of ``revision`` (0: any)."""

    async def project_renew(
        self, project: str, on_behalf: str, as_office: bool, review_on: str, reason: str
    ) -> dict[str, Any]:
        """Renew a project, or ask for it."""

    async def project_members(
        self, project: str, on_behalf: str, as_office: bool, **changes: Sequence[str]
    ) -> dict[str, Any]:
        """Members come and go."""

    async def project_close(self, project: str, on_behalf: str, as_office: bool, reason: str) -> dict[str, Any]:
        """Close a project for good."""

    async def audit_retain(self, *, events_days: int, values_days: int) -> dict[str, int]:
        """Remove what is older than so many days from the audit record; where what remains begins."""
