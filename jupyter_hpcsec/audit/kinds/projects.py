"""Kinds about projects: who proposed, approved, renewed, changed and closed them. Recorded before it takes effect.

``project`` is the project's id; ``subject.user`` who acts, by their name at the hub; ``subject.account`` the host's.
"""

from typing import Annotated

from msgspec import Meta

from jupyter_hpcsec.audit.events import Count, Event, Name

Text = Annotated[str, Meta(max_length=1600)]


class _Described(Event, frozen=True, kw_only=True):
    """The terms: members and paths are lists as JSON. ``revision`` counts a project's changes.

    Lists may be cut; ``object.sha256`` is that of the whole terms, as JSON with sorted keys.
    """

    title: Name = ""
    purpose: Text = ""
    owner: Name = ""
    members: Text = ""
    paths: Text = ""
    account: Name = ""
    revision: Count = 0


class ProjectProposed(_Described, frozen=True, kw_only=True, tag="project.proposed"):
    """A project was proposed, or other terms for one, which takes its approval away."""


class ProjectApproved(_Described, frozen=True, kw_only=True, tag="project.approved"):
    """These terms were approved; ``review_on`` is the last day on which sessions may begin."""

    review_on: Name = ""


class ProjectRenewed(Event, frozen=True, kw_only=True, tag="project.renewed"):
    """A review was made: sessions may begin until ``review_on`` instead of ``review_before``."""

    review_on: Name = ""
    review_before: Name = ""
    revision: Count = 0


class ProjectRenewalAsked(Event, frozen=True, kw_only=True, tag="project.renewal-asked"):
    """The owner asked for a renewal, for this ``reason``; nothing has changed for sessions."""

    review_on: Name = ""
    revision: Count = 0


class ProjectChanged(_Described, frozen=True, kw_only=True, tag="project.changed"):
    """A project's members were changed."""


class ProjectClosed(Event, frozen=True, kw_only=True, tag="project.closed"):
    """A project was closed: no session of it begins any more."""

    revision: Count = 0


class ProjectRefused(Event, frozen=True, kw_only=True, tag="project.refused"):
    """Somebody was not let do ``action`` with a project, or it was recorded and could then not be stored."""

    action: Name = ""
