"""The values that access control is made of, as they travel from the gateway to the node: what one user may do.

A policy (``policy``) is resolved for one subject on the hub host; the result, ``Resolved``, is delivered with the
launch over the enrolled connection, and compiled on the node (``plan``) to a ``Plan``: what the kernel will enforce.
Both are pure values with one canonical encoding, whose hash names them in logs and receipts. No I/O here.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from jupyter_hpcsec.errors import Malformed

ACCESS_VARIABLE = "JUPYTER_HPCSEC_ACCESS"
"""Names the file with the session's ``Resolved``; not set in a server that no session started."""

SIZE_LIMIT = 384 * 1024
"""Bytes of an encoded ``Resolved`` or ``Plan``: the answer to an enrolment has to hold it."""


class Right(StrEnum):
    """What is allowed on a path. Writing includes reading; a denied path is ``none``, whatever allows it."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


class Enforcement(StrEnum):
    """``advisory`` only logs and shows; it is called so everywhere."""

    REQUIRED = "required"
    ADVISORY = "advisory"


class Bind(StrEnum):
    """What a session may bind or listen on."""

    NONE = "none"
    """Nothing on the network; unix sockets only."""
    PRIVATE = "private"
    """Everything, in a network namespace of the session's own that nobody else can reach."""
    UNSAFE_UDP = "unsafe-udp"
    """As ``none``, but UDP sockets are left alone (for sites whose resolver does not serve TCP)."""
    UNSAFE_ALLOW = "unsafe-allow"
    """Nothing is refused: every process on the cluster can reach what the session opens."""


class Mask(StrEnum):
    """How a path inside an allowed root is taken back."""

    HIDDEN = "hidden"
    """Denied: an empty place of mode 0000 lies over it."""
    READ_ONLY = "read-only"
    """Readable inside a writable root."""


class Make(StrEnum):
    """What lies at a root's path."""

    PLACE = "place"
    """What lies there on the node, or at the root's ``source``."""
    MEMORY = "memory"
    """An empty file system in memory, of this session alone."""
    TERMINALS = "terminals"
    """Terminals of this session alone (devpts)."""


T = TypeVar("T")
Path = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^/")]
Name = Annotated[str, Meta(max_length=255)]
Text = Annotated[str, Meta(max_length=1000)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class _Value(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: fields that are not named are refused."""


class Subject(_Value, frozen=True, kw_only=True):
    """Who a policy is resolved for. ``groups`` joins the hub's and those of the node's name service."""

    user: Name
    uid: int
    gid: int
    home: Path
    groups: tuple[Name, ...] = ()
    project: Name = ""


class Network(_Value, frozen=True, kw_only=True):
    """``connect``: TCP ports to which connections may be opened. The Hub is always reached, by a unix socket."""

    bind: Bind = Bind.NONE
    connect: tuple[Port, ...] = ()


class Code(_Value, frozen=True, kw_only=True):
    """Whose the code may be that applies all this (``code``): root's, and that of ``owners``, by their numbers."""

    owners: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    unsafe_any: bool = False
    """A session starts although its user could change that code: the gateway's ``unsafe_user_owned_code``."""


class Entry(_Value, frozen=True, kw_only=True):
    """One path of one rule, traits filled in. ``rule`` counts from 1, ``line`` is the policy file's."""

    path: Path
    right: Right
    rule: int
    line: int
    who: Text
    required: bool = False


class Resolved(_Value, frozen=True, kw_only=True):
    """All of a policy that concerns one subject. ``policy`` is the SHA-256 (hex) of the policy file's bytes."""

    subject: Subject
    policy: Name
    enforcement: Enforcement
    minimum_abi: Annotated[int, Meta(ge=1, le=64)]
    network: Network
    entries: tuple[Entry, ...]
    contact: Text = ""
    """Whom to ask for access: shown wherever something is refused."""
    hide_denied: bool = False
    """Leave denied names out of the file browser's listings."""
    code: Code = Code()
    """Not the policy's: the gateway's configuration."""


class Root(_Value, frozen=True, kw_only=True):
    """A subtree (or one file) that stays reachable. ``origin`` says why: a rule, or what the software needs."""

    path: Path
    right: Right
    origin: Text
    required: bool = False
    devices: bool = False
    """Holds device nodes whose ioctls are needed (terminals, GPUs)."""
    source: Annotated[str, Meta(max_length=4096, pattern=r"^(/|$)")] = ""
    """Another place of the node that is shown here; empty: the one of the same path."""
    make: Make = Make.PLACE


class Link(_Value, frozen=True, kw_only=True):
    """A symbolic link on the way to a root, made anew."""

    path: Path
    target: Annotated[str, Meta(min_length=1, max_length=4096)]


class Masked(_Value, frozen=True, kw_only=True):
    """A subtree (or one file) of a root that is taken back."""

    path: Path
    mask: Mask
    origin: Text


class Plan(_Value, frozen=True, kw_only=True):
    """What the kernel enforces for one session on one node."""

    user: Name
    policy: Name
    enforcement: Enforcement
    minimum_abi: int
    network: Network
    roots: tuple[Root, ...]
    masks: tuple[Masked, ...] = ()
    links: tuple[Link, ...] = ()
    code: Code = Code()
    namespaces: bool = True
    """The session gets a mount namespace of its own. Without: masks are those that the node's root prepared."""
    temporary: Annotated[str, Meta(max_length=4096, pattern=r"^(/|$)")] = ""
    """Where ``TMPDIR`` points when the session can't have a ``/tmp`` of its own."""
    notes: tuple[Annotated[str, Meta(max_length=5000)], ...] = ()
    """What of the policy has no effect on this node, and why."""


def encode(value: Resolved | Plan) -> bytes:
    """The canonical encoding: JSON with sorted keys and no space."""
    encoded = msgspec.json.encode(value, order="sorted")
    if len(encoded) > SIZE_LIMIT:
        raise Malformed(f"the rules for one user take {len(encoded)} bytes, more than {SIZE_LIMIT}: grant directories")
    return encoded


def digest(value: Resolved | Plan) -> str:
    """SHA-256 of the canonical encoding, in hex."""
    return hashlib.sha256(encode(value)).hexdigest()


def decode_resolved(encoded: bytes) -> Resolved:
    """The value of an encoding; ``Malformed`` for anything else."""
    return _decode(encoded, Resolved)


def decode_plan(encoded: bytes) -> Plan:
    """The value of an encoding; ``Malformed`` for anything else."""
    return _decode(encoded, Plan)


def _decode(encoded: bytes, kind: type[T]) -> T:
    if len(encoded) > SIZE_LIMIT:
        raise Malformed(f"rules of {len(encoded)} bytes are above the limit of {SIZE_LIMIT}")
    try:
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not rules of this version: {error}") from error
