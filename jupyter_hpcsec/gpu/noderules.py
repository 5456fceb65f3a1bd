"""R1, R2, R4 and R7 as root sees them: all devices, all jobs' maps, every process's cgroup. Pure; one step per scan.

What a session's own watch can't decide is decided here: whose a process is by its cgroup, and, where there is none, by
where it was seen before, or by its account. A job whose map root removed is over, and what is still there of it is left
over. Of a process nothing is known but pid, start, account and job: no name, no command line.
"""

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

from jupyter_hpcsec.gpu import rules
from jupyter_hpcsec.gpu.alerts import Alert, Blind, Confidence, Finding
from jupyter_hpcsec.gpu.judge import Track, follow, seen
from jupyter_hpcsec.gpu.rules import View, why_blind
from jupyter_hpcsec.gpu.samples import Allocation, By, Context, Device, Process, Sample, Scan
from jupyter_hpcsec.gpu.sessions import SYSTEM_UIDS
from jupyter_hpcsec.gpu.settings import Rule, Settings

JOBS_LIMIT = 4096
REMEMBERED_LIMIT = 8192
_JOB = re.compile(r"/job_([0-9]{1,20})\Z")

Maps = Mapping[str, Allocation]


class Owner(Struct, frozen=True):
    """Whose a process is: its job, and how that is known; no job is an empty one."""

    job: str = ""
    by: By = ""


class NodeMemory(Struct, frozen=True):
    """What is carried from one scan to the next. ``jobs``: those that ever had a map; ``owners`` by (pid, start)."""

    mono: float | None = None
    tracks: Mapping[str, Track] = {}
    jobs: frozenset[str] = frozenset()
    owners: Mapping[tuple[int, int], Owner] = {}


class Hold(Struct, frozen=True):
    """What one job holds on one device: pids and bytes (None: not measurable)."""

    device: str
    pids: tuple[int, ...]
    memory: int | None


class NodeJudgement(Struct, frozen=True):
    """What came of one scan. ``holds`` by job, of those that have a map."""

    alerts: tuple[Alert, ...]
    standing: tuple[Finding, ...]
    blind: tuple[Blind, ...]
    holds: Mapping[str, tuple[Hold, ...]]


class _Held(Struct, frozen=True):
    device: Device
    context: Context
    process: Process
    owner: Owner


def judge_node(memory: NodeMemory, scan: Scan, maps: Maps, settings: Settings) -> tuple[NodeMemory, NodeJudgement]:
    """One step."""
    seen_s = seen(memory.mono, scan.mono)
    sample = Sample(time=scan.time, mono=scan.mono, readings=scan.readings)
    view = View.of(sample, settings)
    processes = {process.pid: process for process in scan.processes}
    held: list[_Held] = []
    owners: dict[tuple[int, int], Owner] = {}
    blind = [Blind(rule, device.uuid, f"not visible: {why}") for device in sample.devices()
             if (why := why_blind(device)) for rule in ("R1", "R4")]  # fmt: skip
    for device, context, _ in view.held():
        process = processes.get(context.pid)
        if process is None or process.uid < 0:
            blind.append(Blind("R1", device.uuid, f"not visible: process {context.pid} is not in this /proc"))
            continue
        owner = _owner(process, device, maps, memory)
        if owner.job and len(owners) < REMEMBERED_LIMIT:
            owners[process.pid, process.start] = owner
        held.append(_Held(device, context, process, owner))
    jobs = memory.jobs | set(maps)
    if len(jobs) > JOBS_LIMIT:
        jobs = frozenset(maps) | {each.owner.job for each in held if each.owner.job in memory.jobs}
    findings = [each for one in held for each in _of_one(one, maps, jobs, settings)]
    findings += [*_memory_left(view, maps), *rules.posture(view)]
    blind += [
        Blind("R2", each.device.uuid, f"unverified: job {each.owner.job} has no allocation map on this node")
        for each in held
        if each.owner.job and each.owner.job not in jobs
    ]
    unique = tuple(dict.fromkeys(blind))
    tracks, alerts = follow(memory.tracks, findings, unique, sample, settings, seen_s)
    if any(reading.state != "ok" for reading in scan.readings):
        owners = {**memory.owners, **owners}  # what is out of sight now is not forgotten
    kept = NodeMemory(scan.mono, tracks, frozenset(jobs), owners)
    standing = tuple(track.finding for track in tracks.values() if track.raised)
    return kept, NodeJudgement(tuple(alerts), standing, unique, _holds(held, maps))


