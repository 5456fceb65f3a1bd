"""How the outcomes are shown: a table by group with totals, one JSON object, the page of the documentation. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from jupyter_hpcsec.access.landlock import ABIS
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.values import Attempt, Conditions, Ending, Expected, Group, Tried

TABLE_HEAD = """\
| attempt | what it tries | stopped by | stopped from ABI | without mounts of its own |
| --- | --- | --- | --- | --- |"""


def holds(tried: Sequence[Tried]) -> bool:
    """Something was refused, nothing is open, nothing failed. What was not tried proves nothing and hurts nothing."""
    return any(one.outcome.ending is Ending.REFUSED for one in tried) and all(one.holds for one in tried)


def totals(tried: Iterable[Tried]) -> dict[str, int]:
    """How many ended how."""
    counted = dict.fromkeys(("tried", "refused", "open", "lawful", "not tried", "failed"), 0)
    for one in tried:
        word = "open" if one.is_open else "lawful" if one.outcome.ending is Ending.SUCCEEDED else one.outcome.ending
        counted[str(word)] += 1
        counted["tried"] += one.outcome.ending in {Ending.SUCCEEDED, Ending.REFUSED}
    return counted


def as_values(tried: Sequence[Tried], conditions: Conditions) -> dict[str, Any]:
    """For JSON."""
    return {
        "ok": holds(tried),
        "landlock_abi": conditions.abi,
        "bind": str(conditions.bind),
        "totals": totals(tried),
        "attempts": [
            {
                "id": one.attempt.id,
                "group": str(one.attempt.group),
                "title": one.attempt.title,
                "tries": one.attempt.tries,
                "expected": str(one.prospect.expected),
                "reason": one.prospect.reason,
                "outcome": str(one.outcome.ending),
                "detail": one.outcome.detail,
                "verdict": one.verdict,
            }
            for one in tried
        ],
    }


def as_text(tried: Sequence[Tried], conditions: Conditions) -> str:
    """For people."""
    width = max((len(one.attempt.title) for one in tried), default=0)
    lines = []
    for group in Group:
        members = [one for one in tried if one.attempt.group is group]
        if members:
            lines += ["", f"{group}: {_counted(members)}"]
            lines += [f"  {one.verdict:<12} {one.attempt.title:<{width}}  {_why(one)}".rstrip() for one in members]
    lines += ["", f"Landlock ABI {conditions.abi}, network.bind: {conditions.bind}. {_counted(tried)}."]
    loud = [one for one in tried if not one.holds]
    if loud:
        lines += ["", "To look into:"]
        lines += [f"  {one.attempt.id}: {one.verdict}: {one.outcome.detail}" for one in loud]
    elif not holds(tried):
        lines.append("Nothing was refused, so nothing is shown: is this a session?")
    return "\n".join(lines).lstrip("\n")


def _counted(tried: Iterable[Tried]) -> str:
    return ", ".join(f"{count} {word}" for word, count in totals(tried).items() if count) or "nothing tried"


def _why(one: Tried) -> str:
    if one.outcome.ending is Ending.REFUSED and one.prospect.expected is Expected.STOPPED:
        return f"{one.outcome.detail} [{one.prospect.reason}]"
    return one.outcome.detail


def as_page(attempts: Sequence[Attempt]) -> str:
    """The tables of docs/security/attacks.md, a group each."""
    parts = []
    for group in Group:
        rows = [_row(one) for one in attempts if one.group is group]
        parts.append(f"### {str(group).capitalize()}\n\n{TABLE_HEAD}\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _row(attempt: Attempt) -> str:
    stops = ", ".join(f"{stop} (ABI {abi})" if abi else str(stop) for stop, abi in attempt.stops.items())
    lawful = ", ".join(f"`{bind}`" for bind in Bind if bind in attempt.lawful)
    stopped = attempt.granted or (f"{stops}; lawful with {lawful}" if lawful else stops)
    cells = (f"`{attempt.id}`", f"{attempt.title}. {attempt.tries}", stopped)
    return f"| {' | '.join(cells)} | {first_abi(attempt, mounts=True)} | {first_abi(attempt, mounts=False)} |"


def first_abi(attempt: Attempt, *, mounts: bool) -> str:
    """The first Landlock ABI at which it is expected to be stopped."""
    for version in (0, *(row.version for row in ABIS)):
        prospect = attempt.expect(Conditions(version, Bind.NONE, mounts))
        if prospect.expected is Expected.STOPPED:
            return str(version) if version else "any"
    return "open" if prospect.expected is Expected.OPEN else "lawful"
