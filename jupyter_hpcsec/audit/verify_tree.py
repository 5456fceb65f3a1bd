"""Verifies tiles and entry bundles against a signed root, and says which event or which file is wrong.

Two witnesses stand for every event: its bytes in an entry bundle and its hash in a tile. Whichever leads to the signed
root is right, the other one is named. Where neither does alone, the tiles above decide tile by tile.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.findings import Finding, compare
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout, parse_tile_path
from jupyter_hpcsec.audit.merkle import HASH_SIZE, Frontier, leaf_hash, perfect_root
from jupyter_hpcsec.audit.tiles import BUNDLE_LIMIT, TILE_LIMIT, decode_bundle, encode_bundle, level_size
from jupyter_hpcsec.errors import HpcsecError, Malformed

Progress = Callable[[int, int], None]
"""``progress(done, of)``: events."""


@dataclass
class Tree:
    """What was read of a tree of ``size`` leaves: per tile the hashes in its file, and those of the events' bytes."""

    size: int
    hashed: list[list[bytes]] = field(default_factory=list)
    events: list[list[bytes]] = field(default_factory=list)
    signed: list[list[bytes]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def root_at(self, size: int) -> bytes:
        """The root of the first ``size`` leaves, by what was found to be signed."""
        rows = Frontier()
        for tile in self.signed[: size // TILE_WIDTH]:
            rows.append(perfect_root(tile))
        return _join(rows, self.signed[size // TILE_WIDTH][: size % TILE_WIDTH] if size % TILE_WIDTH else [])

    def roots_at(self, sizes: set[int]) -> dict[int, bytes]:
        """The roots of many sizes, in one pass."""
        found: dict[int, bytes] = {}
        rows = Frontier()
        by_tile: dict[int, list[int]] = {}
        for size in sorted(size for size in sizes if 0 <= size <= self.size):
            by_tile.setdefault(size // TILE_WIDTH, []).append(size)
        for number in range(self.size // TILE_WIDTH + 1):
            tail = Frontier()
            for size in by_tile.get(number, ()):
                for hashed in self.signed[number][tail.size : size % TILE_WIDTH] if size % TILE_WIDTH else ():
                    tail.append(hashed)
                found[size] = rows.joined(tail, TILE_WIDTH).root()
            if number < self.size // TILE_WIDTH:
                rows.append(perfect_root(self.signed[number]))
        return found


def _join(rows: Frontier, tail: list[bytes]) -> bytes:
    rest = Frontier()
    for each in tail:
        rest.append(each)
    return rows.joined(rest, TILE_WIDTH).root()


def _root(tiles: list[list[bytes]], size: int) -> bytes | None:
    """The root over tiles of leaf hashes; None where they have not the widths of a tree of this size."""
    rows = Frontier()
    for number, tile in enumerate(tiles):
        if len(tile) != min(TILE_WIDTH, size - number * TILE_WIDTH):
            return None
        if len(tile) == TILE_WIDTH:
            rows.append(perfect_root(tile))
    return _join(rows, tiles[-1] if size % TILE_WIDTH else [])


def read_tree(layout: Layout, size: int, each: Callable[[int, list[bytes]], None], progress: Progress) -> Tree:
    """Read all tiles of leaf hashes and all bundles; ``each(first, leaves)`` gets the events as they are found."""
    tree = Tree(size)
    for number in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        entries = _read_bundle(layout, number, width, tree.findings)
        each(number * TILE_WIDTH, entries)
        tree.events.append([leaf_hash(entry) for entry in entries])
        full = layout.tile(0, number)
        path = _existing(layout.tile(0, number, width), full)
        hashes = _read_hashes(path, tree.findings)
        tree.hashed.append(hashes[:width] if path == full and width < TILE_WIDTH else hashes)
        progress(number * TILE_WIDTH + width, size)
    return tree


def _read_bundle(layout: Layout, number: int, width: int, findings: list[Finding]) -> list[bytes]:
    path = _existing(layout.bundle(number, width), layout.bundle(number))
    where = str(path.relative_to(layout.directory))
    first, last = number * TILE_WIDTH, number * TILE_WIDTH + width - 1
    try:
        data = files.read(path, BUNDLE_LIMIT)
    except (OSError, HpcsecError) as error:
        findings.append(Finding("bundle.missing", where, f"its events can't be read ({_said(error)})", first, last))
        return []
    try:
        return decode_bundle(data)[: None if path == layout.bundle(number, width) else width]
    except Malformed as error:
        entries = _decode_what_can_be(data)
        findings.append(Finding("bundle.malformed", where, error.reason, first + len(entries), last))
        return entries


def _existing(partial: Path, full: Path) -> Path:
    """The partial file; where it is gone because the log has grown meanwhile, the full one (as tlog-tiles has it)."""
    return full if not partial.exists() and full.exists() else partial


def _decode_what_can_be(data: bytes) -> list[bytes]:
    entries, at = [], 0
    while at + 2 <= len(data):
        end = at + 2 + (data[at] << 8 | data[at + 1])
        if end > len(data):
            break
        entries.append(data[at + 2 : end])
        at = end
    return entries


def _read_hashes(path: Path, findings: list[Finding]) -> list[bytes]:
    where = f"log/{_below_log(path)}"
    try:
        data = files.read(path, TILE_LIMIT)
    except (OSError, HpcsecError) as error:
        findings.append(Finding("tile.missing", where, f"it can't be read ({_said(error)})"))
        return []
    if len(data) % HASH_SIZE:
        findings.append(Finding("tile.malformed", where, "its length is no multiple of 32 bytes"))
    return [data[at : at + HASH_SIZE] for at in range(0, len(data) - len(data) % HASH_SIZE, HASH_SIZE)]


def _below_log(path: Path) -> str:
    return str(path)[str(path).rindex("/log/tile/") + 5 :]


def _said(error: OSError | HpcsecError) -> str:
    return error.reason if isinstance(error, HpcsecError) else error.strerror or str(error)


def judge(tree: Tree, layout: Layout, root: bytes) -> None:
    """Find out what was signed, and what differs from it."""
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
    known: Mapping[bytes, int] = {}
    for number, signed in enumerate(tree.signed):
        width = min(TILE_WIDTH, tree.size - number * TILE_WIDTH)
        if tree.events[number] != signed:
            known = known or _all_known(tree)
            where = str(layout.bundle(number, width).relative_to(layout.directory))
            tree.findings += compare(signed, tree.events[number], number * TILE_WIDTH, where, known)
        if tree.hashed[number] != signed:
            where = str(layout.tile(0, number, width).relative_to(layout.directory))
            first = number * TILE_WIDTH
            tree.findings.append(Finding("tile.altered", where, "hashes of events differ", first, first + width - 1))


def _all_known(tree: Tree) -> dict[bytes, int]:
    return {
        hashed: number * TILE_WIDTH + offset
        for number, tile in enumerate(tree.signed)
        for offset, hashed in enumerate(tile)
    }


def _choose(tree: Tree, layout: Layout) -> list[list[bytes]]:
    above: list[bytes] = []
    for number in range(-(-level_size(1, tree.size) // TILE_WIDTH)):
        width = min(TILE_WIDTH, level_size(1, tree.size) - number * TILE_WIDTH)
        above += _read_hashes(layout.tile(1, number, width), [])
    chosen = []
    for number, hashed in enumerate(tree.hashed):
        events = tree.events[number]
        parent = above[number] if number < len(above) else None
        fits = len(events) == TILE_WIDTH and perfect_root(events) == parent
        chosen.append(events if fits or not hashed else hashed)
    return chosen


def check_files(tree: Tree, layout: Layout, *, live: bool) -> None:
    """Compare every other file below ``log/`` with what was signed: tiles above, partial tiles of earlier sizes.

    ``live``: a writer is at work, so that there may be tiles of later sizes and files that are being written.
    """
    levels = [tree.signed]
    while level_size(len(levels), tree.size):
        row = [perfect_root(tile) for tile in levels[-1] if len(tile) == TILE_WIDTH]
        levels.append([row[at : at + TILE_WIDTH] for at in range(0, len(row), TILE_WIDTH)])
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


def _is_expected(path: Path, parsed: tuple[str, int, int], levels: list[list[list[bytes]]], tree: Tree) -> bool:
    level, number, width = parsed
    depth = 0 if level == "entries" else int(level) if level.isdecimal() else -1
    if not 0 <= depth < len(levels) or number >= len(levels[depth]) or width > len(levels[depth][number]):
        return False
    signed = levels[depth][number][:width]
    if width == len(levels[depth][number]) and depth == 0:
        return True  # ``judge`` has compared it and told of it by event
    try:
        data = files.read(path, BUNDLE_LIMIT)
    except (OSError, HpcsecError):
        return False
    if level != "entries":
        return data == b"".join(signed)
    entries = _decode_what_can_be(data)
    return encode_bundle(entries) == data and [leaf_hash(entry) for entry in entries] == signed
