"""Projects: what a site's machines are used for, until when that was reviewed; proposals, approvals, renewals.

Whoever is logged in sees their own; the project office (scope PROJECT) sees all. Every change is for the gateway to
decide and to record, in the reader's name.
"""

import asyncio
import contextlib
from typing import Any

from jupyter_hpcsec.console.page import PROJECT, READ, SELF, Page
from jupyter_hpcsec.console.views import projects as views
from jupyter_hpcsec.console.views.projects import Project
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.hub import account as accounts

PURPOSE_LIMIT = 4000
NAMES_LIMIT = 64 * 1024
MEMBERS = ("add_users", "remove_users", "add_groups", "remove_groups")


class _ProjectPage(Page):
    """What the pages about projects share."""

    scope = SELF

    @property
    def is_office(self) -> bool:
        """Whether the reader may approve."""
        return self.reader.may(PROJECT)

    @property
    def who(self) -> dict[str, Any]:
        """In whose name the gateway is asked."""
        return {"on_behalf": self.reader.name, "as_office": self.is_office}

    async def known(self) -> list[Project]:
        """Those that the reader may see."""
        if self.is_office:
            answer = await self.desk.gateway.projects()
        else:
            answer = await self.desk.gateway.projects(self.reader.name, await self.groups())
        return [views.project(each) for each in answer["projects"]]

    async def groups(self) -> list[str]:
        """The reader's groups as the spawner knows them: the hub's, and those of the account of this host."""

        def of_this_host() -> tuple[str, ...]:
            with contextlib.suppress(Refused):  # who has no account here has no groups here
                return accounts.group_names(accounts.lookup(self.reader.name).groups)
            return ()

        return sorted({*self.reader.groups, *await asyncio.to_thread(of_this_host)})

    async def one(self, name: str) -> Project:
        """The project, if it is the reader's to see; else ``Refused``, as if there were none."""
        for each in await self.known():
            if each.id == name:
                return each
        raise Refused("project.unknown", "There is no project of this name that is yours to see.")

    def text(self, name: str, limit: int) -> str:
        """A field of several lines."""
        value = self.get_body_argument(name, "")
        if len(value) > limit:
            raise Malformed(f"The field {name} is longer than {limit} characters.")
        return value.replace("\r\n", "\n").strip()

    def names(self, name: str) -> list[str]:
        """A field of names or paths, one a line."""
        return [line.strip() for line in self.text(name, NAMES_LIMIT).split("\n") if line.strip()]

    def terms(self) -> dict[str, Any]:
        """What a project is to be approved for."""
        return {
            "title": self.field("title", 255),
            "purpose": self.text("purpose", PURPOSE_LIMIT),
            "owner": self.field("owner", 255) or self.reader.name,
            "users": self.names("users"),
            "groups": self.names("groups"),
            "paths": self.names("paths"),
            "account": self.field("account", 255),
        }

    def typed(self, *names: str) -> dict[str, str]:
        """The form as it was sent, to be shown again."""
        return {name: self.get_body_argument(name, "", strip=False).replace("\r\n", "\n") for name in names}

    def show_terms(self, shown: Project | None, typed: dict[str, str] | None = None, problem: str = "") -> None:
        """The form for a project's terms: as they are, or as they were typed when something was wrong with them."""
        self.show(
            "project_terms.html",
            shown=shown,
            terms=views.terms(shown) if typed is None else typed,
            problem=problem,
            is_office=self.is_office,
        )

    def back_to(self, name: str) -> None:
        """Show the project as it is now; a reload repeats nothing."""
        self.redirect(f"{self.desk.settings.prefix}project/{name}", status=303)


class Projects(_ProjectPage):
    """``projects``: all of them for the office, one's own for others."""

    label = "Projects"

    async def get(self) -> None:
        """The list, what waits for somebody first."""
        rows = views.in_order(await self.known())
        await self.tell_read("projects", "", len(rows))
        self.show("projects.html", rows=rows, is_office=self.is_office)


