"""What a project is, and who acts on one: frozen values, checked when they are made. No clock, no I/O.

A project's id is part of paths (the policy's ``{project}``), of job scripts and of pages: it is a short lower-case name
and nothing else. Titles and purposes are people's text: whoever shows them escapes them.
"""

import re
from datetime import date
from enum import StrEnum

import msgspec
from msgspec import Struct

from jupyter_hpcsec.errors import Malformed

PROJECT_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""Safe as one component of a path, as a word on a command line and in HTML."""
ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,63}")
"""An account of the batch system, as it may stand in a directive of a job script."""
TITLE_LIMIT, PURPOSE_LIMIT, REASON_LIMIT = 120, 1500, 400
"""Characters."""
MEMBERS_LIMIT, PATHS_LIMIT = 1000, 100


class State(StrEnum):
    """What a project is good for on a day."""

    PROPOSED = "proposed"
    """Nobody has approved its purpose, as it stands now."""
    OPEN = "open"
    EXPIRED = "expired"
    """Its review date has passed: it waits for a renewal."""
    CLOSED = "closed"
    """For good; its id is not used again."""


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project is approved for. ``account``: the batch system's, empty where the profile's counts."""

    title: str
    purpose: str
    owner: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    account: str = ""


class Project(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One project. Times are Unix seconds, 0 for never; ``review_on`` (ISO, UTC): the last day it is open."""

    id: str
    terms: Terms
    proposed_by: str
    proposed_at: int
    authors: tuple[str, ...] = ()
    """Who proposed or changed what was approved last, or is to be: none of them may approve it."""
    approved_by: str = ""
    approved_at: int = 0
    review_on: str = ""
    asked_by: str = ""
    """Who asked for a renewal that nobody has granted yet, with ``asked_at`` and ``asked_reason``."""
    asked_at: int = 0
    asked_reason: str = ""
    closed_by: str = ""
    closed_at: int = 0
    closed_reason: str = ""
    revision: int = 1

    def state(self, today: date) -> State:
        """What it is good for on this day (UTC)."""
        if self.closed_at:
            return State.CLOSED
        if not self.approved_at:
            return State.PROPOSED
        return State.OPEN if today <= date.fromisoformat(self.review_on) else State.EXPIRED

    def days_left(self, today: date) -> int:
        """Days after this one on which it is still open; below 0 when it is not, 0 without a review date."""
        return (date.fromisoformat(self.review_on) - today).days if self.review_on else 0

    def has_member(self, user: str, groups: frozenset[str]) -> bool:
        """Whether someone may work in it: its owner, one of its users, a member of one of its groups."""
        return user == self.terms.owner or user in self.terms.users or bool(groups & set(self.terms.groups))

    def binds(self, user: str, groups: frozenset[str]) -> bool:
        """Whether a member's sessions need a project for its sake: it was approved once, and is not closed.

        A mere proposal binds nobody: everybody may make one, and name whom they like.
        """
        return bool(self.review_on) and not self.closed_at and self.has_member(user, groups)


class Actor(Struct, frozen=True):
    """Who acts: a person by their name at the hub, or an account of this host. ``is_office``: may approve."""

    name: str
    is_office: bool = False


def check_id(text: str) -> str:
    """The id; ``Malformed`` says what one looks like."""
    if not PROJECT_ID.fullmatch(text):
        raise Malformed(
            "A project's id is a lower-case letter and then at most 31 lower-case letters, digits, '-' and '_'."
        )
    return text


def check_terms(terms: Terms) -> Terms:
    """The terms with doubles taken out and in order; ``Malformed`` names the field and the fix.

    1. Title and purpose say something, in printable text. 2. Names could be names. 3. Paths are absolute and plain.
    4. The account is a word that a job script may hold.
    """
    if not _is_line(terms.title, TITLE_LIMIT):  # 1
        raise Malformed(f"title: one printable line of at most {TITLE_LIMIT} characters is needed.")
    lines = terms.purpose.splitlines()
    if not terms.purpose.strip() or len(terms.purpose) > PURPOSE_LIMIT or not all(each.isprintable() for each in lines):
        raise Malformed(f"purpose: printable text of at most {PURPOSE_LIMIT} characters is needed: what it is for.")
    for field in ("users", "groups"):  # 2
        for name in getattr(terms, field):
            _check_name(field, name)
    _check_name("owner", terms.owner)
    if len(terms.users) + len(terms.groups) > MEMBERS_LIMIT:
        raise Malformed(f"members: at most {MEMBERS_LIMIT}; put them into a group.")
    for path in terms.paths:  # 3
        parts = path.split("/")
        if not _is_line(path, 4096) or parts[0] or any(part in ("", ".", "..") for part in parts[1:]):
            raise Malformed(f"paths: {path[:80]!r} must be absolute, without '..', '.', '//' and a '/' at its end.")
    if len(terms.paths) > PATHS_LIMIT:
        raise Malformed(f"paths: at most {PATHS_LIMIT}; name the directories that hold them.")
    if terms.account and not ACCOUNT.fullmatch(terms.account):  # 4
        raise Malformed("account: letters, digits and '_.:+-', at most 64, as the batch system knows it.")
    return msgspec.structs.replace(
        terms, users=_sorted(terms.users), groups=_sorted(terms.groups), paths=_sorted(terms.paths)
    )


def check_reason(text: str) -> str:
    """A sentence; ``Malformed`` where it is none."""
    if not _is_line(text, REASON_LIMIT):
        raise Malformed(f"reason: one printable line of at most {REASON_LIMIT} characters is needed.")
    return text


def _check_name(field: str, name: str) -> None:
    if not _is_line(name, 255) or "/" in name or name != name.strip():
        raise Malformed(f"{field}: {name[:40]!r} can't be the name of a user or group.")


def _is_line(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and text.isprintable() and bool(text.strip())


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
