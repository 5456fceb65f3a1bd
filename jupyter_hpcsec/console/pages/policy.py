"""Policy: the one in force, why somebody may or may not use a path, and whom another policy would affect.

Nothing is applied from here: the policy is a file on the hub's host.
"""

import asyncio
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.access.explain import Explanation, explain
from jupyter_hpcsec.access.policy import Policy, parse
from jupyter_hpcsec.audit.events import Object
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.oversight import PolicyCompared, PolicyExplained
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.compare_worker import Order
from jupyter_hpcsec.console.page import READ, Page
from jupyter_hpcsec.console.views import policy as view
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.ops.access_commands import Account, look_up, subject_of
from jupyter_hpcsec.ops.audit.reading import Record

LOADED = 200
"""Events of the policy's loading that are looked at for when it took effect."""
PATH_LIMIT = 4096


@functools.lru_cache(maxsize=2)
def _parsed(text: str, name: str) -> Policy:
    return parse(text.encode(), name)


@dataclass(frozen=True)
class Since:
    """When the policy in force was loaded first; ``is_older``: before what was looked at."""

    time: str
    is_older: bool


def _since(record: Record, index: Index, digest: str) -> Since | None:
    found: Since | None = None
    leaves = index.ask(Question(kind="policy.loaded", newest=True, limit=LOADED)) if digest else []
    for shown in sorted(record.events(leaves), key=lambda each: -each.leaf):
        if shown.event.get("policy") != digest:
            return found
        found = Since(str(shown.event.get("time", "")), is_older=len(leaves) == LOADED)
    return found


class PolicyPage(Page):
    """What the page and its two forms share."""

    scope = READ

    async def show_policy(self, policy: dict[str, Any], **more: Any) -> None:
        """The page; ``more`` is what a form asked."""
        digest = str(policy.get("digest", ""))
        since = await self.desk.record.run(lambda record, index: _since(record, index, digest))
        people = policy.get("people", [])
        shown: dict[str, Any] = {"asked": {"user": "", "groups": "", "project": "", "path": ""}, "explained": None}
        shown |= {"answer": None, "compared": 0, "cut": False, "candidate": "", "problem": ""}
        self.show(
            "policy.html",
            policy=policy,
            lines=view.lines(str(policy.get("text", ""))),
            since=since,
            active=sum(bool(each["active"]) for each in people),
            known=len(people),
            **shown | more,
        )


class Current(PolicyPage):
    """``policy``."""

    label = "Policy"

    async def get(self) -> None:
        """The policy as the gateway has it, which the file may no longer be."""
        policy = await self.desk.gateway.policy()
        await self.tell_read("policy", "", 1)
        await self.show_policy(policy)


class Explain(PolicyPage):
    """``policy/explain``: may somebody use a path, and why."""

    async def get(self) -> None:
        """The decision, the rule, its line; an event that says who asked what."""
        asked = {"user": self.field("user", 255), "groups": self.field("groups", 4096)}
        asked |= {"project": self.field("project", 255), "path": self.field("path", PATH_LIMIT)}
        policy = await self.desk.gateway.policy()
        try:
            groups = view.groups_of(asked["groups"])
            found = await asyncio.to_thread(_explained, policy, asked, groups)
        except HpcsecError as error:
            await self.tell_read("policy", "", 1)
            await self.show_policy(policy, asked=asked, problem=self.refuse(error))
            return
        event = PolicyExplained(
            asked=found.user,
            groups=", ".join(found.groups),
            right=str(found.right),
            policy=str(policy["digest"]),
            object=Object(type="path", name=found.path),
        )
        await self.desk.gateway.console_event(event, self.reader.name)
        await self.show_policy(policy, asked=asked, explained=view.explained(found))


def _explained(policy: dict[str, Any], asked: dict[str, str], groups: tuple[str, ...]) -> Explanation:
    """The gateway's policy, asked for whom the gateway knows, or for the account of this host."""
    if not asked["user"] or not asked["path"]:
        raise Malformed("Name a user and a path.")
    if not policy.get("text"):
        raise Unavailable("There is no access policy in force that could be asked.")
    known = next((each for each in policy["people"] if each["user"] == asked["user"]), None)

    def find(user: str) -> Account | None:
        if known is None:
            return look_up(user)
        return Account(int(known["uid"]), int(known["gid"]), str(known["home"]), tuple(known["groups"]))

    project = asked["project"] or (str(known["project"]) if known else "")
    subject = subject_of(asked["user"], groups=groups, project=project, find=find)
    return explain(_parsed(str(policy["text"]), str(policy["file"])), subject, asked["path"])


class Compare(PolicyPage):
    """``policy/compare``: whom another policy would affect. It is read, tested, compared, and forgotten."""

    async def post(self) -> None:
        """What was given is parsed in a process of its own; that somebody asked is an event."""
        uploads = self.request.files.get("file", [])
        typed = self.get_body_argument("text", "", strip=False)
        policy = await self.desk.gateway.policy()
        try:
            candidate = view.proposed(uploads[0].body if len(uploads) == 1 else None, typed)
        except Malformed as error:
            await self.tell_read("policy", "", 1)
            await self.show_policy(policy, candidate=typed, problem=self.refuse(error))
            return
        people = view.people(policy["people"])
        answer = await self.desk.comparing.compare(Order(str(policy.get("text", "")), candidate, people))
        content = candidate.encode()
        event = PolicyCompared(
            state="wrong" if answer.faults or answer.error else "compared",
            users=answer.people,
            gain=answer.gain,
            lose=answer.lose,
            policy=str(policy.get("digest", "")),
            object=Object(type="policy", size=len(content), sha256=hashlib.sha256(content).hexdigest()),
        )
        await self.desk.gateway.console_event(event, self.reader.name)
        cut = bool(policy.get("more")) or len(policy["people"]) > len(people)
        await self.show_policy(policy, answer=answer, compared=len(people), cut=cut, candidate=candidate)


ROUTES: list[tuple[str, type[Page]]] = [
    ("policy", Current),
    ("policy/explain", Explain),
    ("policy/compare", Compare),
]
