"""Sealed values: what is too sensitive for a leaf stands beside it, under a salted commitment that the leaf holds.

Without salt and value the commitment says nothing of the value; with them it proves it. Shredding destroys both, and
the leaf and all proofs still hold. One file for 256 leaves, one canonical JSON object a line.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.layout import TILE_WIDTH, Layout
from jupyter_hpcsec.errors import Malformed

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
VALUE_LIMIT = 1 << 20
VALUES_LIMIT = 16
FILE_LIMIT = 2 * TILE_WIDTH * VALUES_LIMIT * VALUE_LIMIT
SALT_SIZE = 32

_DOMAIN = b"hpcsec-audit-value-v1\x00"


def commitment(salt: bytes, name: str, value: bytes) -> str:
    """SHA-256(domain || salt (32) || name || 0x00 || value), in hexadecimal."""
    return hashlib.sha256(_DOMAIN + salt + name.encode() + b"\x00" + value).hexdigest()


@dataclass(frozen=True)
class Kept:
    """A sealed value as it is kept; ``value`` is None for one that was shredded."""

    leaf: int
    name: str
    salt: bytes
    value: bytes | None

    def line(self) -> bytes:
        """Its line."""
        shown: dict[str, Any] = {"leaf": self.leaf, "name": self.name}
        if self.value is None:
            shown["shredded"] = True
        else:
            shown |= {"salt": self.salt.hex(), "value": base64.b64encode(self.value).decode()}
        return rfc8785.dumps(shown) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Kept":
        """Read a line; ``Malformed`` for any but the one form that ``line`` writes."""
        try:
            shown = json.loads(line)
            gone = "shredded" in shown
            salt = b"" if gone else bytes.fromhex(shown["salt"])
            value = None if gone else base64.b64decode(shown["value"], validate=True)
            kept = cls(shown["leaf"], shown["name"], salt, value)
            is_canonical = type(kept.leaf) is int and bool(NAME.fullmatch(kept.name)) and kept.line() == line
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise Malformed("a line of sealed values can't be read") from exc
        if not is_canonical:
            raise Malformed("a line of sealed values is not in its one form")
        return kept


def check(values: Mapping[str, bytes]) -> None:
    """What a caller may seal: a few values with short plain names, none larger than ``VALUE_LIMIT``."""
    if len(values) > VALUES_LIMIT or not all(map(NAME.fullmatch, values)):
        raise ValueError(f"BUG: at most {VALUES_LIMIT} values with short plain names are sealed with one event")
    if any(len(value) > VALUE_LIMIT for value in values.values()):
        raise ValueError(f"BUG: a sealed value has at most {VALUE_LIMIT} bytes; the caller cuts it")


def seal(leaf: int, values: Mapping[str, bytes], random: Callable[[int], bytes]) -> tuple[dict[str, str], list[Kept]]:
    """Commitments for the leaf, and what is to be kept beside it; ``random(n)`` gives n unpredictable bytes."""
    kept = [Kept(leaf, name, random(SALT_SIZE), value) for name, value in values.items()]
    return {each.name: commitment(each.salt, each.name, values[each.name]) for each in kept}, kept


def read_file(path: Path) -> list[Kept]:
    """All lines of a file; ``Malformed``, ``OSError``."""
    data = files.read(path, FILE_LIMIT)
    if data and not data.endswith(b"\n"):
        raise Malformed(f"{path.name} ends within a line")
    return [Kept.parse(line) for line in data.splitlines(keepends=True)]


def append(layout: Layout, kept: list[Kept]) -> None:
    """Append values to their files; durable when this returns. ``OSError``: call ``drop_from`` before the next."""
    by_file: dict[Path, list[bytes]] = {}
    for each in kept:
        by_file.setdefault(layout.value_file(each.leaf), []).append(each.line())
    for path, lines in by_file.items():
        files.append(path, b"".join(lines))


def drop_from(layout: Layout, size: int) -> int:
    """Remove values of leaves that do not exist (from ``size`` on), and lines that were cut; how many lines went."""
    dropped = 0
    for path in sorted(layout.values.glob("*.jsonl")):
        if path.name < layout.value_file(size).name:
            continue
        lines = files.read(path, FILE_LIMIT).splitlines(keepends=True)
        kept = []
        for line in lines:
            try:
                if Kept.parse(line).leaf < size:
                    kept.append(line)
            except Malformed:
                if line.endswith(b"\n"):
                    kept.append(line)  # damage is for ``verify`` to tell of, not to be tidied away
        dropped += len(lines) - len(kept)
        if len(kept) < len(lines):
            files.replace(path, b"".join(kept))
    return dropped


def find(layout: Layout, leaf: int) -> list[Kept]:
    """The values that are kept beside a leaf. ``OSError`` but for a missing file."""
    path = layout.value_file(leaf)
    return [kept for kept in read_file(path) if kept.leaf == leaf] if path.exists() else []


class Finder:
    """``find`` for many leaves in their order: each file is read once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path: Path | None = None
        self._kept: list[Kept] = []

    def find(self, leaf: int) -> list[Kept]:
        """The values that are kept beside a leaf. ``OSError`` but for a missing file."""
        path = self._layout.value_file(leaf)
        if path != self._path:
            self._path, self._kept = path, read_file(path) if path.exists() else []
        return [kept for kept in self._kept if kept.leaf == leaf]


def shred(layout: Layout, leaf: int, name: str) -> bool:
    """Destroy a value and its salt; whether there was one. The old bytes are overwritten where they stood.

    A file system that copies on write, and a disk that moves blocks, may keep them elsewhere all the same.
    """
    path = layout.value_file(leaf)
    if not path.exists():
        return False
    kept = read_file(path)
    target = next((each for each in kept if (each.leaf, each.name) == (leaf, name) and each.value is not None), None)
    if target is None:
        return False
    changed = [Kept(leaf, name, b"", None) if each is target else each for each in kept]
    files.replace_over(path, b"".join(each.line() for each in changed))
    return True
