"""What the gateway does is on record, with whose session it was; without a record nothing new begins."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.connections import ConnectionRefused, LaneOpened
from jupyter_hpcsec.audit.kinds.gateway import AdminRefused
from jupyter_hpcsec.audit.kinds.gpu import GpuUse
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.log import Log
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.verify import verify
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.auditor import REFUSALS_AT_ONCE, Auditor
from jupyter_hpcsec.tunnel.messages import Account
from jupyter_hpcsec.tunnel.session import Session
from tests.hub.deployment import ACCOUNT, Deployment

ORIGIN = "test.hpcsec.internal/audit"


class Record:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = Log(directory / "audit", origin=ORIGIN, second_place=directory / "checkpoints", checkpoint_s=0.05)
        self.layout = Layout(directory / "audit")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(leaf) for _, leaf in Reader(self.layout, self.log.verifier).durable(0)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["kind"] == kind]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record(tmp_path)
    yield record
    record.log.close()
    assert verify(record.layout, second_place=tmp_path / "checkpoints").findings == []


@pytest.fixture
async def deployment(record: Record, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("g"))
    deployment.observer = Auditor(record.log, session=lambda known: deployment.store.get(known), clock=time.monotonic)
    await deployment.start()
    yield deployment
    await deployment.stop()


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_refused_enrolment_then_a_session_from_its_registration_to_its_end(
    deployment: Deployment, record: Record
) -> None:
    registration = await deployment.register()
    stranger = deployment.make_agent(registration)
    with pytest.raises(Refused):
        await stranger.enrol(token="not.a.token", job_id="41", node="node\n1", evidence={}, account=ACCOUNT)
    await until(lambda: record.of("enrolment.refused"))
    (refused,) = record.of("enrolment.refused")
    assert refused["decision"] == "refused"
    assert refused["rule"].startswith("token.")
    assert refused["source"] == "127.0.0.1"
    assert refused["node"] == "node\ufffd1"
    async with deployment.running_agent(registration):
        await until(lambda: record.of("lane.opened"))
    await deployment.client.end(registration.session, "enough\u202e")
    await until(lambda: record.of("session.ended"))
    ours = [event for event in record.events() if event.get("session") == registration.session]
    kinds = [event["kind"] for event in ours]
    assert kinds[:3] == ["session.registered", "session.bound", "session.enrolled"]
    assert {"session.state", "lane.opened", "lane.closed", "admin.called", "session.ended"} <= set(kinds)
    assert all(event["subject"]["user"] == "alice" for event in ours)
    enrolled = ours[2]
    assert (enrolled["job"], enrolled["node"], enrolled["source"]) == ("41", "node1", "127.0.0.1")
    assert all(event["trust"] == "gateway" for event in ours if event["kind"] != "session.state")
    assert all(event["node"] == "node1" for event in ours[3:])


async def test_what_a_job_says_of_itself_is_the_nodes_word(deployment: Deployment, record: Record) -> None:
    registration = await deployment.register()
    async with deployment.running_agent(registration) as agent:
        await agent.report("ready", "up\x1b[2J\nkind=audit.shredded trust=gateway")
        await until(lambda: [event for event in record.of("session.state") if event["state"] == "ready"])
    said = [event for event in record.of("session.state") if event["state"] == "ready"]
    assert {event["trust"] for event in said} == {"node"}
    assert "\x1b" not in said[0]["reason"]


async def test_a_sessions_events_name_its_project_whatever_its_node_says(
    deployment: Deployment, record: Record
) -> None:
    registration = await deployment.register(project="genomics")
    await deployment.registry.observer.keep(GpuUse(session=registration.session, project="another", used_s=5), "node")
    (used,) = record.of("gpu.use")
    assert (used["project"], used["subject"]["user"], used["trust"]) == ("genomics", "alice", "node")
    assert [event["project"] for event in record.of("session.registered")] == ["genomics"]


async def test_who_ended_a_session_is_the_kernels_word(deployment: Deployment, record: Record) -> None:
    registration = await deployment.register()
    await deployment.client.end(registration.session, "enough")
    await until(lambda: record.of("admin.called"))
    (called,) = record.of("admin.called")
    assert called["subject"]["account"] == f"uid {os.geteuid()}"
    with pytest.raises(Refused):
        await deployment.client.show("0" * 32)
    await until(lambda: record.of("admin.refused"))
    assert record.of("admin.refused")[0]["rule"] == "session.unknown"


async def test_refused_connections_and_rotations(deployment: Deployment, record: Record) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", deployment.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await writer.drain()
    await until(lambda: record.of("connection.refused"))
    writer.close()
    await deployment.client.rotate("token")
    await until(lambda: record.of("keys.rotated"))
    assert record.of("keys.rotated")[0]["what"] == "token"


async def test_nothing_new_begins_without_a_record_and_what_runs_goes_on(
    deployment: Deployment, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_hpcsec.audit.journal import Segment

    running, waiting = await deployment.register(), await deployment.register(user="bob")
    async with deployment.running_agent(running):
        await until(lambda: record.of("lane.opened"))
        real = Segment.append

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Segment, "append", full)
        with pytest.raises(Unavailable, match="audit record can't be written"):
            await deployment.register(user="carol")
        with pytest.raises(Unavailable, match="audit record can't be written"):
            await deployment.register(user="carol")
        late = deployment.make_agent(waiting)
        with pytest.raises(Refused, match="audit record"):
            await late.enrol(token=waiting.token, job_id="41", node="node2", evidence={}, account=ACCOUNT)
        assert {row.user for row in deployment.store.active()} == {"alice", "bob"}
        assert (await deployment.client.show(running.session))["connected"]
        monkeypatch.setattr(Segment, "append", real)
        await until(lambda: not record.log.health().why)
        await late.enrol(
            token=waiting.token, job_id="41", node="node2", evidence={}, account=ACCOUNT
        )  # the token was not used up
    await until(lambda: record.of("audit.gap"))


async def test_a_flood_is_counted(record: Record) -> None:
    now = 0.0
    auditor = Auditor(record.log, session=lambda known: None, clock=lambda: now)
    for _ in range(REFUSALS_AT_ONCE + 50):
        auditor.note(ConnectionRefused(source="10.0.0.1", rule="tls.protocol"))
    auditor.note(ConnectionRefused(source="10.0.0.2", rule="tls.protocol"))
    auditor.flush({"port.rate": 7, "lane.target": 3})
    auditor.flush({"port.rate": 7})
    await auditor.keep(LaneOpened())
    found = record.of("connection.refused")
    assert len(found) == REFUSALS_AT_ONCE + 1 + 2
    assert sum(event.get("count", 1) for event in found) == REFUSALS_AT_ONCE + 51 + 7


async def test_a_flood_at_the_admin_socket_is_counted_too(record: Record) -> None:
    auditor = Auditor(record.log, session=lambda known: None, clock=lambda: 0.0)
    for pid in range(REFUSALS_AT_ONCE + 50):
        auditor.note(AdminRefused(rule="admin.peer", reason=f"process {pid}"))
    auditor.flush({})
    await auditor.keep(LaneOpened())
    assert len(record.of("admin.refused")) == REFUSALS_AT_ONCE
    (further,) = record.of("connection.refused")
    assert (further["rule"], further["count"]) == ("admin.peer", 50)


async def test_reading_is_on_record_before_it_is_done(record: Record) -> None:
    auditor = Auditor(record.log, session=lambda known: None, clock=time.monotonic)
    leaf = record.log.record(SessionEnded(), "gateway", {"source": b"secret"}).result(10)
    who = Subject(account="uid 7")
    await auditor.reading("query", "user=alice", 3, False, 0, "", who)
    await auditor.reading("export", "user=alice", 3, True, 0, "", who)
    with pytest.raises(Refused, match="no value"):
        await auditor.reading("shred", "asked for", 0, False, leaf, "other", who)
    await auditor.reading("shred", "asked for", 0, False, leaf, "source", who)
    (read,), (exported,), (shredded,) = (record.of(f"audit.{kind}") for kind in ("read", "exported", "shredded"))
    assert (read["action"], read["query"], read["found"]) == ("query", "user=alice", 3)
    assert exported["with_values"] is True
    assert (shredded["leaf"], shredded["name"], shredded["subject"]["account"]) == (leaf, "source", "uid 7")
    assert auditor.status()["failing"] == ""


async def test_a_store_that_is_away_costs_facts_and_not_the_event(record: Record) -> None:
    def away(_: str) -> Session | None:
        raise Unavailable("the store is away")

    auditor = Auditor(record.log, session=away, clock=time.monotonic)
    await auditor.keep(LaneOpened(session="a" * 32))
    assert record.of("lane.opened")[0]["session"] == "a" * 32


async def test_who_gets_no_access_is_refused_on_record_with_the_session(deployment: Deployment, record: Record) -> None:
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    elsewhere = Account(gid=1001, home="/elsewhere", groups=[])
    with pytest.raises(Refused):
        await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=elsewhere)
    await until(lambda: record.of("session.ended") and record.of("enrolment.refused"))
    (refused,) = record.of("enrolment.refused")
    assert refused["session"] == registration.session
    assert refused["subject"]["user"] == "alice"
    assert refused["rule"] == "enrol.account"
    assert record.of("session.ended")[0]["reason"] == refused["reason"]
    assert not record.of("session.enrolled")


async def test_the_receipt_is_the_nodes_word(deployment: Deployment, record: Record) -> None:
    registration = await deployment.register()
    async with deployment.running_agent(registration) as agent:
        await agent.connected()
        await agent.report("ready", "up", {"plan": "ab" * 32})
        await until(lambda: [event for event in record.of("session.state") if event.get("facts")])
    (told,) = [event for event in record.of("session.state") if event.get("facts")]
    assert json.loads(told["facts"]) == {"plan": "ab" * 32}
    assert told["trust"] == "node"
