"""The client's side of the admin API's calls about projects. Part of ``admin.AdminClient``."""

from collections.abc import Mapping, Sequence
from typing import Any


class ProjectCalls:
    """Every answer is a project as ``hub.projectoffice`` describes it.

    ``on_behalf`` names the person who acts (accepted from the gateway's own user), ``as_office`` that they may approve;
    without a name it is whoever administers the host.
    """

    async def _call(self, name: str, arguments: Mapping[str, Any], *, held_s: float = 0) -> Any:
        raise NotImplementedError("BUG: a part without its client")

    async def projects(self, user: str = "", groups: Sequence[str] = ()) -> dict[str, Any]:
        """``{mode, office, projects}``: the open and not open projects of a user; all of them for nobody."""
        return dict(await self._call("projects", {"user": user, "groups": list(groups)}))

    async def project_show(self, project: str) -> dict[str, Any]:
        """One project."""
        return dict(await self._call("project_show", {"project": project}))

    async def project_propose(
        self,
        project: str,
        *,
        title: str,
        purpose: str,
        owner: str = "",
        users: Sequence[str] = (),
        groups: Sequence[str] = (),
        paths: Sequence[str] = (),
        account: str = "",
        on_behalf: str = "",
        as_office: bool = False,
    ) -> dict[str, Any]:
        """A new project, or other terms for one, which takes its approval away."""
        terms = {
            "title": title,
            "purpose": purpose,
            "owner": owner,
            "users": list(users),
            "groups": list(groups),
            "paths": list(paths),
            "account": account,
        }
        return await self._changed("propose", project, on_behalf, as_office, **terms)

    async def project_approve(
        self, project: str, review_on: str, *, revision: int = 0, on_behalf: str = "", as_office: bool = False
    ) -> dict[str, Any]:
        """Sessions may begin until ``review_on`` (year-month-day). ``revision``: what was read; else ``Refused``."""
        return await self._changed("approve", project, on_behalf, as_office, review_on=review_on, revision=revision)

    async def project_renew(
        self, project: str, *, review_on: str = "", reason: str = "", on_behalf: str = "", as_office: bool = False
    ) -> dict[str, Any]:
        """Move the review date; without one, ask for that, with a reason."""
        return await self._changed("renew", project, on_behalf, as_office, review_on=review_on, reason=reason)

    async def project_members(
        self,
        project: str,
        *,
        add_users: Sequence[str] = (),
        remove_users: Sequence[str] = (),
        add_groups: Sequence[str] = (),
        remove_groups: Sequence[str] = (),
        on_behalf: str = "",
        as_office: bool = False,
    ) -> dict[str, Any]:
        """Members come and go."""
        changes = {
            "add_users": list(add_users),
            "remove_users": list(remove_users),
            "add_groups": list(add_groups),
            "remove_groups": list(remove_groups),
        }
        return await self._changed("members", project, on_behalf, as_office, **changes)

    async def project_close(
        self, project: str, reason: str, *, on_behalf: str = "", as_office: bool = False
    ) -> dict[str, Any]:
        """No session of it begins any more."""
        return await self._changed("close", project, on_behalf, as_office, reason=reason)

    async def _changed(
        self, action: str, project: str, on_behalf: str, as_office: bool, **arguments: Any
    ) -> dict[str, Any]:
        who = {"project": project, "on_behalf": on_behalf, "as_office": as_office}
        return dict(await self._call(f"project_{action}", who | arguments))
