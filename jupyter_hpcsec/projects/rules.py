"""Who may do what with a project, and for whom one is open: every decision about projects stands here. Pure.

Each function gives the project as it will be, or raises ``Refused("project.…")`` with a sentence that names who can
help; nothing has changed then. It keeps nothing and tells nobody: that is ``hub.projectoffice``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from msgspec.structs import replace

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.projects.values import Actor, Project, State, Terms, check_id, check_reason, check_terms

UNAPPROVED_LIMIT = 20
"""Projects of one proposer that nobody has approved, closed ones too: everybody may propose, and each is kept."""


@dataclass(frozen=True)
class Site:
    """What a site says about all projects. ``contact``: its project office, as people write to it."""

    contact: str = ""
    longest_days: int = 366
    warning_days: int = 30

    @property
    def office(self) -> str:
        """Whom to ask, in a sentence."""
        return f"the project office ({self.contact})" if self.contact else "your administrators"


# -- sessions -------------------------------------------------------------------------------------------------------


def admit(project: Project | None, name: str, user: str, groups: Iterable[str], today: date, site: Site) -> None:
    """Whether a new session of ``user`` may be one of the project ``name``; ``Refused`` says why not, and who can help.

    Steps: 1 there is one; 2 they are a member (others learn nothing more of it); 3 it is not closed; 4 its purpose is
    approved; 5 its review date has not passed.
    """
    if project is None or project.id != name:  # 1
        raise Refused("project.unknown", f"There is no project of this name; ask {site.office} for yours.")
    if not project.has_member(user, frozenset(groups)):  # 2
        raise Refused(
            "project.not-a-member",
            f"You are no member of the project {name}: its owner can make you one, and so can {site.office}.",
        )
    match project.state(today):
        case State.CLOSED:  # 3
            raise Refused(
                "project.closed",
                f"The project {name} is closed. Choose another, or propose a new one to {site.office}.",
            )
        case State.PROPOSED:  # 4
            raise Refused(
                "project.unapproved",
                f"The purpose of the project {name} is not approved yet; {site.office} can do that, and its owner "
                f"{project.terms.owner} can say how far it is.",
            )
        case State.EXPIRED:  # 5
            raise Refused(
                "project.expired",
                f"The project {name} was to be reviewed by {project.review_on} and was not: no new sessions until it "
                f"is renewed. Its owner {project.terms.owner} can ask for that, {site.office} can do it.",
            )
        case State.OPEN:
            return


def warning(project: Project, today: date, site: Site) -> str:
    """A sentence for the members of an open project whose review is near; empty before that."""
    left = project.days_left(today)
    if project.state(today) is not State.OPEN or left > site.warning_days:
        return ""
    days = "today is the last day" if left == 0 else f"{left} day{'' if left == 1 else 's'} left"
    asked = " A renewal has been asked for." if project.asked_at else ""
    return (
        f"This project must be reviewed by {project.review_on} ({days}), or no new sessions start. Its owner "
        f"{project.terms.owner} can ask for a renewal, {site.office} can do it.{asked}"
    )


# -- changes --------------------------------------------------------------------------------------------------------


def propose(
    before: Project | None, name: str, terms: Terms, actor: Actor, now: int, site: Site, *, unapproved: int = 0
) -> Project:
    """A new project, or other terms for one: nobody has approved them, so that no session starts until someone has.

    ``unapproved``: how many there are that ``actor`` proposed and nobody approved.

    Steps: 1 form; 2 a new one is its proposer's own, and one of not too many, unless the office proposes it; 3
    another's is not changed; 4 a closed one stays closed, and nobody gets its id.
    """
    check_id(name)  # 1
    terms = check_terms(terms)
    if before is None:
        if terms.owner != actor.name and not actor.is_office:  # 2
            raise Refused(
                "project.owner", f"You can propose projects of your own; to propose others' is for {site.office}."
            )
        if unapproved >= UNAPPROVED_LIMIT and not actor.is_office:
            raise Refused(
                "project.too-many",
                f"{unapproved} projects that you proposed are not approved; more can be proposed by {site.office}.",
            )
        return Project(id=name, terms=terms, proposed_by=actor.name, proposed_at=now, authors=(actor.name,))
    _check_owner(before, actor, site)  # 3
    if terms.owner != before.terms.owner and not actor.is_office:
        raise Refused("project.owner", f"A project is given to another owner by {site.office}.")
    _check_not_closed(before, site)  # 4
    return replace(
        before,
        terms=terms,
        proposed_by=actor.name,
        proposed_at=now,
        authors=_authors(before, actor),
        approved_by="",
        approved_at=0,
        asked_by="",
        asked_at=0,
        asked_reason="",
        revision=before.revision + 1,
    )


def approve(
    before: Project, review_on: date, actor: Actor, now: int, today: date, site: Site, *, seen: int = 0
) -> Project:
    """Its purpose is approved until ``review_on``. ``seen``: the revision that the office has read; 0 where unknown.

    Steps: 1 by the office, not for itself, and by other eyes than those of who proposed or changed it; 2 a proposed
    one, as it was read: its owner may change it meanwhile; 3 the day.
    """
    _check_office(before, actor, site)  # 1
    _check_eyes(actor, (*before.authors, before.proposed_by), "proposed or changed what is to be approved", site)
    _check_not_closed(before, site)  # 2
    if seen not in (0, before.revision):
        raise Refused(
            "project.changed", f"The project {before.id} has changed since you read it: look at what it is now."
        )
    if before.approved_at:
        raise Refused("project.approved", f"The project {before.id} is approved; renew it to move its review date.")
    return replace(
        before,
        approved_by=actor.name,
        approved_at=now,
        review_on=_day(review_on, today, site),  # 3
        revision=before.revision + 1,
    )


def renew(before: Project, review_on: date, actor: Actor, today: date, site: Site) -> Project:
    """The review was made: open until ``review_on``. The office's, not for itself, not by who asked for it, and of what
    was approved before."""
    _check_office(before, actor, site)
    _check_eyes(actor, (before.asked_by,), "asked for this renewal", site)
    _check_approved(before, site)
    return replace(
        before,
        review_on=_day(review_on, today, site),
        asked_by="",
        asked_at=0,
        asked_reason="",
        revision=before.revision + 1,
    )


def ask(before: Project, reason: str, actor: Actor, now: int, site: Site) -> Project:
    """Its owner asks for a renewal and says why; the review date stays until the office has granted it."""
    check_reason(reason)
    _check_owner(before, actor, site)
    _check_approved(before, site)
    return replace(before, asked_by=actor.name, asked_at=now, asked_reason=reason, revision=before.revision + 1)


def set_members(before: Project, users: Iterable[str], groups: Iterable[str], actor: Actor, site: Site) -> Project:
    """Other members. The owner answers for who they are: it takes no approval, and is recorded.

    Those that a purpose is approved with are read by who approves it, which is somebody else than who named them.
    """
    _check_owner(before, actor, site)
    _check_not_closed(before, site)
    terms = check_terms(replace(before.terms, users=tuple(users), groups=tuple(groups)))
    authors = before.authors if before.approved_at else _authors(before, actor)
    return replace(before, terms=terms, authors=authors, revision=before.revision + 1)


def close(before: Project, reason: str, actor: Actor, now: int, site: Site) -> Project:
    """No session of it starts any more."""
    check_reason(reason)
    _check_owner(before, actor, site)
    _check_not_closed(before, site)
    return replace(before, closed_by=actor.name, closed_at=now, closed_reason=reason, revision=before.revision + 1)


def _check_owner(project: Project, actor: Actor, site: Site) -> None:
    if actor.name != project.terms.owner and not actor.is_office:
        raise Refused("project.not-yours", f"Only the owner of the project {project.id} and {site.office} may do that.")


def _check_office(project: Project, actor: Actor, site: Site) -> None:
    if not actor.is_office:
        raise Refused("project.office", f"Only {site.office} may do that.")
    if actor.name == project.terms.owner:
        raise Refused("project.own", "Nobody reviews a project of their own: ask somebody else of the project office.")


def _authors(before: Project, actor: Actor) -> tuple[str, ...]:
    """Who answers for the words of a change: for those that were approved nobody has to any more."""
    earlier = () if before.approved_at else (*before.authors, before.proposed_by)
    return tuple(sorted({*earlier, actor.name}))


def _check_eyes(actor: Actor, others: Iterable[str], did: str, site: Site) -> None:
    if actor.name in others:
        raise Refused("project.four-eyes", f"You {did}: that takes somebody else of {site.office}.")


def _check_approved(project: Project, site: Site) -> None:
    _check_not_closed(project, site)
    if not project.approved_at:
        raise Refused("project.unapproved", f"The project {project.id} is not approved yet: {site.office} can do that.")


def _check_not_closed(project: Project, site: Site) -> None:
    if project.closed_at:
        raise Refused(
            "project.closed", f"The project {project.id} is closed for good; propose a new one to {site.office}."
        )


def _day(review_on: date, today: date, site: Site) -> str:
    last = today + timedelta(days=site.longest_days)
    if not today < review_on <= last:
        raise Refused("project.review-date", f"The review date must be after {today} and not after {last}.")
    return review_on.isoformat()
