"""From samples to alerts: all rules, and the persistence between samples. Pure: the same samples give the same alerts.

Only the monotonic clock counts, and only time under the watch's eyes: a jump of the wall clock changes nothing, and a
gap (a suspended node, a driver that hung) is no time. What is seen on and off is neither raised nor cleared each time.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from jupyter_hpcsec.gpu import idle, mining, rules
from jupyter_hpcsec.gpu.alerts import Alert, Blind, Finding
from jupyter_hpcsec.gpu.idle import IdleClock
from jupyter_hpcsec.gpu.rules import View
from jupyter_hpcsec.gpu.samples import Sample
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings

GAP_S = 30.0
"""Longest time between two samples that counts as seen: three ticks."""
TRACKS_LIMIT = 4096
"""Findings that are followed at the same time."""


class Track(Struct, frozen=True):
    """A finding over time: for how long seen, for how long not."""

    finding: Finding
    seen_s: float = 0.0
    absent_s: float = 0.0
    raised: bool = False


class Memory(Struct, frozen=True):
    """All that is carried from one sample to the next."""

    mono: float | None = None
    tracks: Mapping[str, Track] = {}
    clocks: Mapping[str, IdleClock] = {}
    steady_s: Mapping[tuple[int, int], float] = {}
    explained: frozenset[tuple[int, int]] = frozenset()
    quiet_s: Mapping[str, float] = {}
    """Seconds since each kernel last executed something."""
    marks: Mapping[str, tuple[float, str]] = {}


class Judgement(Struct, frozen=True):
    """What came of one sample. ``standing``: every alert that is raised and not cleared."""

    alerts: tuple[Alert, ...]
    standing: tuple[Finding, ...]
    blind: tuple[Blind, ...]


def judge(
    memory: Memory, sample: Sample, settings: Settings, limits: IdleLimits | None = None
) -> tuple[Memory, Judgement]:
    """One step. ``limits``: the idle limits of this session's user, the site's by default."""
    seen_s = seen(memory.mono, sample.mono)
    view = View.of(sample, settings)
    quiet, marks = _quiet(memory, view, seen_s)
    explained = _explained(memory, view, quiet)
    view = View.of(sample, settings, explained)
    clocks = idle.advance(view, memory.clocks, seen_s)
    still = set(mining.steady(view))
    steady_s = {key: memory.steady_s.get(key, -seen_s) + seen_s for key in still}
    findings = [
        *rules.foreign(view),
        *rules.unallocated(view),
        *idle.findings(view, clocks, limits or settings.idle),
        *rules.leftover(view),
        *mining.findings(view, steady_s),
        *rules.unexplained(view),
        *rules.posture(view),
    ]
    blind = tuple(dict.fromkeys(rules.blind(view)))
    tracks, alerts = follow(memory.tracks, findings, blind, sample, settings, seen_s)
    kept = Memory(sample.mono, tracks, clocks, steady_s, explained, quiet, marks)
    standing = tuple(track.finding for track in tracks.values() if track.raised)
    return kept, Judgement(tuple(alerts), standing, blind)


def seen(before: float | None, mono: float) -> float:
    """Seconds since the last sample, 0 for the first, after a gap, and when the clock was started anew."""
    passed = mono - before if before is not None else 0.0
    return passed if 0 <= passed <= GAP_S else 0.0


def _quiet(memory: Memory, view: View, seen_s: float) -> tuple[dict[str, float], dict[str, tuple[float, str]]]:
    quiet: dict[str, float] = {}
    marks: dict[str, tuple[float, str]] = {}
    for kernel in view.kernels.values():
        marks[kernel.id] = (kernel.since, kernel.cell)
        # a cell that began and ended between two samples shows by the mark alone
        is_still = kernel.busy is False and memory.marks.get(kernel.id) == marks[kernel.id]
        quiet[kernel.id] = memory.quiet_s.get(kernel.id, 0.0) + seen_s if is_still else 0.0
    return quiet, marks


def _explained(memory: Memory, view: View, quiet: Mapping[str, float]) -> frozenset[tuple[int, int]]:
    """Holders that were seen at any time while, or shortly after, their kernel executed something."""
    there = set()
    for _, _, holder in view.held():
        key = (holder.pid, holder.start)
        soon = holder.kernel and quiet.get(holder.kernel, 0.0) <= view.settings.cell_grace_s
        if key in memory.explained or soon:
            there.add(key)
    if any(reading.state != "ok" for reading in view.sample.readings):
        return frozenset(memory.explained | there)  # what is out of sight now is not forgotten
    return frozenset(there)


def follow(
    before: Mapping[str, Track],
    findings: Iterable[Finding],
    blind: Iterable[Blind],
    sample: Sample,
    settings: Settings,
    seen_s: float,
) -> tuple[dict[str, Track], list[Alert]]:
    """Raise what stood for long enough, clear what is over; what can't be seen now is neither."""
    tracks: dict[str, Track] = {}
    alerts: list[Alert] = []
    for finding in findings:
        old = before.get(finding.key)
        if old is None and len(tracks) >= TRACKS_LIMIT:
            continue
        stood = old.seen_s + seen_s if old else 0.0
        raised = (old is not None and old.raised) or stood >= finding.after_s
        if raised and not (old and old.raised):
            alerts.append(Alert(time=sample.time, raised=True, finding=finding))
        tracks[finding.key] = Track(finding, stood, 0.0, raised)
    dark = {each.device for each in blind if each.why.startswith("not visible")}
    no_driver = any(reading.state != "ok" for reading in sample.readings)
    for key, old in before.items():
        if key in tracks:
            continue
        if old.finding.rule != "R7" and (old.finding.device in dark - {""} or no_driver):
            tracks[key] = old
            continue
        # 0 s were seen before the first absence, too: a thing that was never raised goes after the same time
        absent = old.absent_s + seen_s
        if old.finding.rule != "R3" and absent < settings.clear_s:
            tracks[key] = Track(old.finding, old.seen_s, absent, old.raised)
        elif old.raised:
            alerts.append(Alert(time=sample.time, raised=False, finding=old.finding))
    return tracks, alerts
