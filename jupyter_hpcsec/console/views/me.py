"""The Me page's values: a person's own sessions, what is recorded of them, who read it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from jupyter_hpcsec.console.views.text import Inert, inert
from jupyter_hpcsec.console.views.timeline import GROUPS, REFUSALS, group_of, is_refusal
from jupyter_hpcsec.ops.audit.reading import Shown

_SAYS = {
    "session": "When you log in, when your sessions start and end, and why.",
    "cells": "Each cell that runs, with time, size and SHA-256; code and outputs only where the site keeps them.",
    "terminals": "When terminals are opened and left; lines typed into them only where the site keeps them.",
    "files": "Names and sizes of files that pass through the browser; never what is in them.",
    "gpu": "Alerts about the GPUs of your sessions, and what you kept or released.",
    "node": "What the node says of itself: the sandbox's receipt, alarms.",
    REFUSALS: "What was refused, and by which rule.",
    "traffic": "Requests between your browser and your session: path, status, sizes.",
    "pulse": "Totals, and how long your kernels used or held GPUs, every few minutes.",
}
_READ = {"audit.exported": "took events out"}


@dataclass(frozen=True)
class Own:
    """One of the person's sessions."""

    session: str
    time: str
    server: Inert
    lifetime_s: int


@dataclass(frozen=True)
class Kept:
    """A group of events: what it is, how many there are."""

    label: str
    says: str
    count: int


@dataclass(frozen=True)
class Look:
    """Somebody read what is recorded of the person."""

    time: str
    reader: Inert
    action: str


def own(shown: Sequence[Shown], name: str) -> tuple[Own, ...]:
    """The sessions that are ``name``'s own, not those in which ``name`` acted for somebody else."""
    return tuple(
        Own(
            session=str(each.event["session"]),
            time=each.event["time"],
            server=inert(each.event.get("server", "")),
            lifetime_s=seconds if type(seconds := each.event.get("lifetime_s", 0)) is int else 0,
        )
        for each in shown
        if each.event.get("subject", {}).get("user") == name and each.event.get("trust") == "gateway"
    )


def kept(kinds: Mapping[str, int]) -> tuple[Kept, ...]:
    """What is recorded, by group."""
    counts = {group.key: 0 for group in GROUPS}
    for kind, count in kinds.items():
        counts[group_of(kind)] += count
        if is_refusal(kind):
            counts[REFUSALS] += count
    return tuple(Kept(group.label, _SAYS[group.key], counts[group.key]) for group in GROUPS if counts[group.key])


def looks(shown: Sequence[Shown], name: str) -> tuple[Look, ...]:
    """Who read events of ``name``: readings that asked for them by name, or say that they showed some."""
    found = []
    for each in shown:
        event = each.event
        subject = event.get("subject", {})
        if subject.get("user") == name or not _is_about(str(event.get("query", "")), name):
            continue
        action = _READ.get(event["kind"], f"read ({inert(event.get('action', ''), limit=30)})")
        found.append(Look(event["time"], inert(subject.get("user") or subject.get("account", "")), action))
    return tuple(found)


def _is_about(query: str, name: str) -> bool:
    quoted = quote(name, safe="")
    for word in query.split():
        field, _, value = word.partition("=")
        if (field == "user" and value in (name, quoted)) or (field == "of" and quoted in value.split(",")):
            return True
    return False
