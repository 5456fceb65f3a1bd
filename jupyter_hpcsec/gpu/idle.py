"""R3: GPU memory that a kernel holds while it does nothing. Pure: clocks in, clocks and findings out.

A kernel's idle clock runs while its processes hold memory, use no GPU, and it executes nothing. Only time that was seen
counts: not while the driver or the kernel's state is away, not across a gap between samples. Any activity sets it back.
Where use can't be measured (MIG) the kernel's own idleness decides, and nobody is shut down for it.
"""

from collections.abc import Mapping

from msgspec import Struct

from jupyter_hpcsec.gpu.alerts import Finding
from jupyter_hpcsec.gpu.rules import View
from jupyter_hpcsec.gpu.samples import Context, Device, KernelFact
from jupyter_hpcsec.gpu.settings import IdleLimits

MINUTE_S = 60


class IdleClock(Struct, frozen=True):
    """Of one kernel: seconds idle, what it last was seen doing, and whether its use could be measured throughout."""

    idle_s: float
    mark: tuple[float, str]
    measured: bool = True


def advance(view: View, clocks: Mapping[str, IdleClock], seen_s: float) -> dict[str, IdleClock]:
    """The clocks after this sample; ``seen_s`` is the time that passed under the watch's eyes since the last one."""
    blind = any(reading.state != "ok" for reading in view.sample.readings) or not view.sample.readings
    held = _held(view)
    blind = blind or any(device.contexts_state != "ok" for device in view.sample.devices() if not device.split)
    fresh: dict[str, IdleClock] = {}
    for kernel in view.kernels.values():
        before = clocks.get(kernel.id)
        contexts = held.get(kernel.id, [])
        mark = (kernel.since, kernel.cell)
        if kernel.busy is None or (blind and not contexts):
            if before is not None:  # neither idle nor active: not known
                fresh[kernel.id] = before
            continue
        if sum(context.memory or 0 for _, context in contexts) < view.settings.idle_memory and not any(
            context.memory is None for _, context in contexts
        ):
            continue  # it holds nothing
        use = [_use(device, context) for device, context in contexts]
        active = kernel.busy or any(each is not None and each >= view.settings.idle_utilisation for each in use)
        measured = None not in use
        if before is None or active or before.mark != mark:
            fresh[kernel.id] = IdleClock(0.0, mark, measured)
        else:
            fresh[kernel.id] = IdleClock(before.idle_s + seen_s, mark, measured and before.measured)
    return fresh


def _held(view: View) -> dict[str, list[tuple[Device, Context]]]:
    held: dict[str, list[tuple[Device, Context]]] = {}
    for device, context, holder in view.held():
        if holder.whose == "mine" and holder.kernel and not holder.leftover:
            held.setdefault(holder.kernel, []).append((device, context))
    return held


def _use(device: Device, context: Context) -> int | None:
    """Percent; a device that is idle as a whole is idle for each of its contexts. None: not measurable."""
    if context.utilisation is not None:
        return context.utilisation
    if device.utilisation == 0 or len(device.contexts) == 1:
        return device.utilisation
    return None


def stage(clock: IdleClock, kernel: KernelFact, limits: IdleLimits) -> tuple[int, float]:
    """(0: fine, 1 and 2: the warnings, 3: the limit; seconds left until the limit, infinite where there is none)."""
    idle = max(0.0, clock.idle_s - kernel.kept_s)
    if not limits.end:
        return 0, float("inf")
    steps = (limits.first_warning, limits.second_warning, limits.end)
    return sum(idle >= minutes * MINUTE_S for minutes in steps), limits.end * MINUTE_S - idle


def findings(view: View, clocks: Mapping[str, IdleClock], limits: IdleLimits) -> list[Finding]:
    """One for each kernel that is past a warning."""
    found = []
    for kernel_id, clock in clocks.items():
        kernel = view.kernels[kernel_id]
        at, left_s = stage(clock, kernel, limits)
        if not at:
            continue
        over = at == 3 and clock.measured
        found.append(
            Finding(
                rule="R3",
                key=f"R3:{kernel_id}:{at}",
                evidence={
                    "idle minutes": int(clock.idle_s // MINUTE_S),
                    "minutes left": max(0, int(left_s // MINUTE_S)),
                    "notebook": kernel.path,
                    "use": "measured" if clock.measured else "not measurable",
                },
                confidence="high" if clock.measured else "medium",
                threshold=f"{limits.first_warning}, {limits.second_warning} and {limits.end} minutes (idle)",
                kernel=kernel_id,
                action=view.settings.action("R3") if over else "notify",
            )
        )
    return found
