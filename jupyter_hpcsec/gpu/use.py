"""Device-seconds that each kernel used, held idle, or that can't be told. Pure; the sums go to the record.

A device that several processes share is divided between them; where use can't be measured (MIG) it is *unknown*.
"""

from collections.abc import Mapping

from msgspec import Struct

from jupyter_hpcsec.gpu.rules import View, why_blind
from jupyter_hpcsec.gpu.samples import Context, Device


class Use(Struct, frozen=True):
    """Of one kernel since the last report. ``memory``: the most that it held at once, bytes."""

    span_s: float = 0.0
    used_s: float = 0.0
    held_s: float = 0.0
    unknown_s: float = 0.0
    memory: int = 0


def add(view: View, sums: Mapping[str, Use], seen_s: float) -> dict[str, Use]:
    """The sums after ``seen_s`` more seconds of what this sample shows."""
    found = dict(sums)
    shares: dict[str, list[tuple[Device, Context]]] = {}
    for device, context, holder in view.held():
        if holder.whose == "mine" and not holder.leftover:
            shares.setdefault(holder.kernel, []).append((device, context))
    for kernel, held in shares.items():
        before = found.get(kernel, Use())
        used = unknown = total = 0.0
        for device, context in held:
            part = seen_s / len(device.contexts)
            use = context.utilisation
            if use is None and len(device.contexts) == 1:
                use = device.utilisation
            total += part
            if use is None or why_blind(device):
                unknown += part
            elif use >= view.settings.idle_utilisation:
                used += part
        found[kernel] = Use(
            before.span_s + seen_s,
            before.used_s + used,
            before.held_s + total - used - unknown,
            before.unknown_s + unknown,
            max(before.memory, sum(context.memory or 0 for _, context in held)),
        )
    return found
