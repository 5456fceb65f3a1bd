"""Kinds about sessions: from registration to end."""

from jupyter_hpcsec.audit.events import Count, Event, Name, Path


class SessionRegistered(Event, frozen=True, kw_only=True, tag="session.registered"):
    """A session waits for its job. ``lifetime_s`` seconds at most."""

    lifetime_s: Count = 0


class SessionRefused(Event, frozen=True, kw_only=True, tag="session.refused"):
    """A session was refused at its registration: the policy has nothing for this user, or can't be used."""


class SessionBound(Event, frozen=True, kw_only=True, tag="session.bound"):
    """The session's job was submitted: only that one may enrol."""


class SessionEnrolled(Event, frozen=True, kw_only=True, tag="session.enrolled"):
    """The job enrolled; ``serial`` is its certificate's."""

    serial: Name = ""


class EnrolmentRefused(Event, frozen=True, kw_only=True, tag="enrolment.refused"):
    """An enrolment was refused."""


class SessionState(Event, frozen=True, kw_only=True, tag="session.state"):
    """The session moved to ``state``. What a job says of itself, ``facts`` (JSON) too, is the node's word."""

    state: Name = ""
    facts: Path = ""


class SessionEnded(Event, frozen=True, kw_only=True, tag="session.ended"):
    """The session is over; all its certificates are revoked, ``serial`` the last. Bytes and streams in total."""

    serial: Name = ""
    streams: Count = 0
    bytes_from_node: Count = 0
    bytes_to_node: Count = 0


class SessionVisited(Event, frozen=True, kw_only=True, tag="session.visited"):
    """Somebody else than its owner brought a login or a token of theirs to the session's server, by the hub's word.

    ``subject.impersonator`` is who; ``visitor`` is ``user`` or ``service``, ``credential`` the hub's id of the token.
    """

    visitor: Name = ""
    credential: Name = ""


class SessionCut(Event, frozen=True, kw_only=True, tag="session.cut"):
    """Open connections were cut; the session goes on."""


class CertificateRenewed(Event, frozen=True, kw_only=True, tag="certificate.renewed"):
    """A certificate was renewed until ``not_after`` (Unix seconds)."""

    not_after: Count = 0
