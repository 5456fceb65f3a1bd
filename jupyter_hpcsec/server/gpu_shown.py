"""What the session's watch sees, as the gateway is shown it: compared with root's on the node, and counted."""

import os
from collections.abc import Callable

from jupyter_hpcsec.gpu.rules import View, why_blind
from jupyter_hpcsec.gpu.samples import Context, Device, Sample
from jupyter_hpcsec.gpu.settings import Settings
from jupyter_hpcsec.tunnel.messages import Held, Seen

AGAIN_S = 30.0
"""What has not changed is shown so often."""
ROWS_LIMIT, PIDS_LIMIT = 128, 2048


def pid_namespace() -> int:
    """The inode of this process's pid namespace (pid_namespaces(7))."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link of the kernel's, which pathlib would resolve


def seen_of(sample: Sample, idle_s: Callable[[str], float], namespace: int) -> Seen:
    """By device and kernel; what is of this session, and nobody else's."""
    shares: dict[tuple[str, str], list[tuple[Device, Context]]] = {}
    for device, context, holder in View.of(sample, Settings()).held():
        if holder.whose == "mine":
            shares.setdefault((device.uuid, holder.kernel), []).append((device, context))
    held: list[Held] = []
    left = PIDS_LIMIT
    for (uuid, kernel), each in sorted(shares.items())[:ROWS_LIMIT]:
        pids = sorted(context.pid for _, context in each)[: min(128, left)]
        left -= len(pids)
        told = [context.memory for _, context in each]
        known = [memory for memory in told if memory is not None]
        use = [_use(device, context) for device, context in each]
        measured = [percent for percent in use if percent is not None]
        held.append(
            Held(
                device=uuid,
                kernel=kernel,
                pids=pids,
                memory=sum(known) if len(known) == len(told) else None,
                utilisation=min(100, max(measured)) if measured and len(measured) == len(use) else None,
                idle_s=min(1 << 20, int(idle_s(kernel))),
            )
        )
    blind = [device.uuid for device in sample.devices() if why_blind(device)][:128]
    simulated = any(reading.simulated for reading in sample.readings)
    return Seen(held=held, blind=blind, namespace=namespace, simulated=simulated)


def _use(device: Device, context: Context) -> int | None:
    return device.utilisation if context.utilisation is None and len(device.contexts) == 1 else context.utilisation


class Shown:
    """Shows a sample where it differs from what was shown last, or after a while; none while the driver is away."""

    def __init__(self, show: Callable[[Seen], None], idle_s: Callable[[str], float]) -> None:
        self._show, self._idle_s, self._namespace = show, idle_s, pid_namespace()
        self._last: Seen | None = None
        self._at = 0.0

    def __call__(self, sample: Sample) -> None:
        """One sample."""
        if not sample.readings or any(reading.state != "ok" for reading in sample.readings):
            return
        seen = seen_of(sample, self._idle_s, self._namespace)
        if self._last is not None and seen == self._last and 0 <= sample.mono - self._at < AGAIN_S:
            return
        self._last, self._at = seen, sample.mono
        self._show(seen)
