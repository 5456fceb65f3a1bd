"""What is an alert: which events of the record somebody has to look at, how bad it is, and what to do first. Pure.

One table, ``WATCHED``; the documentation prints it. An event that no row names is no alert, however it is worded: only
its kind, its rule and the row's own conditions count.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")

SUSPICION = (
    "This is a suspicion for a human to review, not a finding: detectors of mining that were published accuse one user "
    "in five wrongly. Nothing was stopped because of it."
)
"""Stands beside every sign of mining."""


@dataclass(frozen=True)
class Watched:
    """Events of ``kind`` whose rule is one of ``rules`` (a trailing ``*``: begins so; none: any) are this alert.

    ``where`` are fields that must have these values. Events that agree in ``by`` are one alert, which occurs again.
    It is one from the ``at_least``-th time within ``within_s`` seconds. ``over`` is (kind, fields) of events that say
    that it stands no longer; only where ``ends_itself`` does that close it: a node's word closes nothing that
    somebody has to see.
    """

    name: str
    kind: str
    severity: Severity
    title: str
    advice: str
    rules: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    by: tuple[str, ...] = ("session",)
    at_least: int = 1
    within_s: int = 0
    over: tuple[str, Mapping[str, str]] | None = None
    ends_itself: bool = False

    def has_rule(self, rule: str) -> bool:
        """Whether a rule is one of those that are meant."""
        return not self.rules or any(
            rule.startswith(each[:-1]) if each.endswith("*") else rule == each for each in self.rules
        )

    def is_raised_by(self, event: Mapping[str, Any]) -> bool:
        """Whether this event is an occurrence."""
        return (
            event.get("kind") == self.kind
            and self.has_rule(str(event.get("rule", "")))
            and all(event.get(name) == value for name, value in self.where.items())
        )

    def is_ended_by(self, event: Mapping[str, Any]) -> bool:
        """Whether this event says that it is over."""
        if self.over is None or event.get("kind") != self.over[0]:
            return False
        return self.has_rule(str(event.get("rule", ""))) and all(
            event.get(name) == value for name, value in self.over[1].items()
        )

    def key(self, event: Mapping[str, Any]) -> str:
        """What this alert is told apart by from others of the same name: no field of an event can hold the
        separator."""
        return "\x1f".join((self.name, *(text_of(event, each) for each in self.by)))


def text_of(event: Mapping[str, Any], name: str) -> str:
    """A field as text; ``user`` is the subject's, by its login or account where it has none; ``impersonator`` is who
    acts on what is the subject's."""
    subject = event.get("subject", {})
    if name == "impersonator":
        return str(subject.get("impersonator", ""))
    if name != "user":
        return str(event.get(name, ""))
    return str(subject.get("user") or subject.get("login") or subject.get("account", ""))


def _gpu(rule: str, severity: Severity, title: str, advice: str, **more: Any) -> Watched:
    return Watched(
        name=f"gpu.{rule}",
        kind="gpu.alert",
        rules=(rule,),
        severity=severity,
        title=title,
        advice=advice,
        where=MappingProxyType({"state": "raised"}),
        by=more.pop("by", ("session",)),
        over=("gpu.alert", MappingProxyType({"state": "cleared"})),
        **more,
    )


def _root(rule: str, severity: Severity, title: str, advice: str) -> Watched:
    return Watched(
        name=f"gpu.node-{rule}",
        kind="gpu.node-alert",
        rules=(rule,),
        severity=severity,
        title=title,
        advice=advice,
        where=MappingProxyType({"part": "watch", "state": "raised"}),
        by=("node", "job"),
        over=("gpu.node-alert", MappingProxyType({"part": "watch", "state": "cleared"})),
    )


