"""At the gateway's start: what nodes told that is on record, though the gateway was killed before it remembered that.

The store remembers each session's last number just after the record has it. So the record's newest events are looked
through once, and the store is told; else the agent's next batch would be recorded again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from jupyter_hpcsec.audit.events import kind_of
from jupyter_hpcsec.audit.kinds.node import NodeGap, NodeRefused
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.tunnel.nodeport import node_key
from jupyter_hpcsec.tunnel.session import Session

TAIL = 8192
"""Events of the record's end that are looked through: far more than become durable while one number is written."""
_GAP, _REFUSED = kind_of(NodeGap), kind_of(NodeRefused)


class Memory(Protocol):
    """What is remembered of sessions: ``tunnel.store``."""

    def active(self) -> Sequence[Session]:
        """Those that have not ended."""

    def nodes(self) -> Sequence[str]:
        """Nodes whose root's helper has told something."""

    def heard(self, session_id: str) -> tuple[int, int]:
        """(boot, seq) of the last event on record; (0, 0) before the first."""

    def set_heard(self, session_id: str, boot: int, seq: int) -> None:
        """Remember it."""


class Tail:
    """What the end of the record has of one session's node."""

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._replaced: set[int] = set()

    def add(self, event: dict[str, object]) -> None:
        """An event of the session."""
        boot, first, last = (_count(event, name) for name in ("boot", "first", "last"))
        if event.get("trust") == "node" and "told_boot" in event:
            boot, first = _count(event, "told_boot"), _count(event, "told_seq")
            self._spans[boot].append((first, first))
        elif event.get("kind") == _REFUSED:
            self._spans[boot].append((_count(event, "seq"), _count(event, "seq")))
        elif event.get("kind") == _GAP and last:
            self._spans[boot].append((first, last))
        elif event.get("kind") == _GAP:
            self._replaced.add(boot)

    def after(self, boot: int, seq: int) -> tuple[int, int]:
        """(boot, seq) up to which nothing is missing, from the one that is remembered."""
        newest = max(self._spans, default=0)
        if newest > boot and (not boot or boot in self._replaced):
            boot, seq = newest, 0
        for first, last in sorted(self._spans.get(boot, ())):
            if first <= seq + 1:
                seq = max(seq, last)
        return boot, seq


def _teller(event: dict[str, object]) -> str:
    """Whose numbers an event has: what root's helper tells of a session is not of the session's."""
    by, node = str(event.get("told_by", "")), str(event.get("node", ""))
    if by.startswith("node/") or (not event.get("session") and node):
        return node_key(node)
    return str(event.get("session", ""))


def _count(event: dict[str, object], name: str) -> int:
    value = event.get(name, 0)
    return value if isinstance(value, int) else 0


def tail(record: Log, layout: Layout) -> Iterable[bytes]:
    """The newest events of a record."""
    start = max(0, record.health().durable - TAIL)
    return (leaf for _, leaf in Reader(layout, record.verifier).durable(start))


def recall(leaves: Iterable[bytes], memory: Memory) -> None:
    """Remember what is on record of the nodes of sessions that still run."""
    found = {session.id: Tail() for session in memory.active()}
    found |= {node_key(node): Tail() for node in memory.nodes()}
    for leaf in leaves:
        if b'"told_boot"' in leaf or b'"node.' in leaf:
            event = json.loads(leaf)
            key = _teller(event)
            if key in found:
                found[key].add(event)
    for session_id, each in found.items():
        remembered = memory.heard(session_id)
        after = each.after(*remembered)
        if after > remembered and after[1]:
            memory.set_heard(session_id, *after)
