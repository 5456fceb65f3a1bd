"""The metrics: what is counted is shown, no name is, and dashboard and alerts ask for nothing that is not there."""

import asyncio
import json
import logging
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.log import Health
from jupyter_hpcsec.audit.sinks import cursor as cursors
from jupyter_hpcsec.audit.sinks.lag import SinkState
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.gateway_service import load_settings, serve
from jupyter_hpcsec.hub.gpuviews import GpuFacts, Line
from jupyter_hpcsec.hub.metrics import Metrics
from jupyter_hpcsec.ops.ports import claim_any
from jupyter_hpcsec.tunnel.admin import AdminClient
from jupyter_hpcsec.tunnel.metricsport import fetch
from jupyter_hpcsec.tunnel.session import State
from tests.hub.test_gateway_service import config_file

FILES = Path(__file__).parents[2] / "hub_config"
TOTALS = Counter(lanes=5, idle_lanes=2, waiting=1, streams=40, bytes_from_node=1 << 40, bytes_to_node=7, connected=3)
GPUS = GpuFacts(helpers={"silent": 1}, kernels={"idle": 1}, lines=(Line("a" * 12, "b" * 8, "GPU-0", 1, 2, 3),))
MADE_BY_PROMETHEUS = {"up"}


class Sessions:
    def states(self) -> Counter[State]:
        return Counter({State.READY: 3, State.AWAY: 1})

    def totals(self) -> Counter[str]:
        return TOTALS


class Port:
    def __init__(self) -> None:
        self.handshakes, self.enrolments = Counter(done=9, failed=2), Counter(done=4)


def metrics(refusals: dict[str, int] | None = None, sinks: Any = None, why: str = "") -> Metrics:
    return Metrics(
        Sessions(),
        Port(),
        refusals=lambda: refusals or {"port.rate": 3, "token.expired": 1},
        health=lambda: Health(durable=120, published=100, why=why, lost=6),
        sinks=sinks or (lambda: [SinkState("siem", 90, 30, 12.5, 2, 1, "no route to host")]),
        gpu=lambda: GPUS,
    )


def samples(page: bytes) -> dict[tuple[str, str], float]:
    """(name, value of its one label) -> value."""
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_what_is_counted_is_shown() -> None:
    found = samples(await metrics().render())
    assert found["hpcsec_sessions", "ready"] == 3
    assert found["hpcsec_sessions", "waiting"] == 0
    assert ("hpcsec_sessions", "ended") not in found
    assert found["hpcsec_bytes_total", "from_node"] == 1 << 40
    assert (found["hpcsec_lanes", ""], found["hpcsec_lanes_idle", ""]) == (5, 2)
    assert found["hpcsec_refusals_total", "port.rate"] == 3
    assert (found["hpcsec_handshakes_total", "done"], found["hpcsec_handshakes_total", "failed"]) == (9, 2)
    assert (found["hpcsec_enrolments_total", "done"], found["hpcsec_enrolments_total", "refused"]) == (4, 0)
    assert (found["hpcsec_audit_durable_events", ""], found["hpcsec_audit_unpublished_events", ""]) == (120, 20)
    assert (found["hpcsec_audit_writable", ""], found["hpcsec_audit_lost_events_total", ""]) == (1, 6)
    assert (found["hpcsec_sink_lag_events", "siem"], found["hpcsec_sink_lag_seconds", "siem"]) == (30, 12.5)
    assert (found["hpcsec_sink_failing", "siem"], found["hpcsec_sink_rejected_events_total", "siem"]) == (1, 2)
    assert found["hpcsec_sink_missed_events_total", "siem"] == 1
    assert found["process_open_fds", ""] > 3


async def test_a_record_that_fails_and_sinks_that_can_not_be_read() -> None:
    def unreadable() -> list[SinkState]:
        raise Malformed("siem.cursor can't be read")

    found = samples(await metrics(sinks=unreadable, why="No space left on device").render())
    assert (found["hpcsec_audit_writable", ""], found["hpcsec_sinks_readable", ""]) == (0, 0)
    assert not [name for name, _ in found if name.startswith("hpcsec_sink_")]


@pytest.mark.parametrize("name", ["alice", "Alice Smith", 'x"} 1\n', "a" * 65, "../x", "port.rate\n", ""])
async def test_what_is_no_rules_name_is_counted_as_other(name: str) -> None:
    found = samples(await metrics(refusals={name: 2, f"{name}.": 1, "port.rate": 1}).render())
    if name != "alice":  # one word could be a rule
        assert ("hpcsec_refusals_total", name) not in found
    assert found["hpcsec_refusals_total", "other"] >= 1
    assert found["hpcsec_refusals_total", "port.rate"] == 1


def names_in(expression: str) -> set[str]:
    without_labels = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", "", expression)
    words = set(re.findall(r"[a-z_][a-z0-9_]*", without_labels))
    return words - {"rate", "increase", "sum", "topk", "label_values", "job", "instance"}


def expressions() -> list[str]:
    dashboard = json.loads((FILES / "grafana" / "hpcsec.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    rules = YAML(typ="safe").load(FILES / "prometheus" / "hpcsec-rules.yaml")
    return asked + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


async def test_dashboard_and_alerts_ask_for_what_is_there() -> None:
    exported = {name for name, _ in samples(await metrics().render())} | MADE_BY_PROMETHEUS
    for expression in expressions():
        assert names_in(expression) <= exported, expression
    assert len(expressions()) > 25
    assert not names_in("rate(hpcsec_nothing_total[5m])") <= exported


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((FILES / "grafana" / "hpcsec.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
        overlapping = [
            other
            for other in places
            if other is not place
            and place["x"] < other["x"] + other["w"]
            and other["x"] < place["x"] + place["w"]
            and place["y"] < other["y"] + other["h"]
            and other["y"] < place["y"] + place["h"]
        ]
        assert not overlapping


async def test_two_at_once() -> None:
    made = metrics()
    pages = await asyncio.gather(*(made.render() for _ in range(4)))
    assert all(samples(page)["hpcsec_lanes", ""] == 5 for page in pages)


async def test_a_gateway_serves_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("g")
    with claim_any() as claim:
        line = f"c.HpcsecGateway.metrics_listen = '127.0.0.1:{claim.port}'\n"
        settings = load_settings(config_file(directory, line))
        ready = asyncio.Event()
        serving = asyncio.create_task(serve(settings, logging.getLogger("test.metrics"), ready=ready))
        try:
            await asyncio.wait_for(ready.wait(), 60)
            admin = AdminClient(settings.admin_socket)
            launch = {"argv": ["x"], "env": {}, "base_url": "/"}
            person = {"user": "alice-the-user", "server": "", "uid": 1, "home": "/home/alice-the-user"}
            await admin.register(**person, lifetime_s=60, launch=launch)
            files.make_directory(settings.forward)
            cursors.save(cursors.path_of(settings.forward, "siem"), cursors.Cursor(log="of another record", error="no"))
            page = await fetch(settings.admin_socket)
            async with httpx.AsyncClient() as client:
                by_tcp = await client.get(f"http://127.0.0.1:{claim.port}/metrics")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(serving, 60)
    found = samples(page.encode())
    assert found["hpcsec_sessions", "waiting"] == 1
    assert found["hpcsec_audit_durable_events", ""] >= 1
    assert found["hpcsec_sink_lag_events", "siem"] >= found["hpcsec_audit_durable_events", ""] - 1
    assert found["hpcsec_sink_failing", "siem"] == 1
    assert "alice-the-user" not in page
    assert {name for name, _ in samples(by_tcp.content)} == {name for name, _ in found}
