"""The process that reads a policy that somebody proposes, and says whom it would affect. It applies nothing.

In: one ``Order`` as JSON. Out: one ``Answer``. What is proposed is anybody's text: the process has little memory and
time, and takes no console down with it.
"""

import resource
import sys

import msgspec
from msgspec import Struct

from jupyter_hpcsec.access.policy import Policy, parse
from jupyter_hpcsec.access.policy_diff import Difference, compare
from jupyter_hpcsec.access.policy_source import PolicyError
from jupyter_hpcsec.access.values import Subject
from jupyter_hpcsec.errors import HpcsecError

CPU_S = 60
MEMORY = 1 << 30
SHOWN, CHANGES = 200, 40
"""People, and changes of one of them, that are told; all people are counted."""


class Person(Struct, frozen=True):
    """Whom the policy was asked about; ``active``: with a session now."""

    user: str
    uid: int
    gid: int
    home: str = ""
    groups: tuple[str, ...] = ()
    project: str = ""
    active: bool = False


class Order(Struct, frozen=True):
    """The policy in force ('' where there is none to go by), and the one that is proposed."""

    current: str
    proposed: str
    people: tuple[Person, ...] = ()


class Fault(Struct, frozen=True):
    """One thing that is wrong with what is proposed."""

    line: int
    column: int
    text: str
    fix: str


class Changed(Struct, frozen=True):
    """A path whose right changes, ``gains``, ``loses`` or ``keeps``; or a setting (``is_setting``)."""

    name: str
    before: str
    after: str
    kind: str = ""


class Affected(Struct, frozen=True):
    """A person for whom something changes. ``refused_*`` is the sentence where there is no session."""

    user: str
    active: bool
    groups: tuple[str, ...]
    gains: bool
    loses: bool
    changes: tuple[Changed, ...]
    settings: tuple[Changed, ...]
    more: int
    refused_before: str = ""
    refused_after: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """``faults`` where it can't be used; else who is affected, of ``people`` that were asked for."""

    digest: str = ""
    rules: int = 0
    tests: int = 0
    faults: tuple[Fault, ...] = ()
    error: str = ""
    warning: str = ""
    people: int = 0
    gain: int = 0
    lose: int = 0
    affected: tuple[Affected, ...] = ()
    more: int = 0


def answer(order: Order) -> Answer:
    """Parse, run its tests, compare for everybody."""
    try:
        proposed = parse(order.proposed.encode(), "the proposed policy")
    except PolicyError as error:
        return Answer(faults=tuple(Fault(p.mark.line, p.mark.column, p.text, p.fix) for p in error.problems[:SHOWN]))
    except HpcsecError as error:
        return Answer(error=error.reason)
    told = Answer(digest=proposed.digest, rules=len(proposed.rules), tests=proposed.tests)
    try:
        current = parse(order.current.encode(), "the policy in force")
    except HpcsecError:
        return msgspec.structs.replace(told, warning="There is no policy in force to compare it with.")
    return _compared(told, current, proposed, order.people)


def _compared(told: Answer, current: Policy, proposed: Policy, people: tuple[Person, ...]) -> Answer:
    affected, gain, lose = [], 0, 0
    for person in people:
        subject = Subject(
            user=person.user,
            uid=person.uid,
            gid=person.gid,
            home=person.home,
            groups=person.groups,
            project=person.project,
        )
        found = _affected(compare(current, proposed, subject), person)
        if found is not None:
            affected.append(found)
            gain, lose = gain + found.gains, lose + found.loses
    affected.sort(key=lambda each: (not each.loses, not each.active, each.user))
    return msgspec.structs.replace(
        told,
        people=len(people),
        gain=gain,
        lose=lose,
        affected=tuple(affected[:SHOWN]),
        more=max(0, len(affected) - SHOWN),
    )


def _affected(difference: Difference, person: Person) -> Affected | None:
    if not (difference.changes or difference.settings or difference.refused_before != difference.refused_after):
        return None
    changes = tuple(Changed(c.path, str(c.before), str(c.after), c.kind) for c in difference.changes)
    kinds = {change.kind for change in changes}
    return Affected(
        user=person.user,
        active=person.active,
        groups=person.groups,
        gains="gains" in kinds or (bool(difference.refused_before) and not difference.refused_after),
        loses="loses" in kinds or (bool(difference.refused_after) and not difference.refused_before),
        changes=changes[:CHANGES],
        settings=tuple(Changed(s.name, s.before, s.after) for s in difference.settings),
        more=max(0, len(changes) - CHANGES),
        refused_before=difference.refused_before,
        refused_after=difference.refused_after,
    )


def main() -> int:
    """Take one order; the exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(answer(order)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
