"""Opening a record: its keys, what is under a checkpoint, what is only in the journal, and whether it was rolled back.

Nothing is mended here. Whatever contradicts a signature is refused: new leaves on top of a changed tree would sign it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.journal import Stretch, read_journal
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.audit.merkle import Frontier, leaf_hash
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Signer, Verifier, open_checkpoint
from jupyter_hpcsec.audit.tiles import Edge, Tiles
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused

KEY_LIMIT = 1024
ADVICE = "keep the directory as it is, run `hpcsec audit verify`, and start a new record in another directory"


@dataclass(frozen=True)
class Found:
    """A record as it was found: the published tree's edge, the durable tree's frontier, and the leaves in between.

    ``seq`` and ``boot`` are the last ones of the producer; 0 where it has recorded nothing yet.
    """

    edge: Edge
    frontier: Frontier
    pending: list[tuple[bytes, bytes]]
    stretches: list[Stretch]
    seq: int
    boot: int


def open_signer(layout: Layout, origin: str) -> Signer:
    """The record's key, made at the first start."""
    for directory in (layout.log, layout.journal, layout.values, layout.aside):
        files.make_directory(directory)
    with files.translated(layout.directory):
        if not layout.signer.exists():
            if layout.checkpoint.exists() or any(layout.journal.iterdir()):
                raise Refused("audit.no-key", f"{layout.signer} is gone, but its record is there; {ADVICE}")
            files.write_new(layout.signer, Signer.make(origin).secret().encode() + b"\n")
    text = files.read_private(layout.signer, KEY_LIMIT).decode("utf-8", errors="replace")
    signer = Signer.parse(text.removesuffix("\n"))
    if signer.verifier.name != origin:
        raise Refused(
            "audit.origin",
            f"the record in {layout.directory} is that of {signer.verifier.name}, not {origin}; a deployment that"
            " changes its trust domain begins a new record: name another audit_directory",
        )
    with files.translated(layout.verifier):
        if not layout.verifier.exists() and not layout.checkpoint.exists():
            files.write_new(layout.verifier, f"{signer.verifier}\n".encode())
    if read_verifier(layout) != signer.verifier:
        raise Refused("audit.key", f"{layout.verifier} is not the public half of {layout.signer}; {ADVICE}")
    return signer


def read_verifier(layout: Layout) -> Verifier:
    """The public key that lies beside the record. Whoever can change the record can change it: compare it."""
    with files.translated(layout.verifier):
        text = files.read(layout.verifier, KEY_LIMIT).decode("utf-8", errors="replace")
    if not text.endswith("\n"):
        raise Malformed(f"{layout.verifier} is damaged")
    return Verifier.parse(text[:-1])


def read_checkpoint(layout: Layout, verifier: Verifier) -> Checkpoint | None:
    """The newest checkpoint, verified; None where there is none yet."""
    with files.translated(layout.checkpoint):
        try:
            note = files.read(layout.checkpoint, NOTE_LIMIT)
        except FileNotFoundError:
            return None
    return open_checkpoint(note, verifier, verifier.name)


def find(layout: Layout, verifier: Verifier, elsewhere: Sequence[Checkpoint]) -> Found:
    """Take up a record. Numbered, since the order is what makes it safe.

    ``Refused("audit.…")`` where something was changed, ``Unavailable`` where it can't be read.
    """
    with files.translated(layout.directory):
        try:
            for left in layout.log.rglob("*.new"):  # what a crash left of a write; nothing reads it
                left.unlink()
            # 1. The checkpoint's signature; the tiles' root is the one that was signed.
            checkpoint = read_checkpoint(layout, verifier) or Checkpoint(verifier.name, 0, Frontier().root())
            tiles = Tiles(layout, checkpoint.size)
            edge = Edge.of(tiles)
            if tiles.frontier().root() != checkpoint.root or edge.frontier().root() != checkpoint.root:
                raise Refused("audit.tiles", f"the record's tiles are not those of its checkpoint; {ADVICE}")
            # 2. The second place and the witness have seen nothing newer, and nothing else.
            for each in elsewhere:
                _check_elsewhere(layout, checkpoint, each)
            # 3. The journal goes on from there, each batch signed.
            stretches = read_journal(layout)
            frontier = edge.frontier()
            pending = _replay(stretches, frontier, verifier)
        except (Malformed, FileNotFoundError) as error:
            reason = error.reason if isinstance(error, HpcsecError) else f"{error.filename} is gone"
            raise Refused("audit.damaged", f"{reason}; {ADVICE}") from error
        # 4. The producer's last numbers.
        seq, boot = _last_numbers(tiles, [leaf for leaf, _ in pending])
    return Found(edge, frontier, pending, stretches, seq, boot)


def _check_elsewhere(layout: Layout, checkpoint: Checkpoint, elsewhere: Checkpoint) -> None:
    if elsewhere.size > checkpoint.size:
        raise Refused(
            "audit.rolled-back",
            f"the record has {checkpoint.size} events under its checkpoint, the second place or the witness has seen"
            f" {elsewhere.size}: it was rolled back; {ADVICE}",
        )
    if Tiles(layout, elsewhere.size).frontier().root() != elsewhere.root:
        raise Refused(
            "audit.forked", f"the record is not the one that the second place or the witness has seen; {ADVICE}"
        )


def _replay(stretches: list[Stretch], frontier: Frontier, verifier: Verifier) -> list[tuple[bytes, bytes]]:
    """Add the journal's leaves that are not published yet; returns them with their hashes."""
    pending = []
    for frame in (frame for stretch in stretches for frame in stretch.frames):
        if frame.end <= frontier.size:
            continue
        if frame.first > frontier.size:
            raise Refused("audit.journal", f"events {frontier.size} to {frame.first - 1} are missing; {ADVICE}")
        for leaf in frame.leaves[frontier.size - frame.first :]:
            hashed = leaf_hash(leaf)
            frontier.append(hashed)
            pending.append((leaf, hashed))
        head = frame.head(verifier, verifier.name)
        if (head.size, head.root) != (frontier.size, frontier.root()):
            raise Refused("audit.journal", f"the batch that begins with event {frame.first} was changed; {ADVICE}")
    return pending


def _last_numbers(tiles: Tiles, pending: list[bytes]) -> tuple[int, int]:
    """(seq, boot) of the newest leaf; every leaf of this record is its one producer's."""
    newest = pending[-1] if pending else b""
    if not newest and tiles.size:
        newest = tiles.entries((tiles.size - 1) // TILE_WIDTH)[-1]
    if not newest:
        return 0, 0
    value = json.loads(newest)
    return int(value["seq"]), int(value["boot"])
