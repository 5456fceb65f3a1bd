"""Why one subject may or may not use one path: the rule that decides, those beside it, who would be allowed. Pure."""

from dataclasses import dataclass

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy_paths import shape_fault
from jupyter_hpcsec.access.policy_rules import Policy, Rule, fill, trait_values
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.values import Entry, Right, Subject
from jupyter_hpcsec.errors import Malformed, Refused


@dataclass(frozen=True)
class Explanation:
    """The answer to "may this user use this path, and why". ``refused`` is the sentence where there is no session."""

    user: str
    groups: tuple[str, ...]
    path: str
    right: Right
    entry: Entry | None = None
    beside: tuple[Entry, ...] = ()
    """Entries that speak of the path too and did not decide."""
    others: tuple[str, ...] = ()
    """Whom other rules would allow it: ``group:NAME``, ``user:NAME``."""
    refused: str = ""
    enforcement: str = ""
    contact: str = ""


def explain(policy: Policy, subject: Subject, path: str) -> Explanation:
    """The decision on ``path`` for ``subject``. ``Malformed`` for a path that is not in its one spelling."""
    if fault := shape_fault(path):
        raise Malformed(f"the path {path[:100]!r}: {fault.text}; {fault.fix}")
    others = tuple(dict.fromkeys(str(rule.who) for rule in policy.rules if _would_allow(rule, subject, path)))
    try:
        resolved = policy.resolve(subject)
    except Refused as error:
        return Explanation(
            subject.user, subject.groups, path, Right.NONE, others=others, refused=error.reason, contact=policy.contact
        )
    decisions = Decisions(resolved)
    right, entry = decisions.decide(path)
    return Explanation(
        user=subject.user,
        groups=subject.groups,
        path=path,
        right=right,
        entry=entry,
        beside=tuple(other for other in decisions.speaking_of(path) if other is not entry),
        others=others if right is Right.NONE else (),
        enforcement=str(resolved.enforcement),
        contact=policy.contact,
    )


def _would_allow(rule: Rule, subject: Subject, path: str) -> bool:
    """Whether a rule that does not concern the subject allows the path to those whom it concerns."""
    if rule.who.concerns(subject):
        return False
    rights = set()
    for grant in rule.grants:
        try:
            named = fill(grant.template, trait_values(subject, rule.who))
        except Malformed:
            continue
        if is_below(path, named):
            rights.add(grant.right)
    return bool(rights) and Right.NONE not in rights
