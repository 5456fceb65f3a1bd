"""Puts what is durable in the journal into tiles, under a signed checkpoint, and lets the journal go.

The order is what makes a crash harmless at every point: tiles, then the checkpoint, then the second place, then what is
not needed any more is removed. It runs in the record's publishing thread and nowhere else.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.journal import SEGMENT_LIMIT, rest_of
from jupyter_hpcsec.audit.kinds.record import AuditSetAside
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.audit.notes import Checkpoint, Signer, sign_checkpoint
from jupyter_hpcsec.audit.secondplace import SecondPlace
from jupyter_hpcsec.audit.tiles import Edge

AT_ONCE = 64 * TILE_WIDTH
"""Leaves that one checkpoint adds at most: the tiles of more would need too many descriptors."""


class Publisher:
    """``note(event)`` records what it has to say of itself."""

    def __init__(
        self, layout: Layout, signer: Signer, second: SecondPlace | None, edge: Edge, note: Callable[[Event], None]
    ) -> None:
        self._layout, self._signer, self._second, self._edge, self._note = layout, signer, second, edge, note
        self._closed: list[tuple[Path, int, int]] = []

    @property
    def size(self) -> int:
        """Leaves under the newest checkpoint."""
        return self._edge.size

    def retire(self, path: Path, end: int, good: int) -> None:
        """A journal segment is written to no more: its leaves end before ``end``, its frames are ``good`` bytes."""
        self._closed.append((path, end, good))

    def publish(self, batch: Sequence[tuple[bytes, bytes]]) -> None:
        """Publish (leaf, hash) pairs that follow on what is published. ``OSError``: nothing has changed, try again."""
        if batch:
            self._add(batch)
        self._drop_segments()

    def _add(self, batch: Sequence[tuple[bytes, bytes]]) -> None:
        # 1. All tiles and bundles, full ones and those at the edge.
        edge, made = self._edge.copy(), dict[Path, bytes]()
        for leaf, hashed in batch:
            edge.append(leaf, hashed, self._layout, made)
        full = list(made)
        edge.partials(self._layout, made)
        for directory in {path.parent for path in made}:
            files.make_parents(self._layout.log, directory)
        files.replace_all(made)
        # 2. The checkpoint; 3. the second place.
        checkpoint = Checkpoint(self._signer.verifier.name, edge.size, edge.frontier().root())
        note = sign_checkpoint(self._signer, checkpoint)
        files.replace(self._layout.checkpoint, note)
        if self._second:
            self._second.append(note)
        self._edge = edge
        # 4. What is not needed any more.
        for path in full:
            self._drop_partials(path)

    def _drop_partials(self, full: Path) -> None:
        """tlog-tiles: a partial tile may go once its full tile is there."""
        directory = full.with_name(f"{full.name}.p")
        if directory.is_dir():
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()

    def _drop_segments(self) -> None:
        for closed in list(self._closed):
            path, end, good = closed
            if end > self.size:
                continue
            data = files.read(path, SEGMENT_LIMIT)
            rest = rest_of(data, good)
            if rest:
                path.rename(self._layout.aside / path.name)
                files.sync_directory(self._layout.aside)
                digest = hashlib.sha256(rest).hexdigest()
                self._note(AuditSetAside(file=path.name, bytes=len(rest), sha256=digest))
            else:
                path.unlink()
            files.sync_directory(self._layout.journal)
            self._closed.remove(closed)
