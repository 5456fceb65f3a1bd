"""The typed messages of the enrolment and control connections: values in, bytes out, and back (no I/O).

On the wire a message is its length as unsigned 32-bit big-endian, then one JSON object whose ``type`` names the
message. The list is closed: a message, a field or a value outside it is ``Malformed`` and ends the connection. Sizes
are checked before anything is decoded.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from jupyter_hpcsec.errors import Malformed

ENROL: Final = "hpcsec-enrol/1"
CONTROL: Final = "hpcsec-control/1"
LANE: Final = "hpcsec-lane/1"
NODE: Final = "hpcsec-node/1"
PROTOCOLS: Final = (ENROL, CONTROL, LANE, NODE)
"""The kinds of connection to the gateway, told apart by ALPN (RFC 7301): jobs' agents', and nodes' helpers'."""

PREFIX: Final = 4
"""Bytes of the length before a message."""
MAX_MESSAGE: Final = 64 * 1024
"""Bytes of one message from an agent, at most."""
MAX_ENROLLED: Final = 768 * 1024
"""Bytes of the gateway's answer to an enrolment, at most: it holds the server's environment and the user's rules."""

MAX_EVENTS: Final = 64
"""Events in one message."""
LAST_MILLISECOND: Final = 253_402_300_799_999
"""Of the year 9999, the last one that RFC 3339 can write."""

Name = Annotated[str, Meta(max_length=255)]
Sentence = Annotated[str, Meta(max_length=1000)]
Fact = Annotated[str, Meta(max_length=1000)] | int | bool | None
Der = Annotated[bytes, Meta(max_length=16 * 1024)]
Count = Annotated[int, Meta(ge=0, le=1 << 20)]
Time = Annotated[int, Meta(ge=0, le=1 << 40)]


class _Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: fields that are not named are refused."""


class Account(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who the job runs as, by the node's own name service. ``groups`` are names."""

    gid: Annotated[int, Meta(ge=0, le=2**32 - 2)]
    home: Annotated[str, Meta(max_length=4096, pattern=r"^/[^\x00]*\Z")]
    groups: Annotated[list[Name], Meta(max_length=1024)]


class Enrol(_Message, frozen=True, kw_only=True, tag="enrol"):
    """Agent: the token and what proves that this is the job it was made for. ``evidence`` is by attestor name."""

    token: Annotated[str, Meta(max_length=4096)]
    request: Der
    job_id: Name
    node: Name
    evidence: dict[Name, Annotated[str, Meta(max_length=16 * 1024)]] = {}
    account: Account | None = None


class Enrolled(_Message, frozen=True, kw_only=True, tag="enrolled"):
    """Gateway: the certificate, what to run, and until when. Times are Unix seconds of the gateway's clock."""

    certificate: Der
    authorities: list[Der]
    session: Name
    user: Name
    server: Name
    launch: dict[str, Any]
    now: Time
    not_after: Time
    ends_at: Time


class Denied(_Message, frozen=True, kw_only=True, tag="denied"):
    """Gateway: no, by which rule, and what to do."""

    rule: Name
    reason: Sentence


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """Agent: first message of a control connection, with where the server is by now."""

    version: Name
    state: Name
    message: Sentence
    lanes: Count


class Stale(_Message, frozen=True, kw_only=True, tag="stale"):
    """Gateway: the user's rules have changed since the session began, so that it ends at ``ends_at`` (Unix seconds of
    the gateway's clock). All zero and empty: the rules are as they were, the session goes on.
    """

    since: Time = 0
    ends_at: Time = 0
    reason: Sentence = ""


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    """Gateway: the control connection stands. ``now`` is the gateway's clock."""

    heartbeat_s: Count
    now: Time
    stale: Stale = Stale()


class Heartbeat(_Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Either side: still there."""

    now: Time


class Lanes(_Message, frozen=True, kw_only=True, tag="lanes"):
    """Gateway: hold this many lanes, busy ones counted."""

    total: Count


class Renew(_Message, frozen=True, kw_only=True, tag="renew"):
    """Agent: a request for the next certificate, for a new key."""

    request: Der


class Renewed(_Message, frozen=True, kw_only=True, tag="renewed"):
    """Gateway: the next certificate, and the authorities to trust from here on, the current one first.

    ``ends_at`` is the session's end, later than before where the job was given more time.
    """

    certificate: Der
    authorities: list[Der]
    not_after: Time
    ends_at: Time


class Report(_Message, frozen=True, kw_only=True, tag="report"):
    """Agent: where the server is, for the spawn page, and facts about the sandbox for the log."""

    state: Name
    message: Sentence
    facts: Annotated[dict[Name, Fact], Meta(max_length=64)] = {}


class Item(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One event of a node, as its agent numbered it. ``at`` is milliseconds of the node's clock since 1970.

    ``event`` is the JSON of a kind that a node may tell; it is looked at apart (``told``), so that one that is refused
    costs the others nothing.
    """

    seq: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    at: Annotated[int, Meta(ge=0, le=LAST_MILLISECOND)]
    by: Literal["agent", "server", "node"]
    event: msgspec.Raw


class Events(_Message, frozen=True, kw_only=True, tag="events"):
    """Agent: what happened on the node since, in order. The next ones may be sent once these are acknowledged.

    ``boot`` tells one start of the agent from another.
    """

    boot: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    events: Annotated[list[Item], Meta(min_length=1, max_length=MAX_EVENTS)]


class EventsAcked(_Message, frozen=True, kw_only=True, tag="events-acked"):
    """Gateway: all events up to number ``seq`` of ``boot`` are on record; what follows is to be sent again, later."""

    boot: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    seq: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]


