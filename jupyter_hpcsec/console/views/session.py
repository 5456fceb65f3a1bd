"""The Session page's values: who, where, under which rules, how it ended; the groups to choose; the entries. Pure."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from jupyter_hpcsec.console.views.live import RUNNING, word_of
from jupyter_hpcsec.console.views.strip import Strip, strip
from jupyter_hpcsec.console.views.text import Inert, inert
from jupyter_hpcsec.console.views.timeline import (
    GROUPS,
    KEYS,
    REFUSALS,
    USUAL,
    Entry,
    entry,
    group_of,
    is_refusal,
    without_whence,
)
from jupyter_hpcsec.ops.audit.reading import Shown
from jupyter_hpcsec.ops.audit.seen import Seen
from jupyter_hpcsec.ops.audit.sessions import Story

_RECEIPT = {
    "enforcement": "enforcement",
    "landlock_abi": "Landlock ABI",
    "files": "files",
    "masks": "masks",
    "bind": "listening",
    "connect": "connecting",
    "seccomp": "system calls",
    "scopes": "signals",
    "plan": "plan hash",
    "notes": "notes",
}


@dataclass(frozen=True)
class Choice:
    """A group in the filter: how many events it has, whether it is shown."""

    key: str
    label: str
    count: int
    is_shown: bool


@dataclass(frozen=True)
class Ended:
    """The end: when, the sentence that was given, who ordered it as far as that is known, by whose word."""

    time: str
    reason: Inert
    by: Inert
    how: str
    trust: str


@dataclass(frozen=True)
class Head:
    """What the page's header says; what is not known is ''."""

    session: str
    user: Inert
    project: Inert
    server: Inert
    job: Inert
    node: Inert
    sources: tuple[Inert, ...]
    policy: Inert
    started: str
    state: Inert
    ended: Ended | None
    receipt: tuple[tuple[str, Inert], ...]
    receipt_trust: str
    events: int
    refusals: int

    @property
    def is_running(self) -> bool:
        """Whether its server answers, by the last word on it."""
        return str(self.state) == RUNNING


@dataclass(frozen=True)
class SessionPage:
    """All of it. ``more`` is the query of the next page, '' where this is the last; ``query`` that of this choice."""

    head: Head
    choices: tuple[Choice, ...]
    before: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    strip: Strip | None
    query: str
    more: str
    is_first: bool


def chosen(given: Sequence[str]) -> tuple[str, ...]:
    """The groups that a query asks for, in their order; the usual ones where it asks for none that there is."""
    return tuple(key for key in KEYS if key in given) or USUAL


def page(found: Story, groups: Collection[str], start: int, *, show_who: bool = True) -> SessionPage:
    """The page of a story. ``show_who``: whether it names who else acted on the session."""
    query = urlencode([("show", key) for key in KEYS if key in groups]) if tuple(groups) != USUAL else ""
    after = [("show", key) for key in KEYS if key in groups and tuple(groups) != USUAL]
    return SessionPage(
        head=_head(found, show_who=show_who),
        choices=tuple(_choices(found.kinds, groups)),
        before=tuple(entry(Seen(each.leaf, each.event), found.owner, show_who=show_who) for each in found.before),
        entries=tuple(entry(each, found.owner, show_who=show_who) for each in found.page),
        strip=strip(found.use, is_cut=found.use_is_cut),
        query=query,
        more=urlencode([*after, ("from", found.more)]) if found.more is not None else "",
        is_first=not start,
    )


def _choices(kinds: Mapping[str, int], groups: Collection[str]) -> list[Choice]:
    counts = dict.fromkeys(KEYS, 0)
    for kind, count in kinds.items():
        counts[group_of(kind)] += count
        if is_refusal(kind):
            counts[REFUSALS] += count
    return [Choice(group.key, group.label, counts[group.key], group.key in groups) for group in GROUPS]


def _head(found: Story, *, show_who: bool) -> Head:
    events = [each.event for each in found.head]
    registered = next((event for event in events if event["kind"] == "session.registered"), None)
    states = [event.get("state", "") for event in events if event["kind"] == "session.state"]
    ended = _ended(found, events, show_who=show_who)
    told = next((event for event in reversed(events) if event["kind"] == "node.server-started"), None)
    around = [each.event for each in (*found.before, *found.stops)] + [dict(each.event) for each in found.page]
    seen = [each if show_who else without_whence(each, found.owner) for each in (*around, *events)]
    sources = dict.fromkeys(event["source"] for event in seen if event.get("source"))
    return Head(
        session=found.session,
        user=inert(found.owner),
        project=inert(_last(events, "project")),
        server=inert(_last(events, "server")),
        job=inert(_last(events, "job")),
        node=inert(_last(events, "node")),
        sources=tuple(inert(source, limit=100) for source in list(sources)[:5]),
        policy=inert(_last(events, "policy")),
        started=registered["time"] if registered else "",
        state=inert("ended" if ended else word_of(states[-1] if states else "waiting") if states or registered else ""),
        ended=ended,
        receipt=tuple(_receipt(told)) if told else (),
        receipt_trust=str(inert(told.get("trust", ""), limit=20)) if told else "",
        events=sum(found.kinds.values()),
        refusals=sum(count for kind, count in found.kinds.items() if is_refusal(kind)),
    )


def _last(events: Sequence[Mapping[str, Any]], name: str) -> str:
    return next((str(event[name]) for event in reversed(events) if event.get(name)), "")


def _ended(found: Story, events: Sequence[Mapping[str, Any]], *, show_who: bool) -> Ended | None:
    end = next((event for event in reversed(events) if event["kind"] == "session.ended"), None)
    if end is None:
        return None
    by, how = "", ""
    asked = next((e for e in reversed(events) if e["kind"] == "admin.called" and e.get("call") == "end"), None)
    if asked:
        subject = asked.get("subject", {})
        person = subject.get("user", "")
        by = person if person and person != found.owner else subject.get("account", "")
        how = "asked of the gateway"
    if order := _order(found.stops):
        subject = order.get("subject", {})
        by, how = subject.get("impersonator") or subject.get("user", ""), "asked of the hub"
        if asked and asked.get("subject", {}).get("user") not in (None, "", found.owner):
            by, how = asked["subject"]["user"], "asked of the gateway, in the console"
    return Ended(
        time=end["time"],
        reason=inert(end.get("reason", "")),
        by=inert(by if show_who or by == found.owner else ""),
        how=how,
        trust=str(inert(end.get("trust", ""), limit=20)),
    )


def _order(stops: Sequence[Shown]) -> Mapping[str, Any] | None:
    """The last order to stop."""
    return next((each.event for each in reversed(stops) if each.event.get("action") == "stop"), None)


def _receipt(told: Mapping[str, Any]) -> list[tuple[str, Inert]]:
    try:
        facts = json.loads(told.get("facts", ""))
    except (ValueError, RecursionError):  # the node's word, which may nest as deep as it likes
        facts = None
    if not isinstance(facts, dict):
        return [("as told", inert(told.get("facts", ""), limit=400))]
    known = [(label, facts[name]) for name, label in _RECEIPT.items() if facts.get(name) not in (None, "")]
    return [
        (label, inert(value if isinstance(value, str | int) else json.dumps(value), limit=400))
        for label, value in known
    ]


def about(found: Story) -> str:
    """Whose events the page shows, for the event of this reading."""
    return f"of={quote(found.owner, safe='')}"
