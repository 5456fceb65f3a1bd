"""The GPU strip: what each kernel did on GPUs, over a session's time, as bars of a drawing. Pure.

All of it is the node's word. What is simulated, or could not be measured, is another sort of bar, never an empty one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from jupyter_hpcsec.console.views.text import Inert, inert
from jupyter_hpcsec.ops.audit.reading import Shown

WIDTH, LANE, GAP = 1000, 28, 8
SORTS = (("used", "at work"), ("held", "held, idle"), ("unknown", "not visible"))


@dataclass(frozen=True)
class Bar:
    """A rectangle; ``sort`` is used, held or unknown."""

    x: float
    y: float
    width: float
    height: float
    sort: str


@dataclass(frozen=True)
class Lane:
    """One kernel: its bars, and the sums for people who read a table."""

    kernel: Inert
    notebook: Inert
    y: int
    bars: tuple[Bar, ...]
    used_s: int
    held_s: int
    unknown_s: int
    memory: int
    is_simulated: bool


@dataclass(frozen=True)
class Strip:
    """The drawing; ``start`` and ``end`` are Unix seconds, ``height`` its height in units of its own."""

    lanes: tuple[Lane, ...]
    start: float
    end: float
    height: int
    is_simulated: bool
    is_cut: bool
    blind: tuple[Inert, ...]

    @property
    def width(self) -> int:
        """Its width in units of its own."""
        return WIDTH


def strip(use: Sequence[Shown], *, is_cut: bool) -> Strip | None:
    """The strip of ``gpu.use`` and ``gpu.watch`` events; None where a session has none. ``is_cut``: there are more."""
    events = [each.event for each in use if each.event["kind"] == "gpu.use"]
    said = (each.event.get("blind", "") for each in use if each.event["kind"] == "gpu.watch")
    blind = tuple(inert(text) for text in dict.fromkeys(said) if text not in ("", "[]", "{}"))
    if not events and not blind:
        return None
    start = min((_at(event) - _span(event) for event in events), default=0.0)
    end = max((_at(event) for event in events), default=0.0)
    lanes = []
    ordered = sorted(events, key=_kernel)
    for number, (_, group) in enumerate(groupby(ordered, key=_kernel)):
        lanes.append(_lane(list(group), number * (LANE + GAP), start, max(end - start, 1.0)))
    return Strip(
        lanes=tuple(lanes),
        start=start,
        end=end,
        height=max(LANE, len(lanes) * (LANE + GAP) - GAP),
        is_simulated=any(lane.is_simulated for lane in lanes),
        is_cut=is_cut,
        blind=blind,
    )


def _kernel(event: dict[str, Any]) -> str:
    return str(event.get("kernel", ""))


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _span(event: dict[str, Any]) -> int:
    return max(1, _number(event, "span_s"))


def _number(event: dict[str, Any], name: str) -> int:
    value = event.get(name, 0)
    return value if type(value) is int and value >= 0 else 0


def _lane(events: list[dict[str, Any]], y: int, start: float, total: float) -> Lane:
    bars: list[Bar] = []
    for event in events:
        whole = sum(_number(event, f"{sort}_s") for sort, _ in SORTS)
        bottom = float(y + LANE)
        for sort, _ in SORTS:
            share = _number(event, f"{sort}_s") / whole if whole else 0.0
            if share <= 0:
                continue
            height = round(share * LANE, 2)
            bottom -= height
            x = (_at(event) - _span(event) - start) / total * WIDTH
            bars.append(
                Bar(round(x, 2), round(bottom, 2), round(max(1.5, _span(event) / total * WIDTH), 2), height, sort)
            )
    last = events[-1]
    return Lane(
        kernel=inert(last.get("kernel", ""), limit=80),
        notebook=inert(next((e["notebook"] for e in reversed(events) if e.get("notebook")), ""), limit=200),
        y=y,
        bars=tuple(bars),
        used_s=sum(_number(event, "used_s") for event in events),
        held_s=sum(_number(event, "held_s") for event in events),
        unknown_s=sum(_number(event, "unknown_s") for event in events),
        memory=max(_number(event, "memory") for event in events),
        is_simulated=any(event.get("simulated") is True for event in events),
    )