class End(_Message, frozen=True, kw_only=True, tag="end"):
    """Gateway: the session is over; end the job."""

    reason: Sentence


class Held(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one kernel (or, for a node, a job) holds on one device. None: not measurable. Bytes, percent, seconds."""

    device: Name
    kernel: Name = ""
    pids: Annotated[list[Annotated[int, Meta(ge=0, le=1 << 32)]], Meta(max_length=128)] = []
    memory: Annotated[int, Meta(ge=0, le=1 << 53)] | None = None
    utilisation: Annotated[int, Meta(ge=0, le=100)] | None = None
    idle_s: Count = 0


class Seen(_Message, frozen=True, kw_only=True, tag="seen", omit_defaults=True):
    """What a watch sees on GPUs now. It is compared and counted, and not recorded; the next one replaces it.

    ``job`` is for a node's helper to say; of a session it is the gateway's to know. ``blind``: devices that could
    not be judged. ``namespace`` is the inode of the pid namespace: pids of two that differ say nothing of each other.
    """

    job: Name = ""
    held: Annotated[list[Held], Meta(max_length=256)] = []
    blind: Annotated[list[Name], Meta(max_length=128)] = []
    namespace: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)] = 0
    simulated: bool = False


class NodeEnrol(_Message, frozen=True, kw_only=True, tag="node-enrol"):
    """A node's helper: which node, a request for its key, and what proves that root there asks (by attestor)."""

    node: Name
    request: Der
    evidence: dict[Name, Annotated[str, Meta(max_length=16 * 1024)]] = {}


class NodeEnrolled(_Message, frozen=True, kw_only=True, tag="node-enrolled"):
    """Gateway: its certificate, and the authorities to trust from here on, the current one first."""

    certificate: Der
    authorities: list[Der]
    now: Time
    not_after: Time


class NodeHello(_Message, frozen=True, kw_only=True, tag="node-hello"):
    """A node's helper, with its certificate: the first message of a connection that stays."""

    version: Name


FromAgent = Enrol | Hello | Heartbeat | Renew | Report | Events | Seen
FromNode = NodeEnrol | NodeHello | Heartbeat | Events | Seen
FromGateway = Enrolled | Denied | Welcome | Heartbeat | Lanes | Renewed | Stale | EventsAcked | End | NodeEnrolled

T = TypeVar("T")

_from_agent: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
_from_node: msgspec.json.Decoder[FromNode] = msgspec.json.Decoder(FromNode)
_from_gateway: msgspec.json.Decoder[FromGateway] = msgspec.json.Decoder(FromGateway)


def encode(message: FromAgent | FromNode | FromGateway) -> bytes:
    """The bytes of a message with its length before it."""
    body = msgspec.json.encode(message)
    if len(body) > (MAX_ENROLLED if isinstance(message, Enrolled) else MAX_MESSAGE):
        raise Malformed(f"the message {type(message).__name__} of {len(body)} bytes is too large to be sent")
    return len(body).to_bytes(PREFIX, "big") + body


def body_length(prefix: bytes, most: int) -> int:
    """The length that a prefix announces; ``Malformed`` if it is above ``most`` bytes or zero."""
    length = int.from_bytes(prefix, "big")
    if not 0 < length <= most:
        raise Malformed(f"a message of {length} bytes is outside 1 to {most}")
    return length


def decode_from_agent(body: bytes) -> FromAgent:
    """A message that an agent may send."""
    return _decode(_from_agent, body)


def decode_from_node(body: bytes) -> FromNode:
    """A message that a node's helper may send."""
    return _decode(_from_node, body)


def decode_from_gateway(body: bytes) -> FromGateway:
    """A message that a gateway may send."""
    return _decode(_from_gateway, body)


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise Malformed(f"not a message of this protocol: {exc}") from exc
