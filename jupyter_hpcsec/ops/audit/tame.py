"""What a terminal showed, such that showing it again can do nothing but draw. Pure.

A terminal obeys what it shows: it sets titles and clipboards, prints to files, answers questions as if somebody typed.
So of the control sequences (ECMA-48, xterm's) those pass that move the cursor, erase, and set colours; the others are
left out, and whatever is no text is written out.
"""

import re

from jupyter_hpcsec.ops.audit.seen import visible

HELD_LIMIT = 4096
"""Characters of a sequence without an end that are waited for."""
_SEQUENCE = re.compile(
    r"""\x1b(?:
        \[ (?P<parameters>[0-?]*) (?P<between>[ -/]*) (?P<final>[@-~])   # CSI
      | [\]PX^_] [^\x07\x1b\x9c]* (?:\x07|\x1b\\|\x9c)                   # OSC, DCS, SOS, PM, APC: left out
      | [ -/]+ [0-~]                                                      # character sets: left out
      | (?P<single>[78DEM=>])
      | (?![\[\]PX^_])[0-~]                                               # others: left out
    )""",
    re.VERBOSE,
)
_DRAWS = frozenset("ABCDEFGHJKLMPSTX`adefGm@r")
_MODES = re.compile(r"\?(?:7|25|47|1047|1049)")
_KEPT = frozenset("\r\n\t\b")


class Tame:
    """One terminal's output, part by part: a sequence may begin in one and end in the next."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """What may be shown of the next part."""
        text, self._rest = self._rest + text, ""
        shown, at = [], 0
        while (start := text.find("\x1b", at)) >= 0:
            shown.append(_plain(text[at:start]))
            match = _SEQUENCE.match(text, start)
            if match:
                shown.append(_allowed(match))
                at = match.end()
            elif len(text) - start < HELD_LIMIT and _is_open(text[start:]):
                self._rest = text[start:]
                return "".join(shown)
            else:
                shown.append("^[")
                at = start + 1
        shown.append(_plain(text[at:]))
        return "".join(shown)


def _plain(text: str) -> str:
    return "".join(each if each in _KEPT else visible(each) for each in text)


def _allowed(match: "re.Match[str]") -> str:
    if match["single"]:
        return match[0]
    if match["final"] is None or match["between"] or not re.fullmatch(r"[0-9;:]*|\?[0-9]+", match["parameters"]):
        return ""
    if match["final"] in _DRAWS and not match["parameters"].startswith("?"):
        return match[0]
    return match[0] if match["final"] in "hl" and _MODES.fullmatch(match["parameters"]) else ""


def _is_open(text: str) -> bool:
    """Whether more could make a sequence of it."""
    return re.fullmatch(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c]*\x1b?|[ -/]*)", text) is not None
