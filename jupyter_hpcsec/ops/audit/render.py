"""Events as text for people and programs. Whatever an event holds, one event is one line of one row. Pure."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jupyter_hpcsec.audit.index_tables import COLUMNS, row_of
from jupyter_hpcsec.audit.verify import Report
from jupyter_hpcsec.errors import printable
from jupyter_hpcsec.ops.audit.reading import Shown

FORMATS = ("table", "json", "csv")
TABLE = ("leaf", "time", "kind", "user", "session", "job", "node", "decision", "rule", "what")
LIMITS = {"session": 8, "what": 80}
FORMULA = re.compile(r"((?:^|[;\t|])[\s'\"]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet takes what comes for a formula: at a cell's beginning, or behind another country's separator."""


def lines(events: Iterable[Shown], form: str) -> Iterator[str]:
    """The events in a format, line by line, without line ends."""
    if form == "json":
        return (json.dumps({"leaf": shown.leaf, "event": shown.event}, ensure_ascii=False) for shown in events)
    if form == "csv":
        return _csv(events)
    return iter(_table(events))


def line(shown: Shown, form: str) -> str:
    """One event by itself, as ``tail`` prints it."""
    if form == "table":
        return "  ".join(cell for cell in _cells(shown) if cell)
    return list(lines([shown], form))[-1]


def _row(shown: Shown) -> dict[str, Any]:
    row = dict(zip(COLUMNS, row_of(shown.leaf, shown.event), strict=True))
    acted = f"by {row['impersonator']}" if row["impersonator"] else ""
    what = [acted, row["object"], shown.event.get("reason", ""), shown.event.get("state", ""), row["source"]]
    mark = "" if row["trust"] == "gateway" else f"[says the {row['trust']}] "
    return row | {"what": mark + " · ".join(each for each in what if each), "time": row["time"][:23].replace("T", " ")}


def _cells(shown: Shown) -> list[str]:
    row = _row(shown)
    return [printable(str(row[name]), LIMITS.get(name, 40)) if name != "session" else row[name][:8] for name in TABLE]


def _table(events: Iterable[Shown]) -> list[str]:
    rows: list[Sequence[str]] = [[name.upper() for name in TABLE], *map(_cells, events)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TABLE))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _csv(events: Iterable[Shown]) -> Iterator[str]:
    yield ",".join([*COLUMNS, "reason"])
    for shown in events:
        row = _row(shown) | {"time": shown.event.get("time", ""), "reason": shown.event.get("reason", "")}
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow([_cell(row[name]) for name in [*COLUMNS, "reason"]])
        yield out.getvalue()


def _cell(value: Any) -> str:
    text = printable(str(value), 5000)
    return FORMULA.sub(r"\1'", text)


def report(made: Report) -> str:
    """A verification as text."""
    head = f"log {made.origin}: {made.size} events under the checkpoint, {made.in_journal} more in the journal, "
    head += f"{made.values} sealed values, {made.checkpoints} kept checkpoints"
    head = "\n".join([head, *(printable(each, 1000) for each in [*made.removed, *made.witnessed])])
    if made.holds:
        return f"{head}\nEVERYTHING HOLDS. Root {made.root}"
    shown = [printable(str(finding), 1000) for finding in made.findings[:200]]
    more = [f"… and {len(made.findings) - 200} more"] if len(made.findings) > 200 else []
    return "\n".join([head, f"{len(made.findings)} FINDINGS", *shown, *more])


def report_json(made: Report) -> dict[str, Any]:
    """A verification as JSON."""
    facts = {name: value for name, value in vars(made).items() if name != "findings"}
    return {**facts, "holds": made.holds, "findings": [vars(finding) for finding in made.findings]}
