"""All attempts, in the order in which they are made."""

from collections.abc import Sequence

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.attack import (
    batch,
    files,
    handlers,
    inherited,
    kernel,
    mounting,
    networking,
    processes,
    readonly,
)
from jupyter_hpcsec.ops.attack.values import Attempt, Group

_MODULES = (files, readonly, mounting, processes, inherited, networking, kernel, handlers, batch)
_ORDER = list(Group)

ATTEMPTS: tuple[Attempt, ...] = tuple(
    sorted((found for module in _MODULES for found in module.ATTEMPTS), key=lambda found: _ORDER.index(found.group))
)


def select(words: Sequence[str]) -> tuple[Attempt, ...]:
    """The attempts of the groups or ids that were named; all when none was. ``Malformed`` for an unknown word."""
    for word in words:
        if not any(word in {found.id, found.group} for found in ATTEMPTS):
            raise Malformed(f"There is no group or attempt {word}; groups are {', '.join(Group)}.")
    return tuple(found for found in ATTEMPTS if not words or found.id in words or found.group in words)
