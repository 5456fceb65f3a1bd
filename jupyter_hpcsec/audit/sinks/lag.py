"""How far the sinks are behind the record, by their cursors: known whether a forwarder runs or not."""

import time
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.audit.sinks.cursor import all_of
from jupyter_hpcsec.audit.sinks.items import Source

ROLLED_BACK = "the record is shorter than what was sent: it was rolled back"


@dataclass(frozen=True)
class SinkState:
    """One sink: ``lag`` events wait, the oldest for ``lag_s`` seconds; ``error`` says why, where it is known.

    ``rejected`` events its receiver never takes; ``missed`` ones were removed by retention before they were sent.
    """

    name: str
    sent: int
    lag: int
    lag_s: float
    rejected: int
    missed: int
    error: str


def states(record: Path, state: Path, now: float | None = None) -> list[SinkState]:
    """All sinks that have a cursor in ``state``."""
    source = Source(record)
    moment = time.time() if now is None else now
    found = []
    for name, cursor in all_of(state).items():
        is_ours = cursor.log == str(source.verifier)
        at = cursor.next if is_ours else 0
        durable = source.durable()
        waiting = source.take(at, 1) if at < durable else []
        error = cursor.error or (ROLLED_BACK if at > durable else "")
        lag_s = max(0.0, moment - waiting[0].time_s) if waiting else 0.0
        found.append(SinkState(name, at, max(0, durable - at), lag_s, cursor.rejected, cursor.missed, error))
    return found
