"""Tiles and entry bundles (c2sp.org/tlog-tiles): their bytes, reading them, and growing the tree's right edge.

Reading checks form only; whether the hashes are those that were signed is asked by ``verify`` and at every start.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout, tile_path
from jupyter_hpcsec.audit.merkle import HASH_SIZE, Frontier, perfect_root
from jupyter_hpcsec.errors import Malformed

ENTRY_LIMIT = 0xFFFF
"""Bytes of one leaf: its length has 16 bits."""
BUNDLE_LIMIT = TILE_WIDTH * (2 + ENTRY_LIMIT)
TILE_LIMIT = TILE_WIDTH * HASH_SIZE
TILE_HEIGHT = 8
CACHED = 1 << 17
"""Hashes that one reader remembers of each sort."""

_LENGTH = struct.Struct(">H")


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Big-endian 16-bit length and bytes of each entry."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (_LENGTH.pack(len(entry)), entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle; ``Malformed`` where its last one is cut."""
    entries, at, end = [], 0, len(data)
    while at < end:
        if at + 2 > end:
            raise Malformed("an entry bundle ends within a length")
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1])
        if at > end:
            raise Malformed("an entry bundle ends within an entry")
        entries.append(data[start:at])
    return entries


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    if not data or len(data) % HASH_SIZE or len(data) > TILE_LIMIT:
        raise Malformed("a tile holds 1 to 256 hashes of 32 bytes")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def level_size(level: int, size: int) -> int:
    """How many hashes the tiles of a level hold for a tree of ``size`` leaves."""
    return size >> TILE_HEIGHT * level


class Tiles:
    """Reads the tiles of a tree of ``size`` leaves. A partial tile may have been replaced by its full one."""

    def __init__(self, log: "Layout | Load", size: int) -> None:
        self._load = _of_directory(log.log) if isinstance(log, Layout) else log
        self.size = size
        self._cached: dict[tuple[int, int], list[bytes]] = {}
        self._subtrees: dict[tuple[int, int], bytes] = {}

    def hashes(self, level: int, index: int) -> list[bytes]:
        """A tile's hashes, as many as this tree has there. ``Malformed`` where it is too short, ``OSError``."""
        cached = self._cached.get((level, index))
        if cached is not None:
            return cached
        width = min(TILE_WIDTH, level_size(level, self.size) - index * TILE_WIDTH)
        data = self._read(str(level), index, width, TILE_LIMIT)
        found = split_hashes(data)
        if len(found) < width:
            raise Malformed(f"tile {level}/{index} has {len(found)} hashes, not {width}")
        if len(self._cached) >= CACHED // TILE_WIDTH:
            self._cached.clear()
        self._cached[level, index] = found[:width]
        return found[:width]

    def subtree(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree, for ``merkle``'s proofs."""
        known = self._subtrees.get((level, index))
        if known is not None:
            return known
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        row = self.hashes(tile_level, first // TILE_WIDTH)
        start = first % TILE_WIDTH
        found = perfect_root(row[start : start + (1 << height)])
        if len(self._subtrees) < CACHED:
            self._subtrees[level, index] = found
        return found

    def entries(self, bundle: int) -> list[bytes]:
        """The entries of a bundle, as many as this tree has there."""
        width = min(TILE_WIDTH, self.size - bundle * TILE_WIDTH)
        data = self._read("entries", bundle, width, BUNDLE_LIMIT)
        found = decode_bundle(data)
        if len(found) < width:
            raise Malformed(f"entry bundle {bundle} has {len(found)} entries, not {width}")
        return found[:width]

    def frontier(self) -> Frontier:
        """The frontier of the whole tree."""
        return Frontier.of(self.size, self.subtree)

    def _read(self, level: str, index: int, width: int, limit: int) -> bytes:
        try:
            return self._load(tile_path(level, index, width), limit)
        except FileNotFoundError:
            if width == TILE_WIDTH:
                raise
            return self._load(tile_path(level, index), limit)


Load = Callable[[str, int], bytes]
"""``load(path, limit)``: a file of a log by its path below ``log/``; ``FileNotFoundError`` where there is none."""


def _of_directory(log: Path) -> Load:
    return lambda path, limit: files.read(log / path, limit)


class Edge:
    """The tiles at the tree's right edge: what the next leaves go into."""

    def __init__(self, rows: list[list[bytes]], entries: list[bytes], size: int) -> None:
        self._rows, self._entries, self.size = rows, entries, size

    @classmethod
    def of(cls, tiles: Tiles) -> "Edge":
        """The edge of a stored tree."""
        rows: list[list[bytes]] = []
        level = 0
        while (held := level_size(level, tiles.size)) > 0:
            rows.append(tiles.hashes(level, held // TILE_WIDTH) if held % TILE_WIDTH else [])
            level += 1
        entries = tiles.entries(tiles.size // TILE_WIDTH) if tiles.size % TILE_WIDTH else []
        return cls([list(row) for row in rows], list(entries), tiles.size)

    def copy(self) -> "Edge":
        """One that can grow without changing this one."""
        return Edge([list(row) for row in self._rows], list(self._entries), self.size)

    def append(self, entry: bytes, hashed: bytes, layout: Layout, out: dict[Path, bytes]) -> None:
        """Add one leaf; tiles and bundles that become full are put into ``out``."""
        self._entries.append(entry)
        self.size += 1
        if len(self._entries) == TILE_WIDTH:
            out[layout.bundle(self.size // TILE_WIDTH - 1)] = encode_bundle(self._entries)
            self._entries = []
        level = 0
        while True:
            if level == len(self._rows):
                self._rows.append([])
            row = self._rows[level]
            row.append(hashed)
            if len(row) < TILE_WIDTH:
                return
            out[layout.tile(level, level_size(level, self.size) // TILE_WIDTH - 1)] = b"".join(row)
            hashed = perfect_root(row)
            self._rows[level] = []
            level += 1

    def frontier(self) -> Frontier:
        """The frontier of this tree, from the edge alone: each row's perfect subtrees, the highest row first."""
        peaks = []
        for row in reversed(self._rows):
            start = 0
            for height in reversed(range(TILE_HEIGHT)):
                if len(row) >> height & 1:
                    peaks.append(perfect_root(row[start : start + (1 << height)]))
                    start += 1 << height
        return Frontier(self.size, peaks)

    def partials(self, layout: Layout, out: dict[Path, bytes]) -> None:
        """Put the partial tiles and the partial bundle of this size into ``out``."""
        for level, row in enumerate(self._rows):
            if row:
                out[layout.tile(level, level_size(level, self.size) // TILE_WIDTH, len(row))] = b"".join(row)
        if self._entries:
            out[layout.bundle(self.size // TILE_WIDTH, len(self._entries))] = encode_bundle(self._entries)
