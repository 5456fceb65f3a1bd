"""What one subject may do with one path, and which rule says so. Pure.

Deny wins over every allow; then the longest allowed path; of equal paths, writing; what nothing allows is denied.
A path that is not in its one spelling (``..``, ``//``, relative, NUL) is denied, never repaired: whoever repairs it
another way would get another answer. Nothing is decoded, folded or normalised. Symbolic links are the asker's to
resolve first.
"""

from typing import NamedTuple

from jupyter_hpcsec.access.prefixes import Prefixes, is_canonical
from jupyter_hpcsec.access.values import Entry, Resolved, Right


class Decision(NamedTuple):
    """The right on a path, and the entry that decided; no entry means that nothing speaks of the path."""

    right: Right
    entry: Entry | None

    @property
    def is_denied(self) -> bool:
        """Whether nothing at all may be done."""
        return self.right is Right.NONE


NOTHING = Decision(Right.NONE, None)

_STRENGTH = {Right.NONE: 2, Right.WRITE: 1, Right.READ: 0}


class Decisions:
    """Answers for one subject. Asking costs a look-up for each component of the path, however many rules there are."""

    def __init__(self, resolved: Resolved) -> None:
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
        if not is_canonical(path):
            return NOTHING
        return self._prefixes.longest(path) or NOTHING

    def leads_on(self, path: str) -> bool:
        """Whether something below ``path`` is allowed, so that a directory has to be passed to get there."""
        if path != "/" and not is_canonical(path):
            return False
        return any(not decision.is_denied for decision in self._prefixes.below(path))