class Propose(_ProjectPage):
    """``projects/new``."""

    async def get(self) -> None:
        """An empty form."""
        self.show_terms(None)

    async def post(self) -> None:
        """A new project: it waits for the office."""
        try:
            name = self.field("id", 64)
            if name in {each.id for each in await self.known()}:
                raise Refused("project.exists", f"There is a project {name} already: change it on its own page.")
            made = await self.desk.gateway.project_propose(name, **self.terms(), **self.who)
        except HpcsecError as error:
            self.show_terms(None, self.typed(*views.TERMS), self.refuse(error))
        else:
            self.back_to(str(made["id"]))


class One(_ProjectPage):
    """``project/ID``: all of it, and what its reader may do."""

    async def get(self, name: str) -> None:
        """The project."""
        await self.show_one(await self.one(name))

    async def show_one(self, shown: Project, typed: dict[str, str] | None = None, problem: str = "") -> None:
        """The project; with what was ``typed`` into one of its forms, where that could not be done."""
        await self.tell_read("projects", f"project={shown.id}", 1)
        may = views.may(shown, self.reader.name, is_office=self.is_office)
        facts = {"may": may, "may_read": self.reader.may(READ), "typed": typed or {"action": ""}, "problem": problem}
        self.show("project.html", shown=shown, **facts)

    async def post(self, name: str) -> None:
        """One change. Which of them the reader may make is the gateway's to say."""
        shown = await self.one(name)
        try:
            await self.change(name)
        except HpcsecError as error:
            typed = self.typed("action", "review_on", "reason", *MEMBERS)
            await self.show_one(shown, typed, self.refuse(error))
        else:
            self.back_to(name)

    async def change(self, name: str) -> None:
        """What the form says."""
        gateway, reason = self.desk.gateway, self.field("reason", 400)
        match self.field("action", 16):
            case "approve":
                await gateway.project_approve(name, self.day(), revision=self.revision(), **self.who)
            case "renew":
                await gateway.project_renew(name, review_on=self.day(), reason=reason, **self.who)
            case "ask":
                await gateway.project_renew(name, reason=reason, **self.who)
            case "members":
                changes: dict[str, Any] = {kind: self.field(kind, 4000).split() for kind in MEMBERS}
                await gateway.project_members(name, **changes, **self.who)
            case "close":
                if self.field("confirmed", 8) != "yes":
                    raise Malformed("Closing is for good: tick the box that says so.")
                await gateway.project_close(name, reason, **self.who)
            case _:
                raise Malformed("There is no such action.")

    def revision(self) -> int:
        """That of the page on which the form stood: what is approved is what was read."""
        text = self.field("revision", 15)
        if not (text.isascii() and text.isdigit() and int(text)):
            raise Malformed("The form does not say what you have read: open the project again.")
        return int(text)

    def day(self) -> str:
        """The review date of the form."""
        if not (day := self.field("review_on", 10)):
            raise Malformed("A review date is needed: the last day on which sessions may begin.")
        return day


class Terms(_ProjectPage):
    """``project/ID/terms``: other terms, which take the approval away."""

    async def get(self, name: str) -> None:
        """The form with the terms as they are."""
        shown = await self.one(name)
        await self.tell_read("projects", f"project={name} (to change it)", 1)
        self.show_terms(shown)

    async def post(self, name: str) -> None:
        """Propose them."""
        shown = await self.one(name)
        try:
            await self.desk.gateway.project_propose(name, **self.terms(), **self.who)
        except HpcsecError as error:
            self.show_terms(shown, self.typed(*views.TERMS), self.refuse(error))
        else:
            self.back_to(name)


ID = "([a-z][a-z0-9_-]{0,31})"
ROUTES: list[tuple[str, type[Page]]] = [
    ("projects", Projects),
    ("projects/new", Propose),
    (f"project/{ID}", One),
    (f"project/{ID}/terms", Terms),
]
