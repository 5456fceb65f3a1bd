"""Reads all tiles of leaf hashes and all entry bundles of a record, by as many processes as there are cores.

A process takes a stretch of bundles and gives back hashes and facts; it decides nothing. With one process, or a log
that is too short to be worth more, the same function runs here, so that what is found does not depend on it.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.facts import Facts
from jupyter_hpcsec.audit.findings import Finding
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.audit.merkle import HASH_SIZE, leaf_hash, perfect_root
from jupyter_hpcsec.audit.tiles import BUNDLE_LIMIT, TILE_LIMIT, decode_bundle
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable

Progress = Callable[[int, int], None]
"""``progress(done, of)``: events."""

STRETCH = 16
"""Bundles that a process takes at a time: 4,096 events."""
WORTH = 128
"""Bundles from which on more than one process is started: below, starting them takes longer than they save."""


class Tile:
    """The hashes of up to 256 leaves. ``root`` is the hash over a full one."""

    __slots__ = ("_root", "data")

    def __init__(self, data: bytes, root: bytes | None = None) -> None:
        self.data, self._root = data, root

    def __len__(self) -> int:
        return len(self.data) // HASH_SIZE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tile) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]

    @property
    def hashes(self) -> list[bytes]:
        """One by one."""
        return [self.data[at : at + HASH_SIZE] for at in range(0, len(self.data), HASH_SIZE)]

    @property
    def root(self) -> bytes:
        """The root over all of them; a full tile's."""
        if self._root is None:
            self._root = perfect_root(self.hashes)
        return self._root

    def cut(self, width: int) -> "Tile":
        """Its first ``width`` hashes."""
        return self if len(self) <= width else Tile(self.data[: width * HASH_SIZE])


@dataclass
class Read:
    """What was read: per tile the hashes in its file, and those of the events' bytes; bundles that are not there."""

    facts: Facts
    hashed: list[Tile] = field(default_factory=list)
    events: list[Tile] = field(default_factory=list)
    missing: dict[int, Finding] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def join(self, later: "Read") -> None:
        """What was read of the stretch that follows."""
        self.facts.join(later.facts)
        self.hashed += later.hashed
        self.events += later.events
        self.missing |= later.missing
        self.findings += later.findings


def read_all(layout: Layout, size: int, progress: Progress, processes: int = 0) -> Read:
    """Read a log of ``size`` events; ``processes`` 0: as many as there are cores. ``Unavailable``."""
    bundles = -(-size // TILE_WIDTH)
    whole = Read(Facts(boot=0))
    with _mapping(processes or len(os.sched_getaffinity(0)), bundles) as over:
        for each in over(partial(read_stretch, layout, size), range(0, bundles, STRETCH)):
            whole.join(each)
            progress(min(len(whole.hashed) * TILE_WIDTH, size), size)
    return whole


Over = Callable[..., Iterator[Any]]


@contextmanager
def _mapping(processes: int, bundles: int) -> Iterator[Over]:
    """``map``, by processes where that is worth it. They are not forked from here, where threads may hold locks."""
    if processes == 1 or bundles < WORTH:
        yield map
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    with ProcessPoolExecutor(processes, context) as pool:
        try:
            yield pool.map
        except BrokenProcessPool as exc:
            raise Unavailable("A process that was to read the record was killed; try `--processes 1`.") from exc
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def read_stretch(layout: Layout, size: int, start: int) -> Read:
    """The bundles from ``start`` on, ``STRETCH`` of them at most, of a log of ``size`` events."""
    read = Read(Facts(first=start * TILE_WIDTH))
    for number in range(start, min(start + STRETCH, -(-size // TILE_WIDTH))):
        first, width = number * TILE_WIDTH, min(TILE_WIDTH, size - number * TILE_WIDTH)
        full = layout.tile(0, number)
        path = existing(layout.tile(0, number, width), full)
        hashed = Tile(b"".join(read_hashes(path, read.findings)))
        read.hashed.append(hashed.cut(width) if path == full and width < TILE_WIDTH else hashed)
        entries = _read_bundle(layout, number, width, read)
        events = Tile(b"".join(map(leaf_hash, entries)))
        read.facts.take(first, entries)
        if len(entries) != width:
            read.facts.skip(first + width)  # that is told of; what follows it has its own numbers
        read.events.append(read.hashed[-1] if events == read.hashed[-1] else events)
        if len(read.hashed[-1]) == TILE_WIDTH:
            read.hashed[-1].root  # noqa: B018 - here, where it is worked out by many
    return read


def _read_bundle(layout: Layout, number: int, width: int, read: Read) -> list[bytes]:
    path = existing(layout.bundle(number, width), layout.bundle(number))
    where = str(path.relative_to(layout.directory))
    first, last = number * TILE_WIDTH, number * TILE_WIDTH + width - 1
    try:
        data = files.read(path, BUNDLE_LIMIT)
    except (OSError, HpcsecError) as error:
        said = f"its events can't be read ({_said(error)})"
        read.missing[number] = Finding("bundle.missing", where, said, first, last)
        return []
    try:
        return decode_bundle(data)[: None if path == layout.bundle(number, width) else width]
    except Malformed as error:
        entries = decode_what_can_be(data)
        read.findings.append(Finding("bundle.malformed", where, error.reason, first + len(entries), last))
        return entries


def existing(partial: Path, full: Path) -> Path:
    """The partial file; where it is gone because the log has grown meanwhile, the full one (as tlog-tiles has it)."""
    return full if not partial.exists() and full.exists() else partial


def decode_what_can_be(data: bytes) -> list[bytes]:
    """The whole entries of a bundle that may be cut."""
    entries, at = [], 0
    while at + 2 <= len(data):
        end = at + 2 + (data[at] << 8 | data[at + 1])
        if end > len(data):
            break
        entries.append(data[at + 2 : end])
        at = end
    return entries


def read_hashes(path: Path, findings: list[Finding]) -> list[bytes]:
    """The hashes of a tile's file; what is wrong with it goes to ``findings``."""
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
