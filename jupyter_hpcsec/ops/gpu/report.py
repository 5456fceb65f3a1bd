"""``hpcsec gpu report``: GPU hours by user and project from the record's ``gpu.use`` events, each of them proved.

They are the node's word (``trust: node``): user and session are the gateway's, seconds and project what the watch in
the session said. What no node can have seen is left out and counted.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.errors import Malformed, printable
from jupyter_hpcsec.ops.audit.reading import Progress, Record, Teller
from jupyter_hpcsec.ops.audit.render import FORMULA

KIND = "gpu.use"
EVENTS_LIMIT = 2_000_000
AT_ONCE = 1024
SPAN_LIMIT_S = 3600
"""Seconds that one event may be about; the watch reports every 600."""
DEVICES_LIMIT = 128
"""GPUs or instances on one node: 16 with seven each, and some to spare."""
COLUMNS = ("user", "project", "gpu_hours", "used", "held_idle", "not_known", "sessions", "kernels", "simulated")


@dataclass
class Sum:
    """Of one user in one project, device-seconds; simulated GPUs are summed apart."""

    used_s: int = 0
    held_s: int = 0
    unknown_s: int = 0
    sessions: set[str] = field(default_factory=set)
    kernels: set[tuple[str, str]] = field(default_factory=set)

    def add(self, event: dict[str, Any]) -> None:
        """One event more."""
        self.used_s += event.get("used_s", 0)
        self.held_s += event.get("held_s", 0)
        self.unknown_s += event.get("unknown_s", 0)
        session = event.get("session", "")
        self.sessions.add(session)
        self.kernels.add((session, event.get("kernel", "")))


@dataclass
class Hours:
    """``sums`` by (user, project, simulated); ``left_out``: events that say what can't have been."""

    sums: dict[tuple[str, str, bool], Sum] = field(default_factory=dict)
    left_out: int = 0

    def add(self, event: dict[str, Any]) -> None:
        """One event of the record."""
        span = event.get("span_s", 0)
        seconds = sum(event.get(name, 0) for name in ("used_s", "held_s", "unknown_s"))
        if span > SPAN_LIMIT_S or seconds > DEVICES_LIMIT * (span + 1):
            self.left_out += 1
            return
        user = event.get("subject", {}).get("user", "")
        key = (user, event.get("project", ""), bool(event.get("simulated", False)))
        self.sums.setdefault(key, Sum()).add(event)

    def rows(self) -> list[dict[str, Any]]:
        """Whoever had most first; hours with two places."""
        made = [
            {
                "user": user, "project": project, "gpu_hours": _hours(each.used_s + each.held_s + each.unknown_s),
                "used": _hours(each.used_s), "held_idle": _hours(each.held_s), "not_known": _hours(each.unknown_s),
                "sessions": len(each.sessions), "kernels": len(each.kernels), "simulated": simulated,
            }
            for (user, project, simulated), each in self.sums.items()
        ]  # fmt: skip
        return sorted(made, key=lambda row: (row["simulated"], -row["gpu_hours"], row["user"], row["project"]))


def _hours(seconds: int) -> float:
    return round(seconds / 3600, 2)


def hours(
    record: Record, teller: Teller, progress: Progress, *, since: str, until: str = "", limit: int = EVENTS_LIMIT
) -> Hours:
    """Sum up. ``Malformed`` where there are more events than can be summed: half a sum is none."""
    question = Question(kind=KIND, trust="node", since=since, until=until, limit=limit + 1)
    with record.index(progress) as index:
        leaves = index.ask(question)
    if len(leaves) > limit:
        raise Malformed(f"more than {limit} events answer; ask for a shorter time (--since, --until)")
    teller.tell("query", f"gpu report: {question}", len(leaves))
    found = Hours()
    for start in range(0, len(leaves), AT_ONCE):
        for shown in record.events(leaves[start : start + AT_ONCE]):
            found.add(shown.event)
    return found


def lines(found: Hours, form: str) -> Iterator[str]:
    """The sums in a format, without line ends."""
    rows = found.rows()
    if form == "json":
        yield json.dumps({"rows": rows, "left_out": found.left_out}, indent=1, ensure_ascii=False)
    elif form == "csv":
        yield from _csv(rows)
    else:
        yield from _table(rows)


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield ",".join(COLUMNS)
    for row in rows:
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow([_cell(row[name]) for name in COLUMNS])
        yield out.getvalue()


def _cell(value: Any) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else printable(str(value), 200)
    return FORMULA.sub(r"\1'", text)


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    cells = [[name.upper().replace("_", " ") for name in COLUMNS]]
    cells += [[_shown(name, row[name]) for name in COLUMNS] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    for row in cells:
        aligned = (
            cell.rjust(width) if 2 <= column <= 7 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(aligned).rstrip()


def _shown(name: str, value: Any) -> str:
    if name == "simulated":
        return "SIMULATED" if value else ""
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value), 32) or "-"
