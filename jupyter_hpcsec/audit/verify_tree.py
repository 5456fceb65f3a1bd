"""Verifies tiles and entry bundles against a signed root, and says which event or which file is wrong.

Two witnesses stand for every event: its bytes in an entry bundle and its hash in a tile. Whichever leads to the signed
root is right, the other one is named. Where neither does alone, the tiles above decide tile by tile.
"""

import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.findings import Finding, compare
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout, parse_tile_path
from jupyter_hpcsec.audit.merkle import HASH_SIZE, Frontier, leaf_hash
from jupyter_hpcsec.audit.tiles import BUNDLE_LIMIT, encode_bundle, level_size
from jupyter_hpcsec.audit.verify_read import Tile, decode_what_can_be, read_hashes
from jupyter_hpcsec.errors import HpcsecError


@dataclass
class Tree:
    """What was read of a tree of ``size`` leaves: per tile the hashes in its file, and those of the events' bytes."""

    size: int
    hashed: list[Tile]
    events: list[Tile]
    signed: list[Tile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def frontier(self) -> Frontier:
        """The frontier of the whole tree, by what was found to be signed."""
        rows = Frontier()
        for tile in self.signed[: self.size // TILE_WIDTH]:
            rows.append(tile.root)
        return _join(rows, self.signed[-1].hashes if self.size % TILE_WIDTH else [])

    def has(self, index: int, hashed: bytes) -> bool:
        """Whether the leaf of this index has this hash."""
        tile = self.signed[index // TILE_WIDTH].data
        at = index % TILE_WIDTH * HASH_SIZE
        return tile[at : at + HASH_SIZE] == hashed

    def roots_at(self, sizes: set[int]) -> dict[int, bytes]:
        """The roots of many sizes, in one pass."""
        found: dict[int, bytes] = {}
        rows = Frontier()
        by_tile: dict[int, list[int]] = {}
        for size in sorted(size for size in sizes if 0 <= size <= self.size):
            by_tile.setdefault(size // TILE_WIDTH, []).append(size)
        for number in range(self.size // TILE_WIDTH + 1):
            tail = Frontier()
            hashes = self.signed[number].hashes if any(size % TILE_WIDTH for size in by_tile.get(number, ())) else []
            for size in by_tile.get(number, ()):
                for hashed in hashes[tail.size : size % TILE_WIDTH]:
                    tail.append(hashed)
                found[size] = rows.joined(tail, TILE_WIDTH).root()
            if number < self.size // TILE_WIDTH:
                rows.append(self.signed[number].root)
        return found


def _join(rows: Frontier, tail: list[bytes]) -> Frontier:
    rest = Frontier()
    for each in tail:
        rest.append(each)
    return rows.joined(rest, TILE_WIDTH)


def _root(tiles: list[Tile], size: int) -> bytes | None:
    """The root over tiles of leaf hashes; None where they have not the widths of a tree of this size."""
    rows = Frontier()
    for number, tile in enumerate(tiles):
        if len(tile) != min(TILE_WIDTH, size - number * TILE_WIDTH):
            return None
        if len(tile) == TILE_WIDTH:
            rows.append(tile.root)
    return _join(rows, tiles[-1].hashes if size % TILE_WIDTH else []).root()


def judge(tree: Tree, layout: Layout, root: bytes) -> None:
    """Find out what was signed."""
    # 1. One of the two witnesses leads to the signed root by itself.
    for candidate in (tree.hashed, tree.events):
        if _root(candidate, tree.size) == root:
            tree.signed = candidate
            break
    else:
        # 2. Neither does: the tiles one level up say tile by tile which one is right.
        tree.signed = _choose(tree, layout)
        if _root(tree.signed, tree.size) != root:
            tree.findings.append(
                Finding("tree.root", "log", "events and tiles do not lead to the signed root", 0, tree.size - 1)
            )


def tell(tree: Tree, layout: Layout, gone: Container[int]) -> None:
    """Tell how events and tiles differ from what was signed; bundles ``gone`` were told of, or were to be removed."""
    known: Mapping[bytes, int] = {}
    for number, signed in enumerate(tree.signed):
        width = min(TILE_WIDTH, tree.size - number * TILE_WIDTH)
        if tree.events[number] != signed and number not in gone:
            known = known or _all_known(tree)
            where = str(layout.bundle(number, width).relative_to(layout.directory))
            found = tree.events[number].hashes
            tree.findings += compare(signed.hashes, found, number * TILE_WIDTH, where, known)
        if tree.hashed[number] != signed:
            where = str(layout.tile(0, number, width).relative_to(layout.directory))
            first = number * TILE_WIDTH
            tree.findings.append(Finding("tile.altered", where, "hashes of events differ", first, first + width - 1))


def _all_known(tree: Tree) -> dict[bytes, int]:
    return {
        hashed: number * TILE_WIDTH + offset
        for number, tile in enumerate(tree.signed)
        for offset, hashed in enumerate(tile.hashes)
    }


def _choose(tree: Tree, layout: Layout) -> list[Tile]:
    above: list[bytes] = []
    for number in range(-(-level_size(1, tree.size) // TILE_WIDTH)):
        width = min(TILE_WIDTH, level_size(1, tree.size) - number * TILE_WIDTH)
        above += read_hashes(layout.tile(1, number, width), [])
    chosen = []
    for number, hashed in enumerate(tree.hashed):
        events = tree.events[number]
        parent = above[number] if number < len(above) else None
        fits = len(events) == TILE_WIDTH and events.root == parent
        chosen.append(events if fits or not len(hashed) else hashed)
    return chosen


def check_files(tree: Tree, layout: Layout, *, live: bool) -> None:
    """Compare every other file below ``log/`` with what was signed: tiles above, partial tiles of earlier sizes.

    ``live``: a writer is at work, so that there may be tiles of later sizes and files that are being written.
    """
    levels = [tree.signed]
    while level_size(len(levels), tree.size):
        row = [tile.root for tile in levels[-1] if len(tile) == TILE_WIDTH]
        levels.append([Tile(b"".join(row[at : at + TILE_WIDTH])) for at in range(0, len(row), TILE_WIDTH)])
    seen = set()
    for path in _below(layout.log):
        name = str(path.relative_to(layout.log))
        parsed = parse_tile_path(name)
        if name == "checkpoint":
            continue
        seen.add(name)
        if live and (name.endswith(".new") or (parsed and _is_later(parsed, tree.size))):
            continue
        if parsed is None or not (_is_expected(path, parsed, levels, tree) or (live and not path.exists())):
            tree.findings.append(Finding("file.stray", f"log/{name}", "this file is not what the log has there"))
    for level, tiles in enumerate(levels[1:], 1):
        for number, tile in enumerate(tiles):
            name = str(layout.tile(level, number, len(tile)).relative_to(layout.log))
            if name not in seen and not (live and layout.tile(level, number).exists()):
                tree.findings.append(Finding("tile.missing", f"log/{name}", "it is gone"))


def _below(directory: Path) -> Iterator[Path]:
    """Everything but directories. One that a writer removes while it is walked is passed over, no other error is."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for above, inner, names in os.walk(directory, onerror=fail):
        inner.sort()
        places = [Path(above, name) for name in sorted([*inner, *names])]
        yield from (place for place in places if place.name in names or place.is_symlink())


def _is_later(parsed: tuple[str, int, int], size: int) -> bool:
    level, number, width = parsed
    depth = 0 if level == "entries" else int(level) if level.isdecimal() else 0
    return number * TILE_WIDTH + width > level_size(depth, size)


def _is_expected(path: Path, parsed: tuple[str, int, int], levels: list[list[Tile]], tree: Tree) -> bool:
    level, number, width = parsed
    depth = 0 if level == "entries" else int(level) if level.isdecimal() else -1
    if not 0 <= depth < len(levels) or number >= len(levels[depth]) or width > len(levels[depth][number]):
        return False
    signed = levels[depth][number].cut(width)
    if width == len(levels[depth][number]) and depth == 0:
        return True  # ``judge`` has compared it and told of it by event
    try:
        data = files.read(path, BUNDLE_LIMIT)
    except (OSError, HpcsecError):
        return False
    if level != "entries":
        return data == signed.data
    entries = decode_what_can_be(data)
    return encode_bundle(entries) == data and b"".join(map(leaf_hash, entries)) == signed.data
