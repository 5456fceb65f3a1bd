"""A session's terminals as asciicast v2 (docs.asciinema.org): what was typed, and what was shown if recorded. Pure.

What is typed is recorded by the line. Where the site records no outputs, it is there twice: as input, exactly, and as
something to look at, with its control characters written out. What was shown is tamed: playing it only draws.
"""

import json
from collections.abc import Sequence

from jupyter_hpcsec.ops.audit.seen import Seen, inert, visible
from jupyter_hpcsec.ops.audit.tame import Tame

WIDTH, HEIGHT = 100, 30
SIZE_LIMIT = 1000
"""Rows or columns that a player is told."""
_SHOWN = "What was typed and shown, from the audit record.\r\n"
_NOTICE = "What was typed, from the audit record. What the terminal showed is not recorded.\r\n"


def terminals(session: str, seen: Sequence[Seen]) -> dict[str, str]:
    """The casts of a session's terminals, by terminal."""
    found: dict[str, list[Seen]] = {}
    for each in seen:
        if each.kind.startswith("terminal."):
            found.setdefault(each.text("terminal"), []).append(each)
    return {name: _cast(session, name, events) for name, events in found.items()}


def _cast(session: str, name: str, events: Sequence[Seen]) -> str:
    start = events[0].time
    outputs = [each for each in events if each.kind == "terminal.output"]
    header = {
        "version": 2,
        "width": next(filter(None, (_size(each, "columns") for each in outputs)), WIDTH),
        "height": next(filter(None, (_size(each, "rows") for each in outputs)), HEIGHT),
        "timestamp": int(start),
        "title": f"terminal {inert(name)} of session {inert(session)}",
    }
    lines: list[object] = [header, [0.0, "o", _SHOWN if outputs else _NOTICE]]
    at, tame = 0.0, Tame()
    for each in events:
        for age, code, text in _frames(each, tame, has_outputs=bool(outputs)):
            at = max(at, round(each.time - start - age, 6))  # a clock that was set back does not turn the order
            if text:
                lines.append([at, code, text])
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)


def _size(each: Seen, name: str) -> int:
    size = each.event.get(name, 0)
    return size if type(size) is int and 0 < size < SIZE_LIMIT else 0


Frame = tuple[float, str, str]
"""Seconds before its event, asciicast's code, text."""


def _frames(each: Seen, tame: Tame, *, has_outputs: bool) -> list[Frame]:
    if each.kind == "terminal.opened":
        return [(0, "o", f"[opened, event {each.leaf}]\r\n")]
    if each.kind == "terminal.closed":
        return [(0, "o", f"[left, event {each.leaf}: {each.says('bytes_shown') or 0} bytes shown in all]\r\n")]
    if each.kind == "terminal.output":
        return _output(each, tame)
    if each.kind != "terminal.input":
        return []
    value = each.value("input")
    if value.text is None:
        return [(0, "o", f"[{each.says('size') or 0} bytes typed, event {each.leaf}: the input {value.why}]\r\n")]
    seen = [] if has_outputs else [(0.0, "o", visible(value.text.rstrip("\r\n")) + "\r\n")]
    return [(0, "i", value.text), *seen]


def _output(each: Seen, tame: Tame) -> list[Frame]:
    frames: list[Frame] = []
    columns, rows = _size(each, "columns"), _size(each, "rows")
    value = each.value("output")
    if value.text is None:
        why = value.why.replace("was ", "were ").replace("has been", "have been")
        frames.append((0, "o", f"\r\n[{each.says('size') or 0} bytes shown, event {each.leaf}: they {why}]\r\n"))
    else:
        frames += [(age, "o", tame.feed(text)) for age, text in _parts(value.text)]
    if columns and rows and frames:
        frames.insert(0, (frames[0][0], "r", f"{columns}x{rows}"))
    if each.event.get("truncated"):
        frames.append((0, "o", f"\r\n[{each.says('truncated')} more bytes were not recorded, event {each.leaf}]\r\n"))
    if each.event.get("reason"):
        frames.append((0, "o", f"\r\n[{each.says('reason')}, event {each.leaf}]\r\n"))
    return frames


def _parts(text: str) -> list[tuple[float, str]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return [(0, "[what was recorded can't be read]")]
    if not isinstance(found, list):
        return []
    return [
        (each[0] / 1000, each[1])
        for each in found
        if isinstance(each, list) and len(each) == 2 and type(each[0]) is int and isinstance(each[1], str)
    ]
