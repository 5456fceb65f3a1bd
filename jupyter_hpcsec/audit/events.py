"""The events: what may be recorded, as typed values with bounded, printable text. Pure.

A caller makes an event of one of the types of ``audit.kinds``; the record gives it its number, its time and its leaf.
Every text passes ``text.clean`` when the event is made, whoever makes it, so that no event can hold a line end, a code
for terminals, or more than its share. Type and limits stand in one place, from which the JSON Schemas are made too.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta, Struct, inspect

from jupyter_hpcsec.audit.text import clean, exact

VERSION = 1
"""Of the format of events; a reader of another version refuses nothing, it shows what it knows."""

INTEGER_LIMIT = 2**53 - 1
"""RFC 8785 writes integers as IEEE 754 doubles do."""

Trust = Literal["gateway", "hub", "node"]
"""Whose word an event is: what the gateway saw itself, what JupyterHub says, what a process on a node says."""

Decision = Literal["", "allowed", "refused"]

Name = Annotated[str, Meta(max_length=255)]
Sentence = Annotated[str, Meta(max_length=400)]
Path = Annotated[str, Meta(max_length=4096)]
Hexadecimal = Annotated[str, Meta(max_length=8192)]
Digest = Annotated[str, Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0, le=INTEGER_LIMIT)]
Sealed = Annotated[dict[str, str], Meta(max_length=16)]


@functools.cache
def _limits(kind: type[Struct]) -> tuple[tuple[str, int | None], ...]:
    """(field, limit in characters) of the text fields and (field, None) of the whole numbers of a type."""
    found: list[tuple[str, int | None]] = []
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)  # noqa: S101 - for the type checker
    for field in described.fields:
        if isinstance(field.type, inspect.StrType):
            if field.type.max_length is None:
                raise TypeError(f"BUG: {kind.__name__}.{field.name} is text without a limit")
            found.append((field.name, field.type.max_length))
        elif isinstance(field.type, inspect.IntType):
            found.append((field.name, None))
    return tuple(found)


class Safe(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all that is recorded: text is made printable and bounded, numbers are bounded, on construction."""

    def __post_init__(self) -> None:
        for name, limit in _limits(type(self)):
            value = getattr(self, name)
            if limit is not None:
                shown = clean(value, limit)
                if shown is not value:
                    msgspec.structs.force_setattr(self, name, shown)
            elif not 0 <= value <= INTEGER_LIMIT:
                msgspec.structs.force_setattr(self, name, min(max(0, value), INTEGER_LIMIT))


class Subject(Safe, frozen=True, kw_only=True):
    """Who: the login name, the hub's user, the admin who acts as that user, the system's account."""

    login: Name = ""
    user: Name = ""
    impersonator: Name = ""
    account: Name = ""


class Object(Safe, frozen=True, kw_only=True):
    """What was acted on. ``raw`` is the name's bytes in hexadecimal where ``name`` could not show them."""

    type: Name = ""
    name: Path = ""
    raw: Hexadecimal = ""
    size: Count = 0
    sha256: Digest = ""

    @classmethod
    def of_path(cls, path: bytes, size: int = 0, sha256: str = "") -> Self:
        """A file by its path's bytes."""
        return cls(type="file", name=path, raw=exact(path, 4096), size=size, sha256=sha256)  # type: ignore[arg-type]


class Event(Safe, frozen=True, kw_only=True, tag_field="kind"):
    """What all kinds share. An empty field is left out of the leaf.

    ``session``, ``server``, ``job``, ``node`` say where, ``project`` for what; ``source`` is the address that it came
    from; ``rule`` and ``policy`` (its hash) say by what a decision was made; ``reason`` is a sentence for people.
    """

    subject: Subject = Subject()
    session: Name = ""
    server: Name = ""
    job: Name = ""
    node: Name = ""
    source: Name = ""
    project: Name = ""
    object: Object = Object()
    decision: Decision = ""
    rule: Name = ""
    policy: Digest = ""
    reason: Sentence = ""


class Told(Event, frozen=True, kw_only=True):
    """Base of what a node tells. It is the node's word, and it can say nothing about whose word it is.

    The gateway sets ``told_*`` and whose session it was: ``told_by`` is ``agent`` or ``server``; ``told_boot`` and
    ``told_seq`` are the agent's start and its gapless number; ``told_at`` is the node's clock (RFC 3339), a claim
    beside the gateway's own ``time``.
    """

    told_by: Name = ""
    told_boot: Count = 0
    told_seq: Count = 0
    told_at: Name = ""


class ToldByRoot(Told, frozen=True, kw_only=True):
    """Base of what root's helper on a node tells, and no session may. ``told_by`` is ``node/NAME/gpu``.

    Numbers and starts are the helper's own. ``job`` is its word; whose session that is, the gateway's.
    """


class Stamp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the record adds to an event, never a caller.

    ``seq`` counts without a gap per ``producer``; ``boot`` counts how often that producer was started; ``time`` is UTC
    (RFC 3339); ``mono`` is nanoseconds on the monotonic clock of that boot; ``sealed`` maps names of values that are
    kept beside the leaf to their commitments (``audit.values``).
    """

    v: Literal[1]
    id: str
    producer: Name
    seq: Count
    boot: Count
    time: str
    mono: Count
    trust: Trust
    sealed: Sealed = {}


@dataclass(frozen=True)
class Recordable:
    """An event with whose word it is, and the values that are sealed beside it."""

    event: Event
    trust: Trust
    values: Mapping[str, bytes]


def kind_of(event: Event | type[Event]) -> str:
    """The name of an event's kind, such as ``session.ended``."""
    tag = event.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError("BUG: an event type without a kind")
    return tag


def leaf_value(stamp: Stamp, event: Event) -> dict[str, Any]:
    """The JSON object that a leaf is the canonical form of."""
    value: dict[str, Any] = msgspec.to_builtins(event)
    for name in ("subject", "object"):
        if not value.get(name, True):
            del value[name]
    value.update(msgspec.to_builtins(stamp))
    if not value["sealed"]:
        del value["sealed"]
    return value
