"""Rules R1, R2, R4, R6 and R7: what one sample shows. Pure functions: a sample in, findings out; no clock, no memory.

Persistence (how long something has to be seen) and clearing are ``judge``'s. Nothing is said of a device that can't be
seen: ``blind`` names it instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jupyter_hpcsec.gpu.alerts import Blind, Confidence, Finding
from jupyter_hpcsec.gpu.samples import Context, Device, Holder, KernelFact, Sample
from jupyter_hpcsec.gpu.settings import Settings

UNSEEN_MEMORY = 2 << 30
"""Bytes that no visible process accounts for, above which someone unseen holds a device (drivers hide some 100 MiB)."""


@dataclass(frozen=True)
class View:
    """A sample, indexed once for all rules. ``explained``: holders (pid, start) whose context a cell explains."""

    sample: Sample
    settings: Settings
    holders: Mapping[int, Holder]
    kernels: Mapping[str, KernelFact]
    explained: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def of(cls, sample: Sample, settings: Settings, explained: frozenset[tuple[int, int]] = frozenset()) -> "View":
        """Index a sample."""
        holders = {holder.pid: holder for holder in sample.holders}
        return cls(sample, settings, holders, {kernel.id: kernel for kernel in sample.kernels}, explained)

    def held(self) -> Iterator[tuple[Device, Context, Holder]]:
        """Every context with its device and holder; on a GPU in MIG mode, only those of its instances."""
        for device in self.sample.devices():
            for context in () if device.split else device.contexts:
                yield device, context, self.holders.get(context.pid, Holder(pid=context.pid))

    def is_allocated(self, device: Device) -> bool | None:
        """Whether root's map gives it to this job; None without a map."""
        if self.sample.allocation is None:
            return None
        return bool({device.uuid, device.parent} - {""} & set(self.sample.allocation.devices))


def why_blind(device: Device) -> str:
    """Why what runs on a device is not known; empty when it is."""
    if device.state != "ok":
        return f"the device is {device.state}"
    if device.contexts_state != "ok":
        return f"its list of processes is {device.contexts_state}"
    told = [context.memory for context in device.contexts]
    known = [memory for memory in told if memory is not None]
    if len(told) == len(known) and device.memory_used is not None and not device.split:
        hidden = device.memory_used - sum(known)
        if hidden > UNSEEN_MEMORY:
            return f"{hidden >> 20} MiB are held by processes that are not visible from here (another pid namespace?)"
    return ""


def blind(view: View) -> Iterator[Blind]:
    """What R1, R2 and R4 could not judge."""
    for device in view.sample.devices():
        why = why_blind(device)
        if why:
            yield Blind("R1", device.uuid, f"not visible: {why}")
            yield Blind("R4", device.uuid, f"not visible: {why}")
    for device, context, holder in view.held():
        if holder.whose == "unseen":
            yield Blind("R1", device.uuid, f"not visible: process {context.pid} is not in this /proc")
    if view.sample.allocation is None and view.sample.devices():
        yield Blind("R2", "", "unverified: root wrote no allocation map for this job on this node")


def foreign(view: View) -> Iterator[Finding]:
    """R1. Nothing of the process but its pid: its name and command line are its owner's."""
    if view.settings.shared:
        return
    for device, context, holder in view.held():
        allocated = view.is_allocated(device)
        if holder.whose != "foreign" or allocated is False:
            continue
        sure: Confidence = "high" if allocated and holder.by == "cgroup" else "medium" if allocated else "low"
        yield Finding(
            rule="R1",
            key=f"R1:{device.uuid}:{holder.pid}:{holder.start}",
            evidence={
                "whose": "of another job" if holder.by == "cgroup" else "of another account",
                "pid": holder.pid,
                "memory": context.memory if context.memory is not None else "not measurable",
                "allocation": "root's map" if allocated else "unverified",
            },
            confidence=sure,
            threshold=f"seen for {view.settings.foreign_s:g} s (foreign_s)",
            after_s=view.settings.foreign_s,
            device=device.uuid,
            pid=holder.pid,
            action=view.settings.action("R1"),
        )


def cell_of(holder: Holder) -> Mapping[str, str]:
    """For evidence: the cell that made the context (``message`` of its ``cell.executed``), where it is known."""
    return {"cell": holder.cell, "cell known by": holder.cell_by} if holder.cell else {}


def unallocated(view: View) -> Iterator[Finding]:
    """R2. Judged by root's map alone: what the job's own variables say is the user's word."""
    for device, context, holder in view.held():
        if holder.whose == "mine" and view.is_allocated(device) is False:
            yield Finding(
                rule="R2",
                key=f"R2:{device.uuid}:{holder.pid}:{holder.start}",
                evidence={
                    "pid": holder.pid,
                    "memory": context.memory if context.memory is not None else "unknown",
                    **cell_of(holder),
                },
                confidence="high" if holder.by else "medium",
                threshold="one context (allocation map)",
                device=device.uuid,
                kernel=holder.kernel,
                pid=holder.pid,
                action=view.settings.action("R2"),
            )


