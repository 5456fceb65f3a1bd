"""The gateway's metrics for Prometheus: read from counters that are there anyway, when somebody asks.

No label holds a name of a user, a session, a job or a host. Names of rules are the code's own, and are checked all the
same: what is not in the form of one counts as ``other``.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from jupyter_hpcsec import __version__
from jupyter_hpcsec.audit.log import Health
from jupyter_hpcsec.audit.sinks.lag import SinkState
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.gpumetrics import gpu_metrics
from jupyter_hpcsec.hub.gpuviews import NO_GPUS, GpuFacts
from jupyter_hpcsec.tunnel.limits import OTHER
from jupyter_hpcsec.tunnel.session import State

_RULE = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*")
RULE_LIMIT = 64


class Sessions(Protocol):
    """What is asked of the registry."""

    def states(self) -> Counter[State]:
        """Sessions by state."""

    def totals(self) -> Counter[str]:
        """Sums over all sessions."""


class Port(Protocol):
    """What is asked of the gateway."""

    @property
    def handshakes(self) -> Counter[str]:
        """By outcome."""

    enrolments: Counter[str]


@dataclass(frozen=True)
class Facts:
    """What a page is made of; ``sinks`` is None where how far they are can't be read."""

    states: Mapping[State, int]
    totals: Mapping[str, int]
    refusals: Mapping[str, int]
    handshakes: Mapping[str, int]
    enrolments: Mapping[str, int]
    health: Health
    sinks: list[SinkState] | None
    gpu: GpuFacts = NO_GPUS


class Page(Collector):
    """The metrics of one moment."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """All families, those without a value too."""
        yield _gauge("build_info", "The gateway's version.", {__version__: 1}, "version")
        yield from self._sessions()
        yield from self._port()
        yield from self._record()
        yield from self._sinks()
        yield from gpu_metrics(self._facts.gpu)

    def _sessions(self) -> Iterable[Metric]:
        states, totals = self._facts.states, self._facts.totals
        alive = {state.value: states.get(state, 0) for state in State if state is not State.ENDED}
        yield _gauge("sessions", "Sessions that have not ended, by state.", alive, "state")
        yield _gauge("sessions_connected", "Sessions whose agent is connected.", {"": totals["connected"]})
        yield _gauge("lanes", "Lanes, busy and idle.", {"": totals["lanes"]})
        yield _gauge("lanes_idle", "Lanes that wait for a stream.", {"": totals["idle_lanes"]})
        yield _gauge("connections_waiting", "Connections that wait for a lane.", {"": totals["waiting"]})
        yield _counter("streams", "Connections to sessions' sockets.", {"": totals["streams"]})
        bytes_each_way = {"from_node": totals["bytes_from_node"], "to_node": totals["bytes_to_node"]}
        yield _counter("bytes", "Bytes that passed the lanes.", bytes_each_way, "direction")

    def _port(self) -> Iterable[Metric]:
        refusals: Counter[str] = Counter()
        for rule, count in self._facts.refusals.items():
            is_rule = len(rule) <= RULE_LIMIT and _RULE.fullmatch(rule)
            refusals[rule if is_rule else OTHER] += count
        yield _counter("refusals", "What was refused, by rule.", refusals, "rule")
        for name, help_text, counts, results in (
            ("handshakes", "TLS handshakes that were begun.", self._facts.handshakes, ("done", "failed")),
            ("enrolments", "Enrolments of jobs.", self._facts.enrolments, ("done", "refused")),
        ):
            yield _counter(name, help_text, {result: counts.get(result, 0) for result in results}, "result")

    def _record(self) -> Iterable[Metric]:
        health = self._facts.health
        yield _gauge("audit_writable", "1 where the audit record can be written.", {"": int(not health.why)})
        yield _gauge("audit_durable_events", "Events in the record, on disk.", {"": health.durable})
        yield _gauge("audit_published_events", "Events under a checkpoint.", {"": health.published})
        behind = max(0, health.durable - health.published)
        yield _gauge("audit_unpublished_events", "Events that wait for a checkpoint.", {"": behind})
        yield _counter("audit_lost_events", "Events that could not be recorded.", {"": health.lost})

    def _sinks(self) -> Iterable[Metric]:
        sinks = self._facts.sinks
        yield _gauge("sinks_readable", "1 where how far the sinks are can be read.", {"": int(sinks is not None)})
        each = sinks or []
        label = "sink"
        waiting = {sink.name: sink.lag for sink in each}
        yield _gauge("sink_lag_events", "Events that the sink has not acknowledged.", waiting, label)
        oldest = {sink.name: sink.lag_s for sink in each}
        yield _gauge("sink_lag_seconds", "Age of the oldest of them.", oldest, label)
        failing = {sink.name: int(bool(sink.error)) for sink in each}
        yield _gauge("sink_failing", "1 where the sink can't go on.", failing, label)
        rejected = {sink.name: sink.rejected for sink in each}
        yield _counter("sink_rejected_events", "Events that the receiver will never take.", rejected, label)
        missed = {sink.name: sink.missed for sink in each}
        yield _counter("sink_missed_events", "Events that were removed before they were sent.", missed, label)


Values = Mapping[str, float]
"""By the value of the one label, or alone under an empty name."""


def _gauge(name: str, help_text: str, values: Values, label: str = "") -> Metric:
    made = GaugeMetricFamily(f"hpcsec_{name}", help_text, labels=[label] if label else [])
    for name_of, value in values.items():
        made.add_metric([name_of] if label else [], value)
    return made


def _counter(name: str, help_text: str, values: Values, label: str = "") -> Metric:
    made = CounterMetricFamily(f"hpcsec_{name}", help_text, labels=[label] if label else [])
    for name_of, value in values.items():
        made.add_metric([name_of] if label else [], value)
    return made


class Metrics:
    """Makes the page. ``sinks()`` reads files and runs in a thread; all else is read in the event loop."""

    def __init__(
        self,
        sessions: Sessions,
        port: Port,
        *,
        refusals: Callable[[], Mapping[str, int]],
        health: Callable[[], Health],
        sinks: Callable[[], list[SinkState]],
        gpu: Callable[[], GpuFacts] = GpuFacts,
    ) -> None:
        self._gpu = gpu
        self._sessions, self._port, self._refusals, self._health = sessions, port, refusals, health
        self._sinks = sinks
        self._process = ProcessCollector(registry=None)

    async def render(self) -> bytes:
        """The page in Prometheus's text format."""
        states, totals, refusals = self._sessions.states(), self._sessions.totals(), self._refusals()
        handshakes, enrolments = Counter(self._port.handshakes), Counter(self._port.enrolments)
        health, gpu = self._health(), self._gpu()

        def finish() -> bytes:
            registry = CollectorRegistry()
            registry.register(self._process)
            sinks = self._read_sinks()
            registry.register(Page(Facts(states, totals, refusals, handshakes, enrolments, health, sinks, gpu)))
            return generate_latest(registry)

        return await asyncio.to_thread(finish)

    def _read_sinks(self) -> list[SinkState] | None:
        try:
            return self._sinks()
        except HpcsecError:  # said by ``hpcsec audit sinks``; here it is a metric
            return None
