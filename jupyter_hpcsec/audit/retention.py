"""Removing what is older than a site keeps: entry bundles and sealed values, never a hash.

All hash tiles stay (tlog-tiles lets a log prune its entries), so every checkpoint that was ever signed and every proof
of what remains still holds. What is removed is the beginning of the log, in whole bundles of 256 events, and an event
says so before: ``verify`` takes no other reason for a bundle that is missing.

The file ``removed`` says how far that is. It is written first, so that a removal that was cut short is seen and ended.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout, parse_tile_path
from jupyter_hpcsec.audit.merkle import Frontier
from jupyter_hpcsec.audit.tiles import Tiles
from jupyter_hpcsec.errors import Malformed

FILE_LIMIT = 256


class _Dated(msgspec.Struct):
    time: str
    kind: str
    file: str = ""


@dataclass(frozen=True)
class Removed:
    """The leaves from which on there are events, and those from which on there are sealed values."""

    events: int = 0
    values: int = 0
    done: bool = True
    """False from the moment at which a removal begins until all of it is done."""

    def line(self) -> bytes:
        """The file's one line."""
        return b'{"done":%s,"events":%d,"values":%d}\n' % (b"true" if self.done else b"false", self.events, self.values)

    @classmethod
    def read(cls, layout: Layout) -> "Removed":
        """What the record's file says; nothing was removed where there is none. ``Malformed``, ``OSError``."""
        try:
            data = files.read(layout.removed, FILE_LIMIT)
        except FileNotFoundError:
            return cls()
        try:
            found = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as exc:
            raise Malformed(f"{layout.removed.name} can't be read") from exc
        if found.line() != data or found.events % TILE_WIDTH or found.values % TILE_WIDTH or found.events < 0:
            raise Malformed(f"{layout.removed.name} is not in its one form")
        return found


def due(layout: Layout, size: int, events_before: str, values_before: str) -> Removed:
    """How far it may go in a log of ``size`` published events; times are as in events, empty ones remove nothing more.

    The last bundle stays: the producer's numbers go on from it.
    """
    now = Removed.read(layout)
    tiles = Tiles(layout, size)
    end = max(0, size - 1) // TILE_WIDTH * TILE_WIDTH
    events = _older(tiles, now.events, end, events_before)
    values = _older(tiles, max(now.values, events), end, values_before)
    return Removed(events, max(values, events), now.done)


def _older(tiles: Tiles, start: int, end: int, before: str) -> int:
    """The first leaf at or after ``start`` whose bundle has an event that is not older than ``before``."""
    while before and start < end:
        if max(msgspec.json.decode(leaf, type=_Dated).time for leaf in tiles.entries(start // TILE_WIDTH)) >= before:
            break
        start += TILE_WIDTH
    return start


def root_at(layout: Layout, size: int, end: int) -> bytes:
    """The root of the first ``end`` leaves, from the hash tiles of a log of ``size``."""
    return Frontier.of(end, Tiles(layout, size).subtree).root()


def remove(layout: Layout, removed: Removed) -> None:
    """Remove it. The caller has recorded that, holds the lock of the values, and calls again after an ``OSError``."""
    # 1. The index, which has the words of what goes; it is made anew from what remains.
    for path in (layout.index, *(layout.index.with_name(layout.index.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    # 2. Sealed values.
    for path in _values(layout, removed):
        _overwrite(path)
        path.unlink()
    # 3. Bundle by bundle, oldest first, with what was set aside by their word.
    for number, path in sorted(_bundles(layout, removed)):
        for leaf in Tiles(layout, (number + 1) * TILE_WIDTH).entries(number):
            event = msgspec.json.decode(leaf, type=_Dated)
            if event.kind == "audit.set-aside" and "/" not in event.file:
                (layout.aside / event.file).unlink(missing_ok=True)
        path.unlink()
    for directory in (layout.values, layout.aside, layout.log / "tile" / "entries", layout.directory):
        with contextlib.suppress(FileNotFoundError):
            files.sync_directory(directory)


def _values(layout: Layout, removed: Removed) -> list[Path]:
    end = layout.value_file(removed.values).name
    return sorted(path for path in layout.values.glob("*.jsonl") if path.name < end)


def _bundles(layout: Layout, removed: Removed) -> list[tuple[int, Path]]:
    found = []
    for above, _, names in os.walk(layout.log / "tile" / "entries"):
        for path in (Path(above, name) for name in names):
            parsed = parse_tile_path(str(path.relative_to(layout.log)))
            if parsed is not None and (parsed[1] + 1) * TILE_WIDTH <= removed.events:
                found.append((parsed[1], path))
    return found


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        files.write_all(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
