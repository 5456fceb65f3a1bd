"""Which project a start is for: what the gateway offers a user, and what of it they asked for. Pure.

The gateway decides; this keeps a start from asking for what can't be a name, and finds the one project where there is
nothing to choose.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.projects.values import ACCOUNT, PROJECT_ID

OPTION = "project"
"""Its name among the user's options."""


class OfferedTerms(Struct, frozen=True):
    """What of a project's terms the page and the job need."""

    title: str
    purpose: str
    owner: str
    account: str


class Offered(Struct, frozen=True):
    """One of a user's projects. ``why_not``: why no session of it starts now; ``warning``: until when one does."""

    id: str
    state: str
    review_on: str
    warning: str
    why_not: str
    terms: OfferedTerms

    @property
    def is_open(self) -> bool:
        """Whether a session may begin."""
        return not self.why_not


class Offer(Struct, frozen=True):
    """A user's projects, as the gateway has them. ``mode``: ``off``, ``optional`` or ``required``."""

    mode: str
    office: str
    projects: tuple[Offered, ...] = ()
    told: dict[str, str] = {}
    """What protects a session (``access``) and what is recorded of it (``recording``), in sentences."""

    @property
    def open(self) -> tuple[Offered, ...]:
        """Those that a session may begin in."""
        return tuple(each for each in self.projects if each.is_open)

    @property
    def in_order(self) -> tuple[Offered, ...]:
        """Those that are open first."""
        return tuple(sorted(self.projects, key=lambda each: (not each.is_open, each.id)))

    def chosen(self, name: str) -> Offered | None:
        """What a start is for: what was asked for, or the only one there is where one is needed."""
        if name:
            return next((each for each in self.projects if each.id == name), None)
        return self.open[0] if self.mode == "required" and len(self.open) == 1 else None


WITHOUT_PROJECTS = Offer(mode="off", office="")
"""A site that has none."""


def parse_offer(answer: Mapping[str, Any]) -> Offer:
    """The gateway's answer; ``Unavailable`` for one that is none."""
    try:
        offer = msgspec.convert(dict(answer), Offer)
    except msgspec.ValidationError as exc:
        raise Unavailable("The gateway's projects can't be read; hub and gateway differ in version.") from exc
    for each in offer.projects:
        account = each.terms.account
        if not PROJECT_ID.fullmatch(each.id) or (account and not ACCOUNT.fullmatch(account)):
            raise Unavailable("The gateway's projects can't be read; hub and gateway differ in version.")
    return offer


def asked_for(options: Any) -> str:
    """The project that a user's options name; empty for none. ``Refused`` for what can't be one."""
    name = options.get(OPTION, "") if isinstance(options, Mapping) else ""
    if not isinstance(name, str) or (name and not PROJECT_ID.fullmatch(name)):
        raise Refused("options.project", "There is no project of this name; choose one of yours.")
    return name
