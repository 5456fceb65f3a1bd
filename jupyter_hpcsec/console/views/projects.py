"""The Projects pages' values: a row for each project, one project whole, and what its reader may do with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLOURS = {"open": "good", "proposed": "warn", "expired": "bad", "closed": ""}
SOON_DAYS = 30
TERMS = ("id", "title", "purpose", "owner", "users", "groups", "paths", "account")
"""What is proposed and approved: the fields of the form."""


@dataclass(frozen=True)
class Project:
    """A project as the gateway describes it. Times are Unix seconds, 0 for never."""

    id: str
    title: str
    purpose: str
    owner: str
    users: tuple[str, ...]
    groups: tuple[str, ...]
    paths: tuple[str, ...]
    account: str
    state: str
    colour: str
    review_on: str
    days_left: int
    warning: str
    why_not: str
    proposed_by: str
    proposed_at: int
    authors: tuple[str, ...]
    approved_by: str
    approved_at: int
    asked_by: str
    asked_at: int
    asked_reason: str
    closed_by: str
    closed_at: int
    closed_reason: str
    revision: int

    @property
    def members(self) -> str:
        """How many, in words."""
        users = "the owner" if not self.users else f"{len(self.users) + 1} users"
        groups = f"{len(self.groups)} group{'' if len(self.groups) == 1 else 's'}"
        return f"{users}, {groups}" if self.groups else users

    @property
    def review(self) -> str:
        """When it is due, in words; empty before the first approval and after the end."""
        if not self.review_on or self.state == "closed":
            return ""
        if self.days_left < 0:
            return f"{-self.days_left} days overdue"
        return "today" if self.days_left == 0 else f"in {self.days_left} days"


@dataclass(frozen=True)
class May:
    """What a page offers its reader. The gateway decides again, whatever a page offers.

    ``other_eyes``: the reader is of the office, and it takes somebody else of it.
    """

    change: bool
    approve: bool
    renew: bool
    ask: bool
    other_eyes: bool = False


def project(facts: Mapping[str, Any]) -> Project:
    """From the gateway's answer."""
    terms: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts["terms"].items()
    }
    values: dict[str, Any] = {name: facts[name] for name in Project.__dataclass_fields__ if name in facts}
    values["authors"] = tuple(facts["authors"])
    state = str(facts["state"])
    return Project(
        **values,
        **terms,
        colour="warn" if state == "open" and facts["warning"] else COLOURS.get(state, ""),
    )


def terms(shown: Project | None) -> dict[str, str]:
    """A project's terms as its form has them: names and paths one a line; empty ones for a new project."""
    values = {name: getattr(shown, name, "") for name in TERMS}
    return {name: value if isinstance(value, str) else "\n".join(value) for name, value in values.items()}


def may(shown: Project, reader: str, *, is_office: bool) -> May:
    """What is offered: nothing of a closed one; nobody of the office approves alone (``projects.rules``)."""
    if shown.state == "closed":
        return May(change=False, approve=False, renew=False, ask=False)
    is_owner, is_approved = reader == shown.owner, bool(shown.approved_at)
    involved = (shown.owner, shown.asked_by) if is_approved else (shown.owner, shown.proposed_by, *shown.authors)
    reviews = is_office and reader not in involved
    return May(
        change=is_office or is_owner,
        approve=reviews and not is_approved,
        renew=reviews and is_approved,
        ask=is_owner and is_approved and not shown.asked_at,
        other_eyes=is_office and not reviews,
    )


def in_order(projects: list[Project]) -> list[Project]:
    """What waits for somebody first: proposals, what is overdue or asked for, then by the review date; closed last."""

    def rank(each: Project) -> tuple[int, str, str]:
        waits = each.state in ("proposed", "expired") or bool(each.asked_at)
        return (2 if each.state == "closed" else 0 if waits else 1, each.review_on or "0", each.id)

    return sorted(projects, key=rank)
