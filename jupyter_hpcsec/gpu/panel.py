"""What a session's owner is shown: devices, kernels, limits, alerts, as plain JSON. Pure.

Of others nothing but how many processes and how much memory: no pid, no name, no account.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from jupyter_hpcsec.gpu.alerts import TITLES
from jupyter_hpcsec.gpu.idle import IdleClock, stage
from jupyter_hpcsec.gpu.judge import Judgement, Memory
from jupyter_hpcsec.gpu.rules import View, why_blind
from jupyter_hpcsec.gpu.samples import Context, Device, Holder, KernelFact, Sample
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings


def panel(
    sample: Sample, memory: Memory, judgement: Judgement, settings: Settings, limits: IdleLimits
) -> dict[str, Any]:
    """The whole answer of ``GET /hpcsec/api/gpu``. None stands for *not measurable*."""
    view = View.of(sample, settings)
    held = [(device, context, holder) for device, context, holder in view.held() if holder.whose == "mine"]
    states = [reading.state for reading in sample.readings]
    return {
        "state": next((state for state in states if state != "ok"), "ok" if states else "none"),
        "detail": next((reading.detail for reading in sample.readings if reading.detail), ""),
        "simulated": any(reading.simulated for reading in sample.readings),
        "verified": sample.allocation is not None,
        "time": sample.time,
        "driver": next((reading.driver for reading in sample.readings if reading.driver), ""),
        "devices": [_device(view, device) for device in sample.devices()],
        "kernels": [
            _kernel(kernel, [one for one in held if one[2].kernel == kernel.id], memory.clocks.get(kernel.id), limits)
            for kernel in sample.kernels
        ],
        "elsewhere": [
            {"kernel": holder.kernel, "pid": holder.pid, "name": holder.name, "leftover": holder.leftover,
             "by": holder.by, "device": device.uuid, "memory": context.memory}
            for device, context, holder in held
            if holder.leftover or holder.kernel not in view.kernels
        ],
        "limits": {
            "first_warning_s": limits.first_warning * 60, "second_warning_s": limits.second_warning * 60,
            "end_s": limits.end * 60 or None, "extend_by_s": limits.extend_by * 60,
            "extend_in_all_s": limits.extend_in_all * 60, "action": settings.action("R3"),
        },
        "alerts": [
            {"rule": finding.rule, "title": TITLES[finding.rule], "confidence": finding.confidence,
             "device": finding.device, "kernel": finding.kernel, "threshold": finding.threshold,
             "action": finding.action, "evidence": _evidence(finding.rule, finding.evidence)}
            for finding in judgement.standing
        ],
        "blind": [{"rule": each.rule, "device": each.device, "why": each.why} for each in judgement.blind],
    }  # fmt: skip


def _evidence(rule: str, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """A foreign process's pid is for the record, not for a neighbour."""
    return {name: value for name, value in evidence.items() if rule != "R1" or name != "pid"}


def _device(view: View, device: Device) -> dict[str, Any]:
    others = [context for context in device.contexts if view.holders.get(context.pid, Holder(pid=0)).whose != "mine"]
    return {
        "uuid": device.uuid, "index": device.index, "name": device.name, "parent": device.parent or None,
        "state": device.state, "detail": device.detail, "not_visible": why_blind(device) or None,
        "allocated": view.is_allocated(device), "memory_total": device.memory_total, "memory_used": device.memory_used,
        "utilisation": device.utilisation, "power_mw": device.power_mw, "power_limit_mw": device.power_limit_mw,
        "clock_mhz": device.clock_mhz, "xid": device.xid, "ecc_uncorrected": device.ecc_uncorrected,
        "others": {"processes": len(others), "memory": total(others)},
    }  # fmt: skip


def total(contexts: Iterable[Context]) -> int | None:
    """Bytes; None when any of them is not told."""
    told = [context.memory for context in contexts]
    return None if None in told else sum(memory for memory in told if memory is not None)


def _kernel(
    kernel: KernelFact, held: list[tuple[Device, Context, Holder]], clock: IdleClock | None, limits: IdleLimits
) -> dict[str, Any]:
    held = [each for each in held if not each[2].leftover]
    at, left_s = stage(clock, kernel, limits) if clock is not None else (0, float("inf"))
    use = [context.utilisation for _, context, _ in held if context.utilisation is not None]
    devices = {device.uuid: [each[1:] for each in held if each[0].uuid == device.uuid] for device, _, _ in held}
    return {
        "id": kernel.id, "notebook": kernel.path, "busy": kernel.busy,
        "devices": [
            {"uuid": uuid, "memory": total(context for context, _ in own), "processes": len(own),
             "cells": [{"message": cell, "known_by": by} for cell, by in
                       dict.fromkeys((holder.cell, holder.cell_by) for _, holder in own) if cell]}
            for uuid, own in devices.items()
        ],
        "memory": total(context for _, context, _ in held),
        "utilisation": max(use) if use else (None if held else 0),
        "idle_s": int(clock.idle_s) if clock is not None else 0,
        "measured": clock.measured if clock is not None else None,
        "stage": at,
        "left_s": int(left_s) if left_s != float("inf") else None,
        "kept_s": int(kernel.kept_s),
        "may_keep_s": max(0, int(limits.extend_in_all * 60 - kernel.kept_s)) if limits.end else 0,
    }  # fmt: skip
