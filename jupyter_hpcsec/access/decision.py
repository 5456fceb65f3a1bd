"""What one subject may do with one path, and which rule says so. Pure.

Deny wins over every allow; then the longest allowed path; of equal paths, writing; what nothing allows is denied.
A path that is not in its one spelling (``..``, ``//``, relative, NUL) is denied, never repaired: whoever repairs it
another way would get another answer. Nothing is decoded, folded or normalised. Symbolic links are the asker's to
resolve first.
"""

from typing import NamedTuple

from jupyter_hpcsec.access.prefixes import Prefixes, is_below, parent
from jupyter_hpcsec.access.values import Entry, Resolved, Right


class Decision(NamedTuple):
    """The right on a path, and the entry that decided; no entry means that nothing speaks of the path."""

    right: Right
    entry: Entry | None

    @property
    def is_denied(self) -> bool:
        """Whether nothing at all may be done."""
        return self.right is Right.NONE


class Piece(NamedTuple):
    """A path at which the right changes; it holds below the path up to the next piece."""

    path: str
    decision: Decision


NOTHING = Decision(Right.NONE, None)

_STRENGTH = {Right.NONE: 2, Right.WRITE: 1, Right.READ: 0}


class Decisions:
    """Answers for one subject. Asking costs a look-up for each component of the path, however many rules there are."""

    def __init__(self, resolved: Resolved) -> None:
        self._entries = resolved.entries
        strongest: dict[str, Entry] = {}
        for entry in resolved.entries:
            known = strongest.get(entry.path)
            if known is None or _STRENGTH[entry.right] > _STRENGTH[known.right]:
                strongest[entry.path] = entry
        denied = Prefixes((path, entry) for path, entry in strongest.items() if entry.right is Right.NONE)
        self._prefixes = Prefixes(
            (path, Decision(entry.right, entry))
            for path, entry in ((path, denied.longest(path) or entry) for path, entry in strongest.items())
        )

    def decide(self, path: str) -> Decision:
        """The decision on an absolute path; one that is not in its one spelling gets ``NOTHING``."""
        return self._prefixes.longest(path) or NOTHING

    def leads_on(self, path: str) -> bool:
        """Whether something below ``path`` is allowed, so that a directory has to be passed to get there."""
        return any(not decision.is_denied for decision in self._prefixes.below(path))

    def pieces(self) -> list[Piece]:
        """The whole answer, in the order of paths: where the right is another one than in the directory above.

        Entries without effect (below a denied path, or repeating what is allowed above) are left out.
        """
        asked = sorted({entry.path for entry in self._entries}, key=components)
        found = [Piece(path, self.decide(path)) for path in asked]
        return [piece for piece in found if piece.decision.right is not self.decide(parent(piece.path) or "").right]

    def speaking_of(self, path: str) -> list[Entry]:
        """All entries on the path or above it, the nearest first."""
        found = [entry for entry in self._entries if is_below(path, entry.path)]
        return sorted(found, key=lambda entry: (-len(entry.path), -_STRENGTH[entry.right], entry.rule))


def components(path: str) -> list[str]:
    """What paths are sorted by, so that all below a directory follow it."""
    return path.split("/")
