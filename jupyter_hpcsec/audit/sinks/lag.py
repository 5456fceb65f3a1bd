"""How far the sinks are behind the record, by their cursors: known whether a forwarder runs or not."""

import time
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.audit.sinks.cursor import all_of
from jupyter_hpcsec.audit.sinks.items import Source


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
        waiting = source.take(at, 1)
        lag = max(0, source.durable(at) - at) if waiting else 0
        lag_s = max(0.0, moment - waiting[0].time_s) if waiting else 0.0
        found.append(SinkState(name, at, lag, lag_s, cursor.rejected, cursor.missed, cursor.error))
    return found
