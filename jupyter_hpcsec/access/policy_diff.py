"""What changes for one subject from one policy to another: paths gained, lost or kept, and settings. Pure.

Rights only change at paths that one of both policies names; so looking at those is looking at every path there is.
"""

from dataclasses import dataclass

from jupyter_hpcsec.access.decision import Decisions, components
from jupyter_hpcsec.access.policy_rules import Policy
from jupyter_hpcsec.access.prefixes import parent
from jupyter_hpcsec.access.values import Resolved, Right, Subject
from jupyter_hpcsec.errors import Refused

SETTINGS = ("enforcement", "minimum_abi", "bind", "connect", "hide_denied")


@dataclass(frozen=True)
class Change:
    """One path and everything below it, up to the next path that is listed."""

    path: str
    before: Right
    after: Right

    @property
    def kind(self) -> str:
        """``gains``, ``loses``, or ``keeps`` (what stays as it is inside of something that changes)."""
        order = tuple(Right)
        if self.before is self.after:
            return "keeps"
        return "gains" if order.index(self.after) > order.index(self.before) else "loses"


@dataclass(frozen=True)
class Setting:
    """A setting other than paths that changes, as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """All that changes for ``user``. ``refused_*`` is the sentence where a policy gives the user no session."""

    user: str
    changes: tuple[Change, ...]
    settings: tuple[Setting, ...]
    refused_before: str = ""
    refused_after: str = ""


def compare(old: Policy, new: Policy, subject: Subject) -> Difference:
    """What ``new`` changes for the subject."""
    before, refused_before = _resolve(old, subject)
    after, refused_after = _resolve(new, subject)
    return Difference(
        subject.user,
        changes=changes(before, after),
        settings=settings(before, after) if before and after else (),
        refused_before=refused_before,
        refused_after=refused_after,
    )


def changes(before: Resolved | None, after: Resolved | None) -> tuple[Change, ...]:
    """The paths whose rights change, and those inside of them that keep theirs. ``None`` allows nothing."""
    paths = {entry.path for resolved in (before, after) if resolved for entry in resolved.entries}
    old, new = (Decisions(resolved) if resolved else None for resolved in (before, after))
    found: dict[str, Change] = {}
    for path in sorted(paths, key=components):
        change = Change(path, _right(old, path), _right(new, path))
        above = _above(found, path)
        if (change.before, change.after) != ((above.before, above.after) if above else (Right.NONE, Right.NONE)):
            found[path] = change
    inside = {path for path in found if any(found[p].kind != "keeps" for p in _ancestors(path) if p in found)}
    return tuple(change for path, change in found.items() if change.kind != "keeps" or path in inside)


def settings(before: Resolved, after: Resolved) -> tuple[Setting, ...]:
    """The other settings that change."""
    pairs = zip(SETTINGS, _settings(before), _settings(after), strict=True)
    return tuple(Setting(name, old, new) for name, old, new in pairs if old != new)


def _settings(resolved: Resolved) -> tuple[str, ...]:
    ports = " ".join(map(str, resolved.network.connect)) or "no port"
    bind = str(resolved.network.bind)
    return (str(resolved.enforcement), str(resolved.minimum_abi), bind, ports, str(resolved.hide_denied).lower())


def _resolve(policy: Policy, subject: Subject) -> tuple[Resolved | None, str]:
    try:
        return policy.resolve(subject), ""
    except Refused as error:
        return None, error.reason


def _right(decisions: Decisions | None, path: str) -> Right:
    return decisions.decide(path).right if decisions else Right.NONE


def _above(found: dict[str, Change], path: str) -> Change | None:
    return next((found[above] for above in _ancestors(path) if above in found), None)


def _ancestors(path: str) -> list[str]:
    """The directories above, the nearest first."""
    found = []
    above = parent(path)
    while above is not None:
        found.append(above)
        above = parent(above)
    return found
