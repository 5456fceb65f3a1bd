"""Reads a record that may be written to meanwhile: what is under the checkpoint, then what is durable in the journal.

It verifies signatures of heads, not the hash of every leaf: ``verify`` does that.
"""

from collections.abc import Iterator

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.journal import SEGMENT_LIMIT, parse_segment
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.audit.merkle import Frontier
from jupyter_hpcsec.audit.notes import Checkpoint, Verifier
from jupyter_hpcsec.audit.recovery import read_checkpoint
from jupyter_hpcsec.audit.retention import Removed
from jupyter_hpcsec.audit.tiles import Tiles
from jupyter_hpcsec.errors import Refused

ATTEMPTS = 50


class Reader:
    """Reads the record at ``layout`` that ``verifier`` signs."""

    def __init__(self, layout: Layout, verifier: Verifier) -> None:
        self._layout, self._verifier = layout, verifier

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, verified; of size 0 where there is none yet."""
        found = read_checkpoint(self._layout, self._verifier)
        return found or Checkpoint(self._verifier.name, 0, Frontier().root())

    def tiles(self, size: int) -> Tiles:
        """The tree's tiles at a size."""
        return Tiles(self._layout, size)

    def published(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(index, leaf) of leaves under a checkpoint of at least ``end``, but for those that retention removed."""
        tiles = self.tiles(end)
        start = max(start, Removed.read(self._layout).events)
        for bundle in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            for offset, leaf in enumerate(tiles.entries(bundle)):
                if bundle * TILE_WIDTH + offset >= start:
                    yield bundle * TILE_WIDTH + offset, leaf

    def durable(self, start: int) -> Iterator[tuple[int, bytes]]:
        """(index, leaf) from ``start`` on, up to what is durable now."""
        at = start
        with files.translated(self._layout.directory):
            while True:
                end = self.checkpoint().size
                if at < end:
                    for index, leaf in self.published(at, end):
                        at = index + 1
                        yield index, leaf
                found = self._journal(at)
                if found is not None:
                    break
            yield from enumerate(found, at)

    def _journal(self, start: int) -> list[bytes] | None:
        """Leaves from ``start`` on, from the journal; None when it was published meanwhile: look there again."""
        leaves: dict[int, bytes] = {}
        for _ in range(ATTEMPTS):
            try:
                segments = [files.read(path, SEGMENT_LIMIT) for _, path in self._layout.segments()]
                break
            except FileNotFoundError:
                continue
        else:
            raise Refused("audit.moving", "the journal changes faster than it can be read; try again")
        if self.checkpoint().size > start:
            return None
        for data in segments:  # a later segment's frames replace those of an earlier one that were never acknowledged
            for frame in parse_segment(data)[0]:
                frame.head(self._verifier, self._verifier.name)
                leaves |= dict(enumerate(frame.leaves, frame.first))
        found: list[bytes] = []
        while start + len(found) in leaves:
            found.append(leaves[start + len(found)])
        return found
