"""Do a session's own watch and root's on its node see the same? Pure: two views in, differences out; and over time.

A session's watch runs as its user, who may lie to it; root's is out of their reach. The two look at different moments,
so that memory may differ by a share, and a difference has to stand for a while in views that are both fresh. What
either of them can't see, or does not measure, is no difference. Seconds of one monotonic clock.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

MEMORY_SHARE, MEMORY_LEAST = 0.10, 512 << 20
"""Bytes may differ by this share of the larger, and by so much in any case: two views are seconds apart."""
FRESH_S = 90.0
"""An older view is none: three times what a watch takes at most to show what has not changed."""
STAND_S = 60.0
"""A difference is raised after so long, and is over after as long without it."""
ROWS_LIMIT = 256


class Row(Struct, frozen=True):
    """What is held on one device: pids and bytes (None: not measurable)."""

    pids: frozenset[int] = frozenset()
    memory: int | None = 0


class View(Struct, frozen=True, kw_only=True):
    """One watch's word at ``at``. ``blind``: devices that it could not judge; ``namespace``: its pids' namespace."""

    at: float
    rows: Mapping[str, Row] = {}
    blind: frozenset[str] = frozenset()
    namespace: int = 0
    simulated: bool = False


class Difference(Struct, frozen=True):
    """On one device: what kind of difference, and what each of them says."""

    what: str
    own: str
    root: str


class Standing(Struct, frozen=True):
    """A difference over time: for how long it stood, for how long it has not."""

    difference: Difference
    seen_s: float = 0.0
    absent_s: float = 0.0
    raised: bool = False


class Change(Struct, frozen=True):
    """An alert that begins or ends."""

    raised: bool
    device: str
    difference: Difference


class Memory(Struct, frozen=True):
    """Of one session."""

    at: float | None = None
    standing: Mapping[str, Standing] = {}


def differences(own: View | None, root: View, now: float) -> Iterator[tuple[str, Difference]]:
    """By device. A session whose watch shows nothing fresh differs wherever root sees that it holds something."""
    is_fresh = own is not None and now - own.at <= FRESH_S
    dark = root.blind | (own.blind if own is not None and is_fresh else frozenset())
    mine: Mapping[str, Row] = own.rows if own is not None and is_fresh else {}
    for device in sorted(set(root.rows) | set(mine)):
        if device in dark:
            continue
        theirs, here = root.rows.get(device, Row()), mine.get(device, Row())
        if not is_fresh:
            if theirs.pids:
                yield device, Difference("silent", "nothing", _words(theirs))
        elif bool(theirs.pids) != bool(here.pids):
            yield device, Difference("hidden" if theirs.pids else "invented", _words(here), _words(theirs))
        elif own is not None and own.namespace == root.namespace and root.namespace and theirs.pids != here.pids:
            yield device, Difference("processes", _words(here), _words(theirs))
        elif theirs.memory is not None and here.memory is not None and _is_apart(theirs.memory, here.memory):
            yield device, Difference("memory", _words(here), _words(theirs))


def _is_apart(one: int, other: int) -> bool:
    return abs(one - other) > max(MEMORY_LEAST, MEMORY_SHARE * max(one, other))


def _words(row: Row) -> str:
    pids = " ".join(map(str, sorted(row.pids)[:16])) or "none"
    memory = "not measurable" if row.memory is None else f"{row.memory >> 20} MiB"
    return f"{len(row.pids)} processes ({pids}), {memory}"


def follow(memory: Memory, own: View | None, root: View | None, now: float) -> tuple[Memory, list[Change]]:
    """One step. Without a fresh view of root's nothing is compared: it neither raises nor clears."""
    if root is None or now - root.at > FRESH_S:
        return Memory(now, memory.standing), []
    passed = now - memory.at if memory.at is not None else 0.0
    passed = passed if 0 <= passed <= FRESH_S else 0.0
    dark = root.blind | (own.blind if own is not None and now - own.at <= FRESH_S else frozenset())
    found = dict(list(differences(own, root, now))[:ROWS_LIMIT])
    changes: list[Change] = []
    standing: dict[str, Standing] = {}
    for device, difference in found.items():
        old = memory.standing.get(device)
        stood = old.seen_s + passed if old else 0.0
        raised = (old is not None and old.raised) or stood >= STAND_S
        if raised and not (old and old.raised):
            changes.append(Change(True, device, difference))
        standing[device] = Standing(difference, stood, 0.0, raised)
    for device, old in memory.standing.items():
        if device in standing:
            continue
        absent = old.absent_s + (0.0 if device in dark else passed)
        if absent < STAND_S:
            standing[device] = Standing(old.difference, old.seen_s, absent, old.raised)
        elif old.raised:
            changes.append(Change(False, device, old.difference))
    return Memory(now, standing), changes