def _names(device: Device) -> set[str]:
    return {device.uuid, device.parent} - {""}


def _jobs_of(device: Device, maps: Maps) -> list[str]:
    return [job for job, each in maps.items() if _names(device) & set(each.devices)]


def _owner(process: Process, device: Device, maps: Maps, memory: NodeMemory) -> Owner:
    found = _JOB.search(process.cgroup)
    if found:
        return Owner(found[1], "cgroup")
    before = memory.owners.get((process.pid, process.start))
    if before is not None:
        return Owner(before.job, "before")
    if process.uid < SYSTEM_UIDS:
        return Owner()
    same = [job for job in _jobs_of(device, maps) if maps[job].uid == process.uid]
    return Owner(same[0]) if same else Owner()


def _of_one(held: _Held, maps: Maps, jobs: frozenset[str], settings: Settings) -> Iterator[Finding]:
    """What is wrong with one context on one device. Root's and services' processes outside of jobs are nobody's."""
    device, owner = held.device, held.owner
    here = _jobs_of(device, maps)
    if not owner.job and held.process.uid < SYSTEM_UIDS:
        return
    if owner.job and owner.job not in jobs:
        return  # unverified: ``blind`` says so
    if owner.job and owner.job not in maps:
        sure: Confidence = "high" if owner.by in {"cgroup", "before"} else "medium"
        yield _finding("R4", held, settings.leftover_s, sure, {"of": f"job {owner.job}, which is over"})
        return
    if owner.job in here:
        return
    whose = f"of job {owner.job}" if owner.job else "of no job"
    if here and not settings.shared:
        evidence = {"whose": whose, "on": "a GPU of job " + ", ".join(here)}
        yield _finding("R1", held, settings.foreign_s, "high" if owner.by else "medium", evidence)
    if owner.job or not here:
        wait = 0.0 if owner.job else settings.foreign_s
        yield _finding("R2", held, wait, "high" if owner.by else "medium", {"whose": whose})


def _finding(rule: Rule, held: _Held, wait: float, sure: Confidence, evidence: Mapping[str, str]) -> Finding:
    memory = held.context.memory
    return Finding(
        rule=rule,
        key=f"{rule}:{held.device.uuid}:{held.process.pid}:{held.process.start}",
        evidence={
            **evidence,
            "job": held.owner.job,
            "pid": held.process.pid,
            "uid": held.process.uid,
            "memory": memory if memory is not None else "not measurable",
        },
        confidence=sure,
        threshold=f"seen for {wait:g} s by root",
        after_s=wait,
        device=held.device.uuid,
        pid=held.process.pid,
        action="notify",
    )


def _memory_left(view: View, maps: Maps) -> Iterator[Finding]:
    """Memory in use on a device that no job has and that shows no process."""
    for device in view.sample.devices():
        used = device.memory_used
        if used is None or used < view.settings.leftover_memory or device.contexts or device.split:
            continue
        if device.state != "ok" or device.contexts_state != "ok" or _jobs_of(device, maps):
            continue
        yield Finding(
            rule="R4",
            key=f"R4:{device.uuid}:memory",
            evidence={"memory": used, "of": "no process that is visible, and no job"},
            confidence="medium",
            threshold=f"{view.settings.leftover_memory} bytes (leftover_memory)",
            after_s=view.settings.leftover_s,
            device=device.uuid,
        )


def _holds(held: list[_Held], maps: Maps) -> dict[str, tuple[Hold, ...]]:
    """What each job with a map holds, device by device."""
    found: dict[str, dict[str, list[_Held]]] = {job: {} for job in maps}
    for each in held:
        if each.owner.job in found:
            found[each.owner.job].setdefault(each.device.uuid, []).append(each)
    return {
        job: tuple(
            Hold(uuid, tuple(sorted(one.context.pid for one in each)), _sum([one.context.memory for one in each]))
            for uuid, each in sorted(devices.items())
        )
        for job, devices in found.items()
    }


def _sum(told: list[int | None]) -> int | None:
    known = [memory for memory in told if memory is not None]
    return sum(known) if len(known) == len(told) else None