def leftover(view: View) -> Iterator[Finding]:
    """R4. While the job runs: of a kernel that ended or was restarted. After it (``job_over``): anything at all."""
    for device, context, holder in view.held():
        after_job = view.sample.job_over and holder.whose != "system" and view.is_allocated(device) is not False
        if not (holder.leftover or after_job):
            continue
        wait = 0.0 if after_job else view.settings.leftover_s
        yield Finding(
            rule="R4",
            key=f"R4:{device.uuid}:{holder.pid}:{holder.start}",
            evidence={
                "pid": holder.pid,
                "memory": context.memory if context.memory is not None else "not measurable",
                "of": "the job" if after_job else "a kernel that is gone or was restarted",
                **cell_of(holder),
            },
            confidence="high" if after_job or holder.by in {"tree", "before"} else "medium",
            threshold=f"seen for {wait:g} s (leftover_s)",
            after_s=wait,
            device=device.uuid,
            kernel=holder.kernel,
            pid=holder.pid,
            action=view.settings.action("R4"),
        )
    yield from _memory_left(view)


def _memory_left(view: View) -> Iterator[Finding]:
    """After the job: memory in use on a device of the job that shows no process."""
    for device in view.sample.devices() if view.sample.job_over else ():
        used = device.memory_used
        if (
            used is None or device.split or device.state != "ok" or device.contexts_state != "ok" or device.contexts
            or view.is_allocated(device) is False or used < view.settings.leftover_memory
        ):  # fmt: skip
            continue
        yield Finding(
            rule="R4",
            key=f"R4:{device.uuid}:memory",
            evidence={"memory": used, "of": "no process that is visible"},
            confidence="medium",
            threshold=f"{view.settings.leftover_memory} bytes (leftover_memory)",
            device=device.uuid,
            action=view.settings.action("R4"),
        )


def unexplained(view: View) -> Iterator[Finding]:
    """R6. A context that appeared while its kernel was idle, or that is below no kernel (a terminal, perhaps)."""
    for device, context, holder in view.held():
        if holder.whose != "mine" or holder.leftover or (holder.pid, holder.start) in view.explained:
            continue
        if holder.kernel and holder.kernel not in view.kernels:
            continue
        yield Finding(
            rule="R6",
            key=f"R6:{device.uuid}:{holder.pid}:{holder.start}",
            evidence={
                "pid": holder.pid,
                "memory": context.memory if context.memory is not None else "not measurable",
                "why": "it appeared while its kernel executed nothing" if holder.kernel else "it is below no kernel",
            },
            confidence="low",
            threshold=f"seen for {view.settings.unexplained_s:g} s (unexplained_s), first more than "
            f"{view.settings.cell_grace_s:g} s after a cell's end (cell_grace_s)",
            after_s=view.settings.unexplained_s,
            device=device.uuid,
            kernel=holder.kernel,
            pid=holder.pid,
            action=view.settings.action("R6"),
        )


def posture(view: View) -> Iterator[Finding]:
    """R7. How the driver is set, whether a device is ill, and whether the watch itself is told the truth."""
    for reading in view.sample.readings:
        found: dict[str, tuple[str | int | bool, str, Confidence]] = {}
        if reading.state not in {"ok", "absent"}:
            found["driver"] = (f"{reading.state}: {reading.detail}", "any", "high")
        if reading.posture.profiling_open:
            found["profiling"] = ("performance counters are open to everybody", "RmProfilingAdminOnly: 0", "high")
        if reading.posture.library_trusted is False and not reading.simulated:
            found["library"] = (reading.posture.library or "none", "a library that is not the system's", "high")
        if reading.posture.preloaded and not reading.simulated:
            found["preloaded"] = (" ".join(reading.posture.preloaded[:4]), "any", "high")
        for what, (shown, threshold, sure) in found.items():
            yield _posture(view, f"{reading.source}:{what}", {what: shown}, threshold, sure)
        for device in reading.devices:
            yield from _health(view, device)
    allocation = view.sample.allocation
    whole = {device.uuid for device in view.sample.devices() if not device.parent and device.uuid}
    instances = {
        device.parent for device in view.sample.devices() if device.uuid in (allocation.devices if allocation else ())
    }
    if allocation is not None and (beyond := whole - set(allocation.devices) - instances) and not view.sample.job_over:
        evidence = {"devices beyond the allocation": len(beyond)}
        yield _posture(view, "unconstrained", evidence, "any (ConstrainDevices of cgroup.conf)", "high")


def _health(view: View, device: Device) -> Iterator[Finding]:
    if device.state not in {"ok", "unsupported"}:
        yield _posture(view, "state", {"state": device.state, "detail": device.detail}, "any", "high", device)
    if device.xid is not None:
        yield _posture(view, "xid", {"xid": device.xid}, "any XID (NVIDIA XID catalogue)", "high", device)
    if device.ecc_uncorrected:
        yield _posture(view, "ecc", {"uncorrected": device.ecc_uncorrected}, "one uncorrected error", "high", device)


def _posture(
    view: View,
    what: str,
    evidence: Mapping[str, str | int | bool],
    threshold: str,
    confidence: Confidence,
    device: Device | None = None,
) -> Finding:
    where = (device.uuid or f"index {device.index}") if device else ""
    return Finding(
        rule="R7",
        key=f"R7:{what}:{where}",
        evidence=evidence,
        confidence=confidence,
        threshold=threshold,
        device=device.uuid if device else "",
        action=view.settings.action("R7"),
    )
