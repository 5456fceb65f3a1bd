"""What is sent: an event of the record, in the form that a sink wants, read from the record's files."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.audit import files, values
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import Verifier
from jupyter_hpcsec.audit.ocsf import convert
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.retention import Removed

BATCH_BYTES = 4 << 20
"""Bytes of leaves that are sent at once; a batch has one event in any case."""
FULL_LOOKS = 10
"""Looks at files that seem unchanged, until they are read all the same: a file's time has ticks."""


@dataclass(frozen=True)
class Item:
    """One event: its leaf's number, the leaf, and its sealed values where they are to be sent (None: shredded)."""

    leaf: int
    data: bytes
    values: Mapping[str, str | None] | None = None

    @functools.cached_property
    def event(self) -> dict[str, Any]:
        """The leaf as JSON gives it."""
        event: dict[str, Any] = json.loads(self.data)
        return event

    @property
    def id(self) -> str:
        """The event's id: what a receiver knows one that came twice by."""
        return str(self.event["id"])

    @property
    def time_s(self) -> float:
        """When it was, in Unix seconds."""
        return datetime.fromisoformat(self.event["time"]).timestamp()

    def shaped(self, form: str) -> dict[str, Any]:
        """As ``native`` (the leaf's fields) or ``ocsf``; sealed values stand under ``values``."""
        if form == "ocsf":
            made = convert(self.event)
            return made if self.values is None else {**made, "unmapped": {**made["unmapped"], "values": self.values}}
        return self.event if self.values is None else {**self.event, "values": self.values}

    def line(self, form: str) -> bytes:
        """As one line of JSON, without its end. A native one without values is the leaf, byte for byte."""
        return self.data if form == "native" and self.values is None else self.ascii_line(form)

    def ascii_line(self, form: str) -> bytes:
        """The same in ASCII."""
        return json.dumps(self.shaped(form), separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class Rejected:
    """An event that the receiver refuses for what it is; all others go on."""

    item: Item
    reason: str


class Target(Protocol):
    """A receiver. Errors are ``Unavailable``: everything since the last ``confirm`` is sent again, later.

    Past ``window`` events, or ``settle_s`` seconds after the first, ``confirm`` is called.
    """

    window: int
    settle_s: float

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Hand events over, in their order; those that it will never take come back."""

    async def confirm(self) -> None:
        """Return once the receiver has what was sent."""

    async def close(self) -> None:
        """Let go of connections; the next ``send`` makes new ones."""


class Source:
    """The record in a directory, for its owner. Blocking: called in a thread of the caller's."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)
        with files.translated(directory):
            files.check(directory, directory.stat(), "0700")
        self.verifier: Verifier = read_verifier(self.layout)
        self._reader = Reader(self.layout, self.verifier)

    def take(self, start: int, count: int, *, with_values: bool = False) -> list[Item]:
        """Durable events from ``start`` on, at most ``count`` and about ``BATCH_BYTES``."""
        found: list[Item] = []
        size = 0
        with files.translated(self.layout.directory):
            for leaf, data in itertools.islice(self._reader.durable(start), count):
                found.append(Item(leaf, data, self._values(leaf, data) if with_values else None))
                size += len(data)
                if size >= BATCH_BYTES:
                    break
        return found

    def _values(self, leaf: int, data: bytes) -> dict[str, str | None]:
        if b'"sealed"' not in data:
            return {}
        kept = values.find(self.layout, leaf)
        return {
            each.name: None if each.value is None else each.value.decode("utf-8", errors="backslashreplace")
            for each in kept
        }

    def first(self) -> int:
        """The first event that retention has left."""
        with files.translated(self.layout.directory):
            return Removed.read(self.layout).events

    def durable(self, known: int = 0) -> int:
        """How many events are durable; ``known`` are for sure."""
        with files.translated(self.layout.directory):
            start = max(known, self._reader.checkpoint().size)
            return start + sum(1 for _ in self._reader.durable(start))

    def state(self) -> object:
        """Something that is equal while the record's files look unchanged."""
        with files.translated(self.layout.directory):
            found = []
            for path in (self.layout.checkpoint, *(path for _, path in self.layout.segments())):
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue
                found.append((path.name, about.st_size, about.st_mtime_ns, about.st_ino))
            return found
