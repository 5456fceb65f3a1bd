"""What root's prolog and epilog work out on the node: which GPUs slurmd gave to a job, what is left after it. Pure.

Slurm's numbers (``SLURM_JOB_GPUS``) count its own GPUs, in PCI order or in that of the device files, as gres.conf
has it (gres_common.c, ``gres_common_prep_set_env``). Where the two orders differ, the site has to say which it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.gpu.rules import View, leftover, posture, why_blind
from jupyter_hpcsec.gpu.samples import Allocation, Device, Holder, Process, Reading, Sample, Scan, Whose
from jupyter_hpcsec.gpu.sessions import SYSTEM_UIDS
from jupyter_hpcsec.gpu.settings import Settings

Numbers = Literal["pci", "minor"]
What = Literal["processes", "memory", "device", "posture", "blind"]
WHATS: tuple[What, ...] = ("processes", "memory", "device", "posture", "blind")
VARIABLES = ("SLURM_JOB_GPUS", "GPU_DEVICE_ORDINAL")
"""By slurmd, in the prolog and the epilog; the second is what older versions set. Source: Slurm's prolog guide."""
GIVEN_LIMIT = 4096
_GIVEN = re.compile(r"[0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]{1,90}")


class Left(Struct, frozen=True):
    """One finding of the epilog."""

    what: What
    says: str


def job_of(environment: Mapping[str, str]) -> str:
    """The job's id; ``Malformed`` where slurmd did not start this."""
    job = environment.get("SLURM_JOB_ID", "")
    if not re.fullmatch(r"[0-9]{1,20}", job):
        raise Malformed("SLURM_JOB_ID is missing or no job id: this is for slurmd to start, as Prolog or Epilog.")
    return job


def uid_of(environment: Mapping[str, str]) -> int:
    """The account whose job it is, -1 where slurmd does not say."""
    told = environment.get("SLURM_JOB_UID", "")
    return int(told) if re.fullmatch(r"[0-9]{1,10}", told) else -1


def given(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What slurmd says of the job's GPUs: numbers or UUIDs; empty for a job without any."""
    text = next((found for name in VARIABLES if (found := environment.get(name, ""))), "")
    words = tuple(text.split(",")) if text else ()
    if len(text) > GIVEN_LIMIT or not all(_GIVEN.fullmatch(word) for word in words) or len(set(words)) < len(words):
        raise Malformed("slurmd's list of the job's GPUs is not one of numbers or UUIDs.")
    return words


def allocated(words: Sequence[str], readings: Sequence[Reading], numbers: Numbers | None = None) -> tuple[str, ...]:
    """The UUIDs of what slurmd gave. Refuses to guess; what the driver does not show is ``Unavailable``."""
    if not words:
        return ()
    whole = [device for reading in readings if reading.source == "nvidia" for device in reading.devices]
    known = {device.uuid for device in whole if device.uuid}
    gpus = [device for device in whole if not device.parent]
    by_pci = {device.index: device for device in gpus}
    by_minor = {device.minor: device for device in gpus if device.minor is not None}
    found = []
    for word in words:
        if not word.isdecimal():
            if word not in known:
                raise Unavailable(f"slurmd gave {word} to the job, and the driver does not show it.")
            found.append(word)
            continue
        pci, minor = by_pci.get(int(word)), by_minor.get(int(word))
        if numbers is None and pci != minor:
            raise Refused("gpu.numbers", f"number {word} is one GPU in PCI order and another, or none, by device file; "
                          "say which gres.conf means: --numbers pci or --numbers minor")  # fmt: skip
        found.append(_whole(word, minor if numbers == "minor" else pci))
    return tuple(found)


def _whole(word: str, device: Device | None) -> str:
    if device is None or not device.uuid:
        raise Unavailable(f"slurmd gave GPU {word} to the job, and the driver does not show it.")
    if device.split:
        raise Refused("gpu.numbers", f"GPU {word} is in MIG mode, and its number says nothing of instances")
    return device.uuid


def unseen(readings: Sequence[Reading]) -> str:
    """Why the node's GPUs can't be judged at all; empty when they can."""
    if not readings or not any(reading.devices for reading in readings):
        told = next((f"{reading.state}: {reading.detail}" for reading in readings if reading.state != "ok"), "no GPU")
        return f"the driver shows none ({told})"
    return ""


class Expected(Struct, frozen=True, kw_only=True):
    """How the site sets its GPUs; what is None is not looked at. ``compute_mode`` is NVML's number."""

    persistence: bool | None = None
    compute_mode: int | None = None


def after(
    scan: Scan, allocation: Allocation, shared: frozenset[str], settings: Settings, expected: Expected
) -> tuple[Left, ...]:
    """What the job left on GPUs, and how the node stands. ``shared``: devices that other jobs hold, too.

    On a device that is shared, or was never the job's, only what is in the job's own cgroup is its.
    """
    own = [device for device in _devices(scan) if {device.uuid, device.parent} - {""} & set(allocation.devices)]
    alone = {device.uuid for device in own} - shared
    missing = set(allocation.devices) - {device.uuid for device in own}
    holders = {process.pid: _holder(process, allocation.job) for process in scan.processes}
    found = [Left("device", f"{uuid} was the job's and is not there any more") for uuid in sorted(missing)]
    found += [Left("blind", f"{device.uuid}: {why}") for device in own if (why := why_blind(device))]
    found += [
        Left("processes", f"process {context.pid} of the job is still on {device.uuid}, which was not the job's alone")
        for device in _devices(scan)
        if device.uuid not in alone and not device.split
        for context in device.contexts
        if (holder := holders.get(context.pid)) is not None and holder.by == "cgroup"
    ]
    sample = Sample(
        time=scan.time, mono=scan.mono, readings=scan.readings, holders=tuple(holders.values()), job_over=True,
        allocation=Allocation(job=allocation.job, devices=tuple(sorted(alone))),
    )  # fmt: skip
    view = View.of(sample, settings)
    for finding in leftover(view):
        if finding.pid:
            found.append(Left("processes", f"process {finding.pid} is still on {finding.device}"))
        else:
            memory = finding.evidence["memory"]
            found.append(Left("memory", f"{memory} bytes are in use on {finding.device} by no process that is seen"))
    for finding in posture(view):
        shown = ", ".join(f"{name}: {value}" for name, value in finding.evidence.items())
        found.append(Left("device" if finding.device else "posture", f"{finding.device} {shown}".strip()))
    return (*found, *_settings(scan, own, expected))


def _settings(scan: Scan, own: Sequence[Device], expected: Expected) -> Iterator[Left]:
    """What is not set as the site sets it; not told is not as expected."""
    for reading in scan.readings:
        is_set = reading.posture.persistence
        if expected.persistence is not None and is_set is not expected.persistence:
            yield Left("posture", f"persistence mode is {'not told' if is_set is None else 'on' if is_set else 'off'}")
    for device in own:
        if expected.compute_mode is not None and not device.parent and device.compute_mode != expected.compute_mode:
            yield Left("posture", f"{device.uuid} is in compute mode {device.compute_mode}")


def _devices(scan: Scan) -> list[Device]:
    return [device for reading in scan.readings for device in reading.devices]


def _holder(process: Process, job: str) -> Holder:
    """``by`` is ``cgroup`` where the job's own cgroup holds it."""
    mine = process.cgroup.endswith(f"/job_{job}")
    system = 0 <= process.uid < SYSTEM_UIDS and not mine
    whose: Whose = "system" if system else "unseen" if process.uid < 0 else "foreign"
    return Holder(pid=process.pid, start=process.start, whose=whose, by="cgroup" if mine else "")
