"""A session's terminals as asciicast v2 (docs.asciinema.org): what was typed, when. Pure.

The gateway records what is typed, by the line, and not what a terminal showed. So the typed text is there twice: as
input, exactly, and as something to look at, with its control characters written out: playing it runs nothing.
"""

import json
from collections.abc import Sequence

from jupyter_hpcsec.ops.audit.seen import Seen, inert, visible

WIDTH, HEIGHT = 100, 30
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
    header = {
        "version": 2,
        "width": WIDTH,
        "height": HEIGHT,
        "timestamp": int(start),
        "title": f"terminal {inert(name)} of session {inert(session)}",
    }
    lines: list[object] = [header, [0.0, "o", _NOTICE]]
    at = 0.0
    for each in events:
        at = max(at, round(each.time - start, 6))  # a clock that was set back does not turn the order
        lines += [[at, code, text] for code, text in _frames(each)]
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)


def _frames(each: Seen) -> list[tuple[str, str]]:
    if each.kind == "terminal.opened":
        return [("o", f"[opened, event {each.leaf}]\r\n")]
    if each.kind == "terminal.closed":
        return [("o", f"[left, event {each.leaf}: {each.says('bytes_shown') or 0} bytes shown in all]\r\n")]
    if each.kind != "terminal.input":
        return []
    value = each.value("input")
    if value.text is None:
        return [("o", f"[{each.says('size') or 0} bytes typed, event {each.leaf}: the input {value.why}]\r\n")]
    return [("i", value.text), ("o", visible(value.text.rstrip("\r\n")) + "\r\n")]
