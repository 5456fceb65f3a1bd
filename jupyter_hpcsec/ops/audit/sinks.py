"""How far the sinks are behind the record: for people, and for monitoring."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from jupyter_hpcsec.audit.sinks.cursor import all_of
from jupyter_hpcsec.audit.sinks.items import Source


@dataclass(frozen=True)
class SinkState:
    """One sink: ``lag`` events wait, the oldest for ``lag_s`` seconds; ``error`` says why, where it is known."""

    name: str
    sent: int
    lag: int
    lag_s: float
    rejected: int
    error: str


def states(record: Path, state: Path, now: float | None = None) -> list[SinkState]:
    """All sinks that have a cursor in ``state``."""
    source = Source(record)
    moment = time.time() if now is None else now
    found = []
    for name, cursor in all_of(state).items():
        is_ours = cursor.log == str(source.verifier)
        at = cursor.next if is_ours else 0
        waiting = source.take(at, 1)
        lag = max(0, source.durable(at) - at) if waiting else 0
        lag_s = max(0.0, moment - waiting[0].time_s) if waiting else 0.0
        found.append(SinkState(name, at, lag, lag_s, cursor.rejected, cursor.error))
    return found


def table(found: list[SinkState]) -> list[str]:
    """Lines for people."""
    rows = [("SINK", "SENT", "BEHIND", "SECONDS", "REJECTED", "WHY")]
    rows += [(s.name, str(s.sent), str(s.lag), f"{s.lag_s:.0f}", str(s.rejected), s.error) for s in found]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows]


def as_json(found: list[SinkState]) -> list[dict[str, object]]:
    """The same for programs."""
    return [asdict(each) for each in found]
