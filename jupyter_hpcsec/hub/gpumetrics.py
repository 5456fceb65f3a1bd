"""Metrics of GPUs: sums over all sessions, of helpers on nodes, and, where a site wants them, kernel by kernel.

No label holds a name. Kernel by kernel there are parts of the ids of session and kernel, and devices; so many at most.
"""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from jupyter_hpcsec.hub.gpuviews import GpuFacts

LABELS = ("session", "kernel", "device")


def gpu_metrics(facts: GpuFacts) -> Iterable[Metric]:
    """All families, those without a value too."""
    yield _one("sessions", "Sessions whose watch shows that they hold something on GPUs, or could.", facts.sessions)
    yield _one("devices_held", "GPUs and MIG instances on which sessions hold memory.", facts.devices)
    yield _one("memory_held_bytes", "GPU memory that sessions hold.", facts.memory)
    yield _by("kernels", "Kernels on devices, by what they do there: used, idle, unknown.", facts.kernels, "use")
    yield _by(
        "node_helpers", "Nodes whose root's watch was heard: connected, away; silent of both.", facts.helpers, "state"
    )
    yield _one("disagreements", "Devices on which a session's watch and root's disagree now.", facts.standing)
    total = CounterMetricFamily(
        "hpcsec_gpu_disagreement_events", "Disagreements that began or ended.", labels=["state"]
    )
    for state in ("raised", "cleared"):
        total.add_metric([state], facts.disagreements.get(state, 0))
    yield total
    yield from _each(facts)


def _each(facts: GpuFacts) -> Iterable[Metric]:
    memory = GaugeMetricFamily("hpcsec_gpu_kernel_memory_bytes", "Held by a kernel on a device.", labels=LABELS)
    use = GaugeMetricFamily("hpcsec_gpu_kernel_utilisation_percent", "Of a device, by a kernel.", labels=LABELS)
    idle = GaugeMetricFamily("hpcsec_gpu_kernel_idle_seconds", "For how long a kernel holds it idle.", labels=LABELS)
    for line in facts.lines:
        labels = [line.session, line.kernel, line.device]
        if line.memory is not None:
            memory.add_metric(labels, line.memory)
        if line.utilisation is not None:
            use.add_metric(labels, line.utilisation)
        idle.add_metric(labels, line.idle_s)
    yield from (memory, use, idle)
    yield _one("kernels_left_out", "Kernels on devices that are not listed: there are too many.", facts.left_out)


def _one(name: str, help_text: str, value: float) -> Metric:
    made = GaugeMetricFamily(f"hpcsec_gpu_{name}", help_text)
    made.add_metric([], value)
    return made


def _by(name: str, help_text: str, values: Mapping[str, int], label: str) -> Metric:
    made = GaugeMetricFamily(f"hpcsec_gpu_{name}", help_text, labels=[label])
    for key, value in values.items():
        made.add_metric([key], value)
    return made
