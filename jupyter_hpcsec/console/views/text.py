"""Text of others as pieces that a page can show: what is not seen, or turns what is, is written out. Pure."""

from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.ops.audit.seen import visible

SHOWN = 20_000
"""Characters of one text on a page; the rest is in the replay and in the raw event."""


@dataclass(frozen=True)
class Piece:
    """A run of characters; ``hidden``: what would not be seen by itself, written out, as ``^[`` or ``\\u202e``."""

    text: str
    hidden: bool = False


@dataclass(frozen=True)
class Inert:
    """A text of others: its pieces, and how many characters more there are."""

    pieces: tuple[Piece, ...]
    more: int = 0

    def __str__(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    def __bool__(self) -> bool:
        return bool(self.pieces)


def inert(value: Any, *, lines: bool = False, limit: int = SHOWN) -> Inert:
    """What can be shown of a value; ``lines``: line ends and tabs are kept, for a block of code."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    kept = "\n\t" if lines else ""
    shown, more = text[:limit], max(0, len(text) - limit)
    if shown.translate(dict.fromkeys(map(ord, kept))).isprintable():
        return Inert((Piece(shown),) if shown else (), more)
    pieces: list[Piece] = []
    run = ""
    for character in shown:
        if character.isprintable() or character in kept:
            run += character
            continue
        if run:
            pieces.append(Piece(run))
            run = ""
        pieces.append(Piece(visible(character), hidden=True))
    if run:
        pieces.append(Piece(run))
    return Inert(tuple(pieces), more)
