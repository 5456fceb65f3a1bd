"""What the doctor says: findings, and how they are printed. Pure; it judges nothing itself.

A finding that could not be made is ``UNKNOWN``, its own state. It is never counted as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a hop is."""

    OK = "ok"
    WARN = "warn"
    """It works; something about it should be changed."""
    BAD = "bad"
    """It is broken, or not safe."""
    UNKNOWN = "unknown"
    """The check could not be made, so nothing is known."""


@dataclass(frozen=True)
class Finding:
    """One line of the report: the hop, how it is, what was seen, and what to do about it."""

    hop: str
    status: Status
    what: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.status is not Status.OK and not self.fix:
            raise ValueError(f"BUG: a finding on {self.hop} that is {self.status} names no fix")


def ok(hop: str, what: str) -> Finding:
    """A green line."""
    return Finding(hop, Status.OK, what)


def warn(hop: str, what: str, fix: str) -> Finding:
    """A yellow line."""
    return Finding(hop, Status.WARN, what, fix)


def bad(hop: str, what: str, fix: str) -> Finding:
    """A red line."""
    return Finding(hop, Status.BAD, what, fix)


def unknown(hop: str, what: str, fix: str) -> Finding:
    """A line for a check that could not be made."""
    return Finding(hop, Status.UNKNOWN, what, fix)


def holds(findings: Iterable[Finding]) -> bool:
    """True when something was looked at and nothing of it is red."""
    seen = list(findings)
    return bool(seen) and all(finding.status is not Status.BAD for finding in seen)


_LABELS = {Status.OK: "ok", Status.WARN: "warn", Status.BAD: "FAIL", Status.UNKNOWN: "?"}
_COLOURS = {Status.OK: "32", Status.WARN: "33", Status.BAD: "1;31", Status.UNKNOWN: "35"}


def as_text(title: str, findings: Sequence[Finding], *, colour: bool) -> str:
    """The report for people: a line a finding, the fix below it, the totals at the end."""
    width = max((len(finding.hop) for finding in findings), default=0)
    lines = [title]
    for finding in findings:
        label = f"{_LABELS[finding.status]:<4}"
        if colour:
            label = f"\x1b[{_COLOURS[finding.status]}m{label}\x1b[0m"
        lines.append(f"  {label}  {finding.hop:<{width}}  {finding.what}")
        if finding.fix:
            lines.append(f"  {'':<4}  {'':<{width}}  fix: {finding.fix}")
    count = {status: sum(finding.status is status for finding in findings) for status in Status}
    lines.append(
        f"{count[Status.OK]} ok, {count[Status.WARN]} warnings, "
        f"{count[Status.BAD]} failed, {count[Status.UNKNOWN]} could not be checked"
    )
    return "\n".join(lines)


def as_values(side: str, findings: Sequence[Finding]) -> dict[str, object]:
    """The report for programs, ready for JSON: ``{"ok", "side", "findings": [{hop, status, what, fix}]}``."""
    return {"ok": holds(findings), "side": side, "findings": [asdict(finding) for finding in findings]}
