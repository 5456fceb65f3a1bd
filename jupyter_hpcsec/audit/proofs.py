"""Single events with their proofs of inclusion, each verified before it is given out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.audit.merkle import inclusion_proof, leaf_hash, verify_inclusion
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Verifier, open_checkpoint
from jupyter_hpcsec.audit.retention import Removed
from jupyter_hpcsec.audit.tiles import Tiles
from jupyter_hpcsec.errors import Malformed, Unavailable


@dataclass(frozen=True)
class Proved:
    """An event: its index, its leaf's bytes, and the proof that leads to the checkpoint's root."""

    index: int
    leaf: bytes
    proof: list[bytes]


class Prover:
    """Proves events under the checkpoint as it is now: ``head``, with the signed note ``note``."""

    def __init__(self, layout: Layout, key: Verifier) -> None:
        with files.translated(layout.checkpoint):
            try:
                self.note = files.read(layout.checkpoint, NOTE_LIMIT)
            except FileNotFoundError as exc:
                raise Unavailable("the record has no checkpoint yet") from exc
        self.head: Checkpoint = open_checkpoint(self.note, key, key.name)
        self._layout, self._tiles = layout, Tiles(layout, self.head.size)

    def prove(self, indices: Iterable[int]) -> Iterator[Proved]:
        """The events in the order given. ``Malformed`` for one that is not what was signed, ``Unavailable``."""
        bundle, entries = -1, list[bytes]()
        with files.translated(self._layout.log):
            removed = Removed.read(self._layout).events
        for index in indices:
            if not 0 <= index < self.head.size:
                raise Unavailable(f"event {index} is not under a checkpoint yet")
            with files.translated(self._layout.log):
                if index < removed:
                    raise Unavailable(f"event {index} was removed by retention; its hash is all that is left of it")
                if index // TILE_WIDTH != bundle:
                    bundle = index // TILE_WIDTH
                    entries = self._tiles.entries(bundle)
                proof = inclusion_proof(index, self.head.size, self._tiles.subtree)
            leaf = entries[index % TILE_WIDTH]
            if not verify_inclusion(leaf_hash(leaf), index, self.head.size, proof, self.head.root):
                raise Malformed(f"event {index} is not the one that was signed; `hpcsec audit verify` says more")
            yield Proved(index, leaf, proof)

    def one(self, index: int) -> Proved:
        """One event."""
        return next(self.prove([index]))
