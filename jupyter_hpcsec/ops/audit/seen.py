"""An event with its sealed values, as far as they are there; and text that can do nothing where it is shown. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jupyter_hpcsec.audit.text import clean

SHOWN = 200
"""Characters of a name or a reason that are shown."""


@dataclass(frozen=True)
class Seen:
    """One event: its place in the log, what it says, its sealed values; None is one that was destroyed or removed."""

    leaf: int
    event: Mapping[str, Any]
    values: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.event.get("kind", ""))

    def text(self, name: str) -> str:
        """A field as text."""
        return str(self.event.get(name, ""))

    def says(self, name: str) -> str:
        """A field or a field of its object, such as can be shown in a sentence: bounded, printable, no markup."""
        return inert(self.event.get(name) or self.event.get("object", {}).get(name, ""))

    @property
    def time(self) -> float:
        """Unix seconds."""
        return datetime.fromisoformat(self.text("time")).timestamp()

    def value(self, name: str) -> "Value":
        """A sealed value, put together where it is kept in parts (``name``, ``name_2``, …)."""
        parts = [name]
        while f"{name}_{len(parts) + 1}" in self.values:
            parts.append(f"{name}_{len(parts) + 1}")
        if name not in self.values:
            return Value(None, "was not recorded")
        found = [self.values[part] for part in parts]
        whole = b"".join(part for part in found if part is not None)
        if None in found:
            return Value(None, "was recorded and has been destroyed since")
        return Value(whole.decode("utf-8", errors="replace"), "")


@dataclass(frozen=True)
class Value:
    """A text, or why there is none."""

    text: str | None
    why: str


def inert(value: object) -> str:
    """Text for a Markdown code span or a terminal: one line, printable, without backticks."""
    return clean(str(value), SHOWN).replace("`", "'")


def visible(text: str) -> str:
    """Text whose control characters are written out (``^C``, ``\\u202e``), so that a terminal only shows it."""
    shown = []
    for character in text:
        code = ord(character)
        if character.isprintable():
            shown.append(character)
        elif code < 0x20 or code == 0x7F:
            shown.append("^" + chr(code ^ 0x40))
        else:
            shown.append(f"\\u{code:04x}")
    return "".join(shown)


def has_hidden(text: str) -> bool:
    """Whether a text has characters that are not seen or change what is: controls, direction marks, zero width."""
    return any(not character.isprintable() and character not in "\n\t" for character in text)