_LISTED: tuple[Watched, ...] = (
    # -- the record itself
    Watched(
        "audit.not-verified", "audit.verified", "high", "The record does not verify",
        "Keep the directory as it is, compare it with the second place and the witness, and start a new record.",
        where=MappingProxyType({"state": "wrong"}), by=(),
    ),
    Watched(
        "audit.gap", "audit.gap", "high", "Events were lost before they could be recorded",
        "The event says how many of which kind and since when. Look at the disk of the record.", by=(),
    ),
    Watched(
        "audit.set-aside", "audit.set-aside", "medium", "An unfinished write was set aside",
        "The gateway was killed, or its disk was full. Nothing that was acknowledged is lost.", by=(),
    ),
    Watched(
        "clock.stepped", "clock.stepped", "medium", "The wall clock was set",
        "Times around it can't be compared; the order of events can. Ask who changed the hub host's clock.", by=(),
    ),
    Watched(
        "hub.lost", "hub.lost", "medium", "JupyterHub could not tell of all that it did",
        "The gateway was away for long. The hub's own log has what is missing.", by=(),
    ),
    # -- identity: stolen, used, forged
    Watched(
        "token.used", "enrolment.refused", "high", "A job token was used again, revoked, or forged",
        "Somebody has a token that was not theirs, or a copy of it. Compare source and node with the session's job.",
        rules=("enrol.token-used", "enrol.other-job", "enrol.serial-used", "token.signature", "token.key",
               "token.algorithm", "token.duplicate", "token.header", "token.type"),
        by=("session", "source"),
    ),
    Watched(
        "attest.refused", "enrolment.refused", "high", "A job is not what it says it is",
        "The batch system or MUNGE contradicts the job: another user, another node, another key.",
        rules=("attest.other-*", "attest.munge-*", "attest.address", "attest.unknown-job", "certificate.*",
               "request.*"),
        by=("session", "source"),
    ),
    Watched(
        "enrolment.refused", "enrolment.refused", "low", "Enrolments are refused again and again",
        "A job that was too late does this once. More of it from one place is a mistake in the set-up, or a search.",
        by=("source",), at_least=10, within_s=600,
    ),
    Watched(
        "lane.refused", "lane.refused", "high", "A node asked for what is not its own",
        "The agent never does this by itself: look at the session's processes, and end it if in doubt.",
        rules=("lane.direction", "lane.target"),
    ),
    Watched(
        "certificate.revoked", "connection.refused", "medium", "A revoked or foreign certificate was shown",
        "A job that was ended still tries, or its key was copied. Look at the source address.",
        rules=("lane.revoked", "lane.no-session", "certificate.*", "renew.*"), by=("source",),
    ),
    Watched(
        "socket.refused", "socket.refused", "high", "A process on the hub's host reached for a session's socket",
        "Only the proxy may. The event names the process: find out who started it.", rules=("socket.peer",),
    ),
    Watched(
        "hub-api.refused", "hub-api.refused", "medium", "A session asked JupyterHub for more than it may",
        "What runs in the session tried the Hub API beyond its own server. Look at the cells before it.",
    ),
    Watched(
        "admin.refused", "admin.refused", "medium", "A call at the gateway's admin socket was refused",
        "The event names the account by the kernel's word.",
        rules=("admin.*", "audit.*", "console.*", "project.caller"), by=("user",),
    ),
    Watched(
        "project.refused", "project.refused", "medium", "Somebody tries again and again what others decide of projects",
        "Somebody tries to approve a project of their own, to change one of others, or guesses names of projects.",
        rules=("project.own", "project.four-eyes", "project.owner", "project.not-yours", "project.office",
               "project.unknown"),
        by=("user",), at_least=5, within_s=3600,
    ),
    Watched(
        "hub.login-refused", "hub.login-refused", "medium", "Many logins are refused",
        "Somebody guesses passwords, or a program has an old one.", by=("source",), at_least=10, within_s=600,
    ),
    Watched(
        "console.refused", "console.refused", "medium", "The security console refuses somebody again and again",
        "Somebody tries pages, forms or tokens that are not theirs.",
        rules=("console.scope", "console.xsrf", "console.access", "console.not-a-person", "console.peer"),
        by=("user", "source"), at_least=3, within_s=3600,
    ),
    # -- who comes into sessions
    Watched(
        "session.visited", "session.visited", "low", "Somebody who is not its owner came to a session",
        "Admins and those whom a server is shared with do so on purpose: ask the owner whether they know. What was "
        "done there since is on the session's page.",
        by=("session", "impersonator"),
    ),
    Watched(
        "app.refused", "node.request-refused", "low", "Others reach for the apps of a session again and again",
        "Somebody who is not its owner has the address, or a page of another site calls it. The event says who asked.",
        rules=("app.owner", "app.origin"), at_least=3, within_s=3600,
    ),
    # -- what nodes tell, or do not
    Watched(
        "session.silent", "session.silent", "medium", "A node has stopped telling",
        "What its session does on the node is not told. Its requests and cells are recorded all the same.",
        over=("session.heard", MappingProxyType({})),
    ),
    Watched(
        "node.gap", "node.gap", "high", "Events of a node are missing",
        "Numbers that it gave never came: its agent was replaced, or what it kept was taken away.",
    ),
    Watched(
        "node.lost", "node.lost", "medium", "A node could not keep all its events",
        "The event says how many of which kind. A flood of events can hide one.",
    ),
    Watched(
        "node.refused", "node.refused", "medium", "A node told something that it may not tell",
        "An agent never sends this: somebody speaks in its place, or versions differ.",
    ),
    Watched(
        "upload.differs", "node.upload-failed", "low", "What arrived of a file is not what was sent",
        "The file was changed while it was sent, or what the node holds of it was. Nothing of it was kept.",
        rules=("upload.differs",),
    ),
    Watched(
        "node.alarm", "node.alarm", "high", "A protection of a session no longer holds",
        "The event says which. Look at the session, and end it if in doubt.",
    ),
    Watched(
        "tap.malformed", "tap.refused", "high", "A stream that can be read in two ways was cut",
        "No browser sends this: it is how requests are smuggled past a record. Look at source and session.",
        rules=("tap.http-malformed", "tap.ws-malformed", "tap.kernel-malformed", "tap.terminal-malformed"),
    ),
    Watched(
        "tap.refused", "tap.refused", "medium", "Something could not be recorded and was not let through",
        "Look at the record's health on the page Integrity.", by=(),
    ),
    # -- the policy
    Watched(
        "policy.unusable", "policy.refused", "high", "The access policy can't be used",
        "No session starts until the file is mended; `hpcsec access check` says what is wrong.", by=(),
    ),
    # -- GPUs
    _gpu("R1", "high", "A foreign process is on the GPU of a job",
         "Whose it is stands in the evidence. Tell the node's administrators; the epilog can drain the node."),
    _gpu("R2", "high", "A job uses a GPU that is not allocated to it",
         "ConstrainDevices is off on the node, or was got around."),
    _gpu("R3", "low", "GPU memory is held idle", "Its user was warned; at the limit the site's action follows.",
         by=("session", "kernel"), ends_itself=True),
    _gpu("R4", "medium", "Something was left on a GPU", "The process outlived its kernel: look at its node."),
    _gpu("R5", "medium", "Signs of mining, for review",
         "Look at the evidence and the cells around it, and talk to the user."),
    _gpu("R6", "low", "A GPU context that no executed cell explains",
         "Work in a terminal looks like this. Look at what was typed."),
    _gpu("R7", "medium", "The posture of driver, device or watch",
         "The evidence says what is set so that others could look on, or what is ill."),
    _root("R1", "high", "Root sees a foreign process on the GPU of a job",
          "Whose it is stands in the evidence, by its cgroup. It should not get so far: look at ConstrainDevices."),
    _root("R2", "high", "Root sees a GPU in use by a job that it is not allocated to, or by no job",
          "ConstrainDevices is off on the node, or somebody works there outside of the batch system."),
    _root("R4", "medium", "Root sees what a job left on a GPU",
          "The next job there would see its memory: drain the node, or let the epilog do it."),
    _root("R7", "medium", "Root's watch: posture of driver, device or watch",
          "The evidence says what is set so that others could look on, or what is ill."),
    Watched(
        "gpu.epilog", "gpu.node-alert", "medium", "The epilog found something after a job",
        "The event says what, and whether the node was drained for it.",
        where=MappingProxyType({"part": "epilog"}), by=("node", "job"),
    ),
    Watched(
        "gpu.disagreement", "gpu.disagreement", "high", "A session's GPU watch and root's do not see the same",
        "One of the two is wrong, or lies. Root's is out of the user's reach: look at the session.",
        where=MappingProxyType({"state": "raised"}), by=("session",),
        over=("gpu.disagreement", MappingProxyType({"state": "cleared"})),
    ),
    Watched(
        "node.helper-silent", "node.helper-silent", "medium", "Root's watch on a node tells nothing",
        "What happens on its GPUs is not told. Look at hpcsec-gpu-node.service there.", by=("node",),
        over=("node.helper-heard", MappingProxyType({})),
    ),
    Watched(
        "gpu.node-lost", "gpu.node-lost", "medium", "Root's watch on a node could not keep all that it found",
        "The event says how many of which kind. A flood of findings can hide one.", by=("node",),
    ),
    Watched(
        "gpu.node-watch", "gpu.node-watch", "low", "Root's watch on a node was interrupted again and again",
        "The driver hangs, or somebody ends the watch. Look at hpcsec-gpu-node.service there.",
        by=("node",), at_least=3, within_s=3600, where=MappingProxyType({"state": "stopped"}),
    ),
    Watched(
        "gpu.watch", "gpu.watch", "low", "The GPU watch was interrupted again and again",
        "The driver hangs, or somebody ends the watch in the session.",
        by=("session",), at_least=3, within_s=3600, where=MappingProxyType({"state": "stopped"}),
    ),
)  # fmt: skip

WATCHED: Mapping[str, Watched] = MappingProxyType({each.name: each for each in _LISTED})
"""By name, in the order in which they are documented; the first row that an event fits counts."""
TABLE = hashlib.sha256(repr(_LISTED).encode()).hexdigest()
"""Names this table: alerts that another one made are none of ours."""


def _by_kind() -> Mapping[str, tuple[Watched, ...]]:
    kinds: dict[str, tuple[Watched, ...]] = {}
    for each in _LISTED:
        for kind in {each.kind} | ({each.over[0]} if each.over else set()):
            kinds[kind] = (*kinds.get(kind, ()), each)
    return MappingProxyType(kinds)


BY_KIND = _by_kind()


def raised(event: Mapping[str, Any]) -> Watched | None:
    """The alert that an event is an occurrence of."""
    return next((each for each in BY_KIND.get(event.get("kind", ""), ()) if each.is_raised_by(event)), None)


def ended(event: Mapping[str, Any]) -> Watched | None:
    """The alert that an event says to be over."""
    return next((each for each in BY_KIND.get(event.get("kind", ""), ()) if each.is_ended_by(event)), None)
