"""The Alerts page's values: alerts, and what happened in each, as sentences and facts. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from jupyter_hpcsec.audit.alert_index import AlertQuestion
from jupyter_hpcsec.audit.alert_states import ACKNOWLEDGED, Alert
from jupyter_hpcsec.audit.alerts import SEVERITIES, SUSPICION, WATCHED, ended
from jupyter_hpcsec.audit.text import clean
from jupyter_hpcsec.errors import Malformed

PAGE = 50
STATES = ("open", "acknowledged", "over", "all")
TONES = {"high": "bad", "medium": "warn", "low": "quiet"}
"""Classes of the tags, by severity."""
FACTS = 24
SHOWN = 400
MINING = "gpu.R5"
CLAIMED = "A process on the node says so: it is a claim."
_NUMBER_LIMIT = 15


@dataclass(frozen=True)
class Fact:
    """A name and a value beside an event."""

    name: str
    value: str


@dataclass(frozen=True)
class Shown:
    """One alert as a line, and as the head of its page."""

    number: int
    name: str
    title: str
    advice: str
    severity: str
    tone: str
    state: str
    user: str
    session: str
    source: str
    node: str
    since: str
    last: int
    last_id: str
    last_time: str
    count: int
    reopened: int
    suspicion: str
    stands: str

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to look."""
        return self.state == "open"


@dataclass(frozen=True)
class Happened:
    """One event of an alert. ``note`` is what somebody wrote when acknowledging it, ``missing`` why it is not shown."""

    leaf: int
    time: str
    what: str
    by: str
    reason: str
    claim: str
    facts: tuple[Fact, ...]
    note: str = ""
    missing: str = ""


def shown(alert: Alert) -> Shown:
    """An alert with its row's words."""
    watched = WATCHED[alert.name]
    stands = ""
    if watched.over is not None:
        stands = "It stands now." if alert.standing else "It does not stand any more."
    return Shown(
        number=alert.number,
        name=alert.name,
        title=watched.title,
        advice=watched.advice,
        severity=alert.severity,
        tone=TONES[alert.severity],
        state=alert.state,
        user=alert.user,
        session=alert.session,
        source=alert.source,
        node=alert.node,
        since=alert.since,
        last=alert.last,
        last_id=alert.last_id,
        last_time=alert.last_time,
        count=alert.count,
        reopened=alert.reopened,
        suspicion=SUSPICION if alert.name == MINING else "",
        stands=stands,
    )


def question(state: str, name: str, severity: str, user: str, session: str, before: str) -> AlertQuestion:
    """What the form asks; ``Malformed`` for what it can't."""
    if state not in ("", *STATES):
        raise Malformed(f"An alert's state is one of {', '.join(STATES)}.")
    if name and name not in WATCHED:
        raise Malformed("There is no such kind of alert.")
    if severity and severity not in SEVERITIES:
        raise Malformed(f"A severity is one of {', '.join(SEVERITIES)}.")
    if before and not (before.isascii() and before.isdigit() and len(before) <= _NUMBER_LIMIT):
        raise Malformed("A page begins after an event's number.")
    return AlertQuestion(
        state={"": "open", "all": ""}.get(state, state),
        name=name,
        severity=severity,
        user=user,
        session=session,
        before=int(before or 0),
        limit=PAGE + 1,
    )


def asked(of: AlertQuestion) -> str:
    """The question as its event has it."""
    parts = [("state", of.state), ("name", of.name), ("severity", of.severity), ("user", of.user)]
    parts += [("session", of.session), ("before", str(of.before or ""))]
    return " ".join(f"{name}={value}" for name, value in parts if value)


def next_page(of: AlertQuestion, found: Sequence[Alert]) -> str:
    """The query of the next page; '' where this is the last."""
    if len(found) <= PAGE:
        return ""
    fields = {"state": of.state or "all", "name": of.name, "severity": of.severity, "user": of.user}
    fields |= {"session": of.session, "before": str(found[PAGE - 1].last)}
    return urlencode({name: value for name, value in fields.items() if value})


def happened(leaf: int, event: Mapping[str, Any], note: str | None, missing: str) -> Happened:
    """An event of an alert, with what stands in it for people."""
    subject = event.get("subject", {})
    kind = str(event.get("kind", ""))
    return Happened(
        leaf=leaf,
        time=str(event.get("time", "")),
        what=_what(kind, event),
        by=str(subject.get("user") or subject.get("account") or "") if kind == ACKNOWLEDGED else "",
        reason=_cut(event.get("reason", "")),
        claim=CLAIMED if event.get("trust") == "node" else "",
        facts=tuple(_facts(event))[:FACTS],
        note=note or "",
        missing=missing,
    )


def _what(kind: str, event: Mapping[str, Any]) -> str:
    if kind == ACKNOWLEDGED:
        return "acknowledged"
    if kind == "session.ended":
        return "the session ended"
    return "over" if ended(event) is not None else "raised"


_NAMES = {
    "rule": "rule", "source": "source address", "node": "node", "job": "job", "device": "GPU", "kernel": "kernel",
    "pid": "process", "confidence": "confidence", "threshold": "threshold", "action": "action", "count": "how many",
    "lost": "lost", "kinds": "kinds", "since": "since", "why": "why", "first": "first number", "last": "last number",
    "seconds": "seconds", "call": "call", "visitor": "as a", "project": "project", "file": "file", "bytes": "bytes",
    "findings": "findings",
}  # fmt: skip
"""Fields that are shown, in this order; by what they are called."""


def _facts(event: Mapping[str, Any]) -> list[Fact]:
    found = [Fact(said, _cut(event[name])) for name, said in _NAMES.items() if event.get(name)]
    if event.get("subject", {}).get("impersonator"):
        found.insert(0, Fact("who came", _cut(event["subject"]["impersonator"])))
    on = event.get("object", {})
    if on.get("name"):
        found.append(Fact("object", _cut(on["name"])))
    if event.get("simulated"):
        found.append(Fact("GPU", "simulated"))
    return found + _evidence(event.get("evidence", ""))


def _evidence(text: object) -> list[Fact]:
    """The watch's evidence: a JSON object of words and numbers. What is none is shown as it is."""
    if not text:
        return []
    try:
        given = json.loads(str(text))
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return [Fact("evidence", _cut(text))]
    return [Fact(_cut(name), _cut(value)) for name, value in given.items() if value not in ("", None)]


def _cut(value: object) -> str:
    """Printable and bounded: what stands in evidence passed through JSON, which can hold any character."""
    return clean(str(value), SHOWN)
