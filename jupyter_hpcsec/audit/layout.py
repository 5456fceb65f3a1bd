"""Where what stands in a record's directory. Pure.

``log/`` is a transparency log as c2sp.org/tlog-tiles lays it out: it may be served as it is. What is beside it is ours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

TILE_WIDTH = 256

_JOURNAL = re.compile(r"([0-9]{16})-([0-9]{4})\.journal")
_INDEX = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}")


@dataclass(frozen=True)
class Layout:
    """A record's paths."""

    directory: Path

    @property
    def signer(self) -> Path:
        """The private key, as note signers are written."""
        return self.directory / "signer.key"

    @property
    def verifier(self) -> Path:
        """The public key, as note verifiers are written."""
        return self.directory / "verifier.key"

    @property
    def lock(self) -> Path:
        """Held by the writer."""
        return self.directory / "lock"

    @property
    def log(self) -> Path:
        """The transparency log."""
        return self.directory / "log"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.log / "checkpoint"

    @property
    def journal(self) -> Path:
        """Segments with what is durable and not yet under a checkpoint."""
        return self.directory / "journal"

    @property
    def values(self) -> Path:
        """Sealed values, one file for 256 leaves."""
        return self.directory / "values"

    @property
    def aside(self) -> Path:
        """Unfinished writes that a start has set aside."""
        return self.directory / "set-aside"

    @property
    def index(self) -> Path:
        """The SQLite index: no part of the record, made from it."""
        return self.directory / "index.sqlite"

    @property
    def removed(self) -> Path:
        """How far retention has removed events and values; no file: nothing was."""
        return self.directory / "removed"

    def next_segment(self, first: int) -> Path:
        """The path of a new journal segment that begins with this leaf: after all others that do."""
        found = (_JOURNAL.fullmatch(path.name) for path in self.journal.iterdir())
        number = max((int(match[2]) + 1 for match in found if match and int(match[1]) == first), default=0)
        return self.journal / f"{first:016d}-{number:04d}.journal"

    def segments(self) -> list[tuple[int, Path]]:
        """(first leaf, path) of all segments, in order."""
        found = ((_JOURNAL.fullmatch(path.name), path) for path in self.journal.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> Path:
        """A hash tile; narrower than 256 it is a partial one."""
        return self.log / tile_path(str(level), index, width)

    def bundle(self, index: int, width: int = TILE_WIDTH) -> Path:
        """An entry bundle likewise."""
        return self.log / tile_path("entries", index, width)

    def value_file(self, leaf: int) -> Path:
        """The file with the sealed values of a leaf."""
        return self.values / f"{leaf // TILE_WIDTH:016d}.jsonl"


def tile_path(level: str, index: int, width: int = TILE_WIDTH) -> str:
    """``tile/<L>/<N>[.p/<W>]``; N in groups of three digits, all but the last with an ``x`` before them."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < TILE_WIDTH else "")


def parse_tile_path(path: str) -> tuple[str, int, int] | None:
    """(level, index, width) of a path below the log's directory; None for one that ``tile_path`` does not write."""
    parts = path.split("/", 2)
    if len(parts) != 3 or parts[0] != "tile":
        return None
    name, partial, width = parts[2].partition(".p/")
    if not _INDEX.fullmatch(name) or (partial and not width.isdecimal()):
        return None
    index = int(name.replace("x", "").replace("/", ""))
    found = (parts[1], index, int(width) if partial else TILE_WIDTH)
    return found if tile_path(*found) == path and 0 < found[2] <= TILE_WIDTH else None
