"""What sessions' own watches and root's on the nodes see now, in the gateway: compared, and counted for the metrics.

Nothing of it is kept on disk, and nobody is asked for anything: a view replaces the one before it. What comes of a
comparison is an event of the gateway's own.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from jupyter_hpcsec.audit.kinds.gpunode import GpuDisagreement
from jupyter_hpcsec.gpu.compare import FRESH_S, Memory, Row, View, follow
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.observer import Observer

SESSIONS_LIMIT = 20_000
FORGET_S = 600.0
"""After so long without a view a session is forgotten."""
SERIES_LIMIT = 2000
"""Kernels on devices that the metrics list."""
SESSION_LIMIT = 64
"""Of one session: none crowds out the others."""
_KERNEL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DEVICE = re.compile(r"(GPU|MIG)-[0-9a-f-]{8,64}|[0-9a-f-]{8,64}")
USED = 5
"""Percent: less is not use, as for the watch (``idle_utilisation``)."""

ROOT_SEES, SESSION_SEES = "root", "session"


@dataclass(frozen=True)
class Line:
    """One kernel on one device, for the metrics; ids are shortened, and no name is in it."""

    session: str
    kernel: str
    device: str
    memory: int | None
    utilisation: int | None
    idle_s: int


@dataclass(frozen=True)
class GpuFacts:
    """For the metrics. ``kernels`` by what they do: used, idle, unknown."""

    sessions: int = 0
    devices: int = 0
    memory: int = 0
    kernels: Mapping[str, int] = field(default_factory=dict)
    disagreements: Mapping[str, int] = field(default_factory=dict)
    standing: int = 0
    helpers: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    left_out: int = 0


NO_GPUS = GpuFacts()


@dataclass
class _Session:
    own: View | None = None
    root: View | None = None
    node: str = ""
    held: tuple[m.Held, ...] = ()
    memory: Memory = field(default_factory=Memory)


def view_of(seen: m.Seen, at: float) -> View:
    """By device: the kernels' shares are joined."""
    pids: dict[str, set[int]] = {}
    memory: dict[str, int | None] = {}
    for held in seen.held:
        pids.setdefault(held.device, set()).update(held.pids)
        before = memory.get(held.device, 0)
        memory[held.device] = None if before is None or held.memory is None else before + held.memory
    rows = {device: Row(frozenset(each), memory[device]) for device, each in pids.items()}
    return View(at=at, rows=rows, blind=frozenset(seen.blind), namespace=seen.namespace, simulated=seen.simulated)


def _lines(session: str, held: Iterable[m.Held]) -> list[Line]:
    """Of one session, which says what it likes: labels in the one form that is theirs, each once, and not too many."""
    found: dict[tuple[str, str], Line] = {}
    for each in held:
        kernel = each.kernel[:8] if _KERNEL.fullmatch(each.kernel) else "other"
        device = each.device if _DEVICE.fullmatch(each.device) else "other"
        if len(found) < SESSION_LIMIT:
            line = Line(session[:12], kernel, device, each.memory, each.utilisation, each.idle_s)
            found.setdefault((kernel, device), line)
    return list(found.values())


class GpuViews:
    """Implements ``tunnel.nodeport.Watchers``. ``clock`` gives monotonic seconds."""

    def __init__(self, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer, self._clock = observer, clock
        self._sessions: dict[str, _Session] = {}
        self._raised: Counter[str] = Counter()

    def session_sees(self, session: str, seen: m.Seen) -> None:
        """A session's own watch."""
        found = self._of(session)
        if found:
            found.own, found.held = view_of(seen, self._clock()), tuple(seen.held)
            self._compare(session, found)

    def root_sees(self, node: str, session: str, seen: m.Seen) -> None:
        """Root's on the node, of one session's job."""
        found = self._of(session)
        if found:
            found.root, found.node = view_of(seen, self._clock()), node
            self._compare(session, found)

    def node_gone(self, node: str) -> None:
        """What root saw there is not what it is now."""
        for found in self._sessions.values():
            if found.node == node:
                found.root = None

    def _of(self, session: str) -> _Session | None:
        if session not in self._sessions:
            if len(self._sessions) >= SESSIONS_LIMIT:
                self._forget()
            if len(self._sessions) >= SESSIONS_LIMIT:
                return None
            self._sessions[session] = _Session()
        return self._sessions[session]

    def _forget(self) -> None:
        now = self._clock()
        for session, found in list(self._sessions.items()):
            newest = max((view.at for view in (found.own, found.root) if view), default=0.0)
            if now - newest > FORGET_S:
                del self._sessions[session]

    def _compare(self, session: str, found: _Session) -> None:
        found.memory, changes = follow(found.memory, found.own, found.root, self._clock())
        for change in changes:
            self._raised["raised" if change.raised else "cleared"] += 1
            both = {
                "what": change.difference.what,
                SESSION_SEES: change.difference.own,
                ROOT_SEES: change.difference.root,
            }
            self._observer.note(
                GpuDisagreement(
                    session=session,
                    node=found.node,
                    device=change.device,
                    rule=f"gpu.{change.difference.what}",
                    state="raised" if change.raised else "cleared",
                    reason="the session's watch and root's do not see the same on a GPU",
                    evidence=json.dumps(both, sort_keys=True),
                    simulated=bool(found.root and found.root.simulated),
                )
            )

    def facts(self, helpers: Mapping[str, int], *, with_lines: bool) -> GpuFacts:
        """For the metrics, of the views that are fresh."""
        self._forget()
        now = self._clock()
        kernels: Counter[str] = Counter(used=0, idle=0, unknown=0)
        devices: set[str] = set()
        lines: list[Line] = []
        sessions = memory = 0
        for session, found in self._sessions.items():
            if found.own is None or now - found.own.at > FRESH_S:
                continue
            sessions += 1
            for held in found.held:
                devices.add(held.device)
                memory += held.memory or 0
                use = held.utilisation
                kernels["unknown" if use is None else "used" if use >= USED else "idle"] += 1
            lines += _lines(session, found.held)
        standing = sum(each.raised for found in self._sessions.values() for each in found.memory.standing.values())
        return GpuFacts(
            sessions=sessions,
            devices=len(devices),
            memory=memory,
            kernels=kernels,
            disagreements=dict(self._raised),
            standing=standing,
            helpers=helpers,
            lines=tuple(lines[:SERIES_LIMIT]) if with_lines else (),
            left_out=max(0, len(lines) - SERIES_LIMIT) if with_lines else 0,
        )
