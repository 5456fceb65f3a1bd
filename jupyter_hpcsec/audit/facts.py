"""What the events of a record say themselves: their numbers, what was sealed, shredded, set aside, removed. Pure.

Facts of one stretch of the log are joined to those of what stands before it, so that stretches can be read apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from jupyter_hpcsec.audit.events import INTEGER_LIMIT
from jupyter_hpcsec.audit.findings import Finding


class _Every(msgspec.Struct):
    """What is looked at in every event."""

    seq: int
    boot: int
    kind: str
    sealed: dict[str, str] = {}


class _Shredded(msgspec.Struct):
    name: str
    leaf: int = 0


class _SetAside(msgspec.Struct):
    sha256: str


class Pruned(msgspec.Struct):
    """What ``audit.pruned`` says."""

    what: str
    end: int
    root: str
    time: str
    leaf: int = 0


_every = msgspec.json.Decoder(_Every)


@dataclass
class Facts:
    """Facts of the events from ``first`` on. ``seq`` and ``boot`` are those of the last one; -1 where it is not known.

    Every leaf is one event of the one producer, so event i has the number i + 1.
    """

    first: int = 0
    findings: list[Finding] = field(default_factory=list)
    seq: int = -1
    boot: int = -1
    boot_at_first: tuple[int, int] | None = None
    sealed: dict[tuple[int, str], str] = field(default_factory=dict)
    shredded: set[tuple[int, str]] = field(default_factory=set)
    aside: set[str] = field(default_factory=set)
    pruned: list[Pruned] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seq = self.first if self.seq < 0 else self.seq

    def take(self, first: int, leaves: Sequence[bytes]) -> None:
        """The events that follow."""
        for index, leaf in enumerate(leaves, first):
            try:
                self._take(index, leaf)
            except (ValueError, RecursionError):
                self.findings.append(Finding("event.malformed", "log", "it is no event of this log", index))

    def skip(self, end: int) -> None:
        """Events up to ``end`` can't be read: what follows is not compared with what stands before them."""
        self.seq, self.boot = end, -1

    def join(self, later: "Facts") -> None:
        """Facts of the stretch that follows."""
        if later.boot_at_first is not None:
            self._check_boot(*later.boot_at_first)
        self.seq, self.boot = later.seq, later.boot
        self.findings += later.findings
        self.sealed |= later.sealed
        self.shredded |= later.shredded
        self.aside |= later.aside
        self.pruned += later.pruned

    def removed(self, what: str) -> int:
        """The leaf before which ``what`` (events, values) was removed. With its event go an event's values."""
        return max((each.end for each in self.pruned if each.what in (what, "events")), default=0)

    def _check_boot(self, index: int, boot: int) -> None:
        if self.boot >= 0 and boot not in (self.boot, self.boot + 1):
            self.findings.append(Finding("numbering.boot", "log", f"boot {boot} follows boot {self.boot}", index))

    def _take(self, index: int, leaf: bytes) -> None:
        event = _every.decode(leaf)
        if not (0 <= event.seq <= INTEGER_LIMIT and 0 <= event.boot <= INTEGER_LIMIT):
            raise ValueError("numbers of another format")
        if event.seq != self.seq + 1:
            said = f"its number is {event.seq} and the one before it {self.seq}"
            self.findings.append(Finding("numbering.hole", "log", said, index))
        if self.boot < 0 and self.boot_at_first is None and index == self.first:
            self.boot_at_first = (index, event.boot)
        self._check_boot(index, event.boot)
        self.seq, self.boot = event.seq, event.boot
        for name, commitment in event.sealed.items():
            self.sealed[index, name] = commitment
        if event.kind == "audit.shredded":
            told = msgspec.json.decode(leaf, type=_Shredded)
            self.shredded.add((told.leaf, told.name))
        elif event.kind == "audit.set-aside":
            self.aside.add(msgspec.json.decode(leaf, type=_SetAside).sha256)
        elif event.kind == "audit.pruned":
            pruned = msgspec.json.decode(leaf, type=Pruned)
            pruned.leaf = index
            self.pruned.append(pruned)
