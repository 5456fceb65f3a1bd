"""How far the sinks are behind the record, in words."""

from dataclasses import asdict

from jupyter_hpcsec.audit.sinks.lag import SinkState


def table(found: list[SinkState]) -> list[str]:
    """Lines for people."""
    rows = [("SINK", "SENT", "BEHIND", "SECONDS", "REJECTED", "MISSED", "WHY")]
    rows += [
        (s.name, str(s.sent), str(s.lag), f"{s.lag_s:.0f}", str(s.rejected), str(s.missed), s.error) for s in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[6]]) for row in rows]


def as_json(found: list[SinkState]) -> list[dict[str, object]]:
    """The same for programs."""
    return [asdict(each) for each in found]
