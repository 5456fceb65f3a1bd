"""A session's events as the entries of its timeline. Pure.

Every field of an event is shown, those of kinds that this version does not know as well: what is recorded is not left
out because a page has no sentence for it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.console.views.text import Inert, inert
from jupyter_hpcsec.console.views.titles import title_of
from jupyter_hpcsec.ops.audit.seen import Seen, has_hidden


@dataclass(frozen=True)
class Group:
    """Kinds that are shown or hidden together, by how they begin. ``usual``: shown where nothing else is asked."""

    key: str
    label: str
    kinds: tuple[str, ...]
    usual: bool = True


REFUSALS, GPU = "refusals", "gpu"
GROUPS = (
    Group("session", "Session and login", ("session.", "certificate.", "admin.", "hub.", "console.", "keys.")),
    Group("cells", "Cells and kernels", ("cell.", "kernel.", "node.kernel-")),
    Group("terminals", "Terminals", ("terminal.", "node.terminal-")),
    Group("files", "Files", ("file.", "upload.", "node.upload-", "node.file-")),
    Group(GPU, "GPU", ("gpu.",)),
    Group("node", "Node", ("node.",)),
    Group(REFUSALS, "Refusals", ()),
    Group(
        "traffic", "Requests and connections", ("http.", "lane.", "connection.", "socket.", "hub-api.", "tap."), False
    ),
    Group(
        "pulse",
        "Heartbeats and GPU samples",
        ("session.heartbeat", "node.heartbeat", "gpu.use", "gpu.node-heartbeat"),
        False,
    ),
)
"""A kind is in the group with the longest beginning; one that was refused is in ``refusals`` as well."""
KEYS = tuple(group.key for group in GROUPS)
USUAL = tuple(group.key for group in GROUPS if group.usual)

_SEALED = {
    "source": "code",
    "expressions": "expressions",
    "arguments": "arguments",
    "input": "input",
    "outputs": "outputs",
}
_KEPT = {"cell.executed": "source", "terminal.input": "input", "kernel.input": "input", "kernel.debug": "arguments"}
"""What is sealed beside an event of a kind, where the site records contents."""
_STAMP = {"v", "id", "producer", "seq", "boot", "time", "mono", "trust", "sealed", "kind"}
_PLACE = {"session", "server", "job", "node", "policy", "told_by", "told_boot", "told_seq", "told_at"}
_SHOWN_APART = {"decision", "rule", "reason", "object", "subject"}
_LABELS = {"sha256": "SHA-256", "raw": "name in hexadecimal", "to": "new name", "source": "from address"}
_SIZES = ("size", "memory", "truncated")


@dataclass(frozen=True)
class Fact:
    """A field: its name for people, its text; ``size`` where it is a number of bytes."""

    name: str
    text: Inert
    size: int | None = None


@dataclass(frozen=True)
class Block:
    """A sealed value as a block of text, or why there is none."""

    name: str
    text: Inert | None
    why: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Entry:
    """One event on the timeline. ``who`` is set where somebody else than the session's owner acted."""

    leaf: int
    time: str
    kind: str
    group: str
    title: str
    trust: str
    is_refused: bool
    rule: Inert
    reason: Inert
    what: Inert
    size: int | None
    sha256: Inert
    who: Inert
    facts: tuple[Fact, ...]
    blocks: tuple[Block, ...]


def group_of(kind: str) -> str:
    """The group of a kind: that with the longest beginning; unknown ones are with the session's."""
    fitting = [(len(start), group.key) for group in GROUPS for start in group.kinds if kind.startswith(start)]
    return max(fitting)[1] if fitting else "session"


def is_refusal(kind: str) -> bool:
    """Whether events of a kind are refusals by what they are."""
    return kind.endswith(("refused", ".alarm"))


def kinds_of(groups: Iterable[str], there: Iterable[str]) -> set[str]:
    """The kinds of these groups, among those that are there."""
    asked = set(groups)
    return {kind for kind in there if group_of(kind) in asked or (REFUSALS in asked and is_refusal(kind))}


def entry(each: Seen, owner: str, *, show_who: bool = True) -> Entry:
    """An event as an entry; ``show_who``: whether it says who else acted."""
    event = each.event
    on = event.get("object", {})
    return Entry(
        leaf=each.leaf,
        time=each.text("time"),
        kind=str(inert(each.kind, limit=100)),
        group=group_of(each.kind),
        title=_title(each),
        trust=str(inert(event.get("trust", ""), limit=20)),
        is_refused=event.get("decision") == "refused" or is_refusal(each.kind),
        rule=inert(event.get("rule", "")),
        reason=inert(event.get("reason", "")),
        what=inert(on.get("name", "")),
        size=on.get("size") if type(on.get("size")) is int else None,
        sha256=inert(on.get("sha256", ""), limit=64),
        who=who_else(event, owner) if show_who else inert(""),
        facts=tuple(_facts(event if show_who else without_whence(event, owner))),
        blocks=tuple(_blocks(each)),
    )


def _title(each: Seen) -> str:
    said = title_of(each.kind)
    named = "status" if each.kind == "kernel.reply" else "state"
    detail = next(filter(None, map(each.event.get, (named, "action", "call", "command"))), None)
    if each.event.get("silent"):
        said += ", silently"
    return f"{said}: {inert(detail, limit=80)}" if detail else said


def without_whence(event: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    """The event without the address of somebody else who acted: it would name them."""
    return {name: value for name, value in event.items() if name != "source"} if who_else(event, owner) else event


def who_else(event: Mapping[str, Any], owner: str) -> Inert:
    """Who acted, where it was not the owner: an impersonator, an admin, an account of the system."""
    subject = event.get("subject", {})
    if acted := subject.get("impersonator"):
        return inert(acted)
    if event.get("kind", "").startswith("admin."):
        user = subject.get("user", "")
        return inert(user if user and user != owner else subject.get("account", ""))
    user = subject.get("user") or subject.get("login", "")
    return inert(user if user != owner else "")


def _facts(event: Mapping[str, Any]) -> Iterable[Fact]:
    on = event.get("object", {})
    shown = {name: value for name, value in on.items() if name not in ("name", "size", "sha256", "type")}
    shown |= {
        name: value for name, value in event.items() if name not in _STAMP | _PLACE | _SHOWN_APART | {"state", "action"}
    }
    for name, value in shown.items():
        label = _LABELS.get(name, str(inert(name.replace("_", " "), limit=60)))
        if type(value) is int and (name.startswith("bytes") or name in _SIZES):
            yield Fact(label, inert(value), value)
        elif isinstance(value, bool):
            yield Fact(label, inert("yes" if value else "no"))
        else:
            yield Fact(label, inert(value if isinstance(value, str | int) else json.dumps(value), limit=4096))


def _blocks(each: Seen) -> Iterable[Block]:
    names = [name for name in each.values if not name.rpartition("_")[2].isdigit()]
    expected = _KEPT.get(each.kind)
    if expected and expected not in names:
        names.insert(0, expected)
    for name in names:
        label = _SEALED.get(name, str(inert(name, limit=40)))
        value = each.value(name)
        if value.text is None:
            yield Block(label, None, f"The {label} {value.why}.")
            continue
        warning = (
            "It has characters that are not seen or change the direction of text." if has_hidden(value.text) else ""
        )
        yield Block(label, inert(value.text, lines=True), warning=warning)
