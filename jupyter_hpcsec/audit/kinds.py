"""Every kind of event, and the JSON Schema of each.

A kind is added here and nowhere else; one that was published keeps its name and its fields (a changed meaning is a new
kind). ``hpcsec audit schema`` prints what stands here.
"""

from typing import Any

import msgspec

from jupyter_hpcsec.audit.events import Count, Event, Name, Path, Sentence, Stamp, kind_of

# The record itself


class AuditOpened(Event, frozen=True, kw_only=True, tag="audit.opened"):
    """A producer began; ``leaves`` were there."""

    version: Name = ""
    leaves: Count = 0


class AuditClosed(Event, frozen=True, kw_only=True, tag="audit.closed"):
    """A producer ended in good order; a next ``audit.opened`` without it tells of a crash."""


class AuditSetAside(Event, frozen=True, kw_only=True, tag="audit.set-aside"):
    """An unfinished write that nobody was told to be done, after a crash or on a full disk: its bytes are kept."""

    file: Name = ""
    bytes: Count = 0
    sha256: Name = ""


class AuditGap(Event, frozen=True, kw_only=True, tag="audit.gap"):
    """Events that were to be recorded and could not be: how many of which kind, since when."""

    lost: Count = 0
    kinds: Sentence = ""
    since: Name = ""
    why: Sentence = ""


class AuditRead(Event, frozen=True, kw_only=True, tag="audit.read"):
    """Somebody read the record: ``action`` is the command, ``query`` what was asked, ``found`` how many were shown."""

    action: Name = ""
    query: Path = ""
    found: Count = 0


class AuditExported(Event, frozen=True, kw_only=True, tag="audit.exported"):
    """Somebody took events out: likewise; ``with_values`` says whether sealed values went with them."""

    query: Path = ""
    found: Count = 0
    with_values: bool = False


class AuditShredded(Event, frozen=True, kw_only=True, tag="audit.shredded"):
    """A sealed value was destroyed: that of ``name`` at leaf ``leaf``. The leaf and all proofs stay."""

    leaf: Count = 0
    name: Name = ""


class ClockStepped(Event, frozen=True, kw_only=True, tag="clock.stepped"):
    """The wall clock moved against the monotonic one, by ``forward_ms`` or ``back_ms``."""

    forward_ms: Count = 0
    back_ms: Count = 0


# The gateway


class GatewayStarted(Event, frozen=True, kw_only=True, tag="gateway.started"):
    """The gateway serves. ``attestors`` and ``endpoints`` are lists as text."""

    version: Name = ""
    attestors: Name = ""
    endpoints: Name = ""


class GatewayStopped(Event, frozen=True, kw_only=True, tag="gateway.stopped"):
    """The gateway stops in good order; sessions go on."""


class KeysRotated(Event, frozen=True, kw_only=True, tag="keys.rotated"):
    """New keys of ``what`` (token, authority, all)."""

    what: Name = ""


class AdminCalled(Event, frozen=True, kw_only=True, tag="admin.called"):
    """Somebody asked at the admin socket for something that ends or cuts: the hub for its users, or people."""

    call: Name = ""


class AdminRefused(Event, frozen=True, kw_only=True, tag="admin.refused"):
    """A call at the admin socket was refused."""

    call: Name = ""


# Sessions


class SessionRegistered(Event, frozen=True, kw_only=True, tag="session.registered"):
    """A session waits for its job. ``lifetime_s`` seconds at most."""

    lifetime_s: Count = 0


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


class SessionCut(Event, frozen=True, kw_only=True, tag="session.cut"):
    """Open connections were cut; the session goes on."""


class CertificateRenewed(Event, frozen=True, kw_only=True, tag="certificate.renewed"):
    """A certificate was renewed until ``not_after`` (Unix seconds)."""

    not_after: Count = 0


# Connections


class ConnectionRefused(Event, frozen=True, kw_only=True, tag="connection.refused"):
    """A connection at the TLS port was refused: in the handshake or after it. ``count`` of them under this rule."""

    count: Count = 1


class SocketRefused(Event, frozen=True, kw_only=True, tag="socket.refused"):
    """A connection to a session's socket on the hub host was refused."""


class LaneOpened(Event, frozen=True, kw_only=True, tag="lane.opened"):
    """A lane of the session was accepted."""


class LaneClosed(Event, frozen=True, kw_only=True, tag="lane.closed"):
    """A lane ended, with its bytes."""

    bytes_from_node: Count = 0
    bytes_to_node: Count = 0


class LaneRefused(Event, frozen=True, kw_only=True, tag="lane.refused"):
    """A lane, or a stream that the node asked for, was refused."""


class HubApiRefused(Event, frozen=True, kw_only=True, tag="hub-api.refused"):
    """A request from the node to the Hub API was refused."""


KINDS: dict[str, type[Event]] = {kind_of(each): each for each in Event.__subclasses__()}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kind's leaves."""
    described: dict[str, Any] = msgspec.json.schema(KINDS[kind])
    added: dict[str, Any] = msgspec.json.schema(Stamp)
    definitions = {**added["$defs"], **described["$defs"]}
    stamp, event = definitions.pop("Stamp"), definitions.pop(KINDS[kind].__name__)
    properties = {**stamp["properties"], **event["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:jupyter-hpcsec:audit:v1:{kind}",
        "title": kind,
        "description": event["description"],
        "type": "object",
        "properties": properties,
        "required": sorted({"kind", *stamp["required"]}),
        "additionalProperties": False,
        "$defs": definitions,
    }
