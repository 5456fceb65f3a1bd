"""What a node tells, from its agent to the record: with whose session it was, once, whatever is restarted meanwhile."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.audit.kinds.node import NodeTerminalOpened
from jupyter_hpcsec.hub.auditor import Auditor
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel import registry as registries
from jupyter_hpcsec.tunnel.silence import SILENT_S, TOTALS_S
from jupyter_hpcsec.tunnel.spool import Spool
from jupyter_hpcsec.tunnel.teller import Teller
from jupyter_hpcsec.tunnel.tls import MessageStream
from tests.hub.deployment import Deployment
from tests.hub.test_auditor import Record, record, until

__all__ = ["record"]


@pytest.fixture
async def deployment(record: Record, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("g"))
    deployment.observer = Auditor(record.log, session=lambda known: deployment.store.get(known), clock=time.monotonic)
    await deployment.start()
    yield deployment
    await deployment.stop()


def make_teller() -> Teller:
    async def short(_: float) -> None:
        await asyncio.sleep(0.01)

    return Teller(Spool(os.memfd_create("test")), sleep=short)


async def test_a_node_that_lies_is_on_record_as_a_node_of_its_own_session(
    deployment: Deployment,
    record: Record,
) -> None:
    theirs, ours = await deployment.register(user="bob"), await deployment.register()
    lie = {
        "kind": "node.terminal-opened", "session": theirs.session, "subject": {"user": "bob", "impersonator": "root"},
        "terminal": "1\n2026-01-01 trust=gateway\x1b[2J", "told_at": "1999-01-01",
    }  # fmt: skip
    forged = {"kind": "session.ended", "session": theirs.session, "trust": "gateway"}
    raws = [msgspec.Raw(json.dumps(each).encode()) for each in (lie, forged)]
    items = [m.Item(seq=number, at=1, by="agent", event=raw) for number, raw in enumerate(raws, 1)]
    async with deployment.running_agent(ours) as agent:
        await agent.connected()
        control = agent._control
        assert isinstance(control, MessageStream)
        await control.send(m.Events(boot=1, events=items))
        await until(lambda: record.of("node.refused") and record.of("node.terminal-opened"))
    (told,), (refused,) = record.of("node.terminal-opened"), record.of("node.refused")
    assert told["trust"] == "node"
    assert (told["session"], told["subject"]["user"]) == (ours.session, "alice")
    assert "impersonator" not in told["subject"]
    assert (told["node"], told["job"], told["source"]) == ("node1", "41", "127.0.0.1")
    assert told["told_at"].startswith("1970-01-01")
    assert not told["time"].startswith(("1970", "1999"))
    assert told["terminal"].isprintable()
    assert (refused["trust"], refused["session"], refused["rule"]) == ("gateway", ours.session, "events.kind")
    assert not record.of("session.ended")


async def test_events_wait_for_the_gateway_and_are_recorded_once_in_order(
    deployment: Deployment,
    record: Record,
) -> None:
    teller, registration = make_teller(), await deployment.register()
    async with deployment.running_agent(registration, teller=teller) as agent:
        teller.tell(NodeTerminalOpened(terminal="1"))
        await until(lambda: teller.acked == 1)
        await deployment.stop()
        for number in range(2, 200):
            teller.tell(NodeTerminalOpened(terminal=str(number)))
        await deployment.start()
        async with asyncio.timeout(60):
            await agent.connected()
            await teller.emptied()
    told = record.of("node.terminal-opened")
    assert [event["terminal"] for event in told] == [str(number) for number in range(1, 200)]
    assert [event["told_seq"] for event in told] == list(range(1, 200))
    assert deployment.store.heard(registration.session)[1] == 199


async def test_a_gateway_that_has_no_record_gets_the_events_when_it_has_one(
    deployment: Deployment,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jupyter_hpcsec.audit.journal import Segment

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    teller, registration = make_teller(), await deployment.register()
    async with deployment.running_agent(registration, teller=teller) as agent:
        await agent.connected()
        real: Callable[..., None] = Segment.append
        monkeypatch.setattr(Segment, "append", full)
        teller.tell(NodeTerminalOpened(terminal="1"))
        await until(lambda: deployment.counters.snapshot().get("events.unrecorded", 0), 60)
        assert teller.acked == 0
        monkeypatch.setattr(Segment, "append", real)
        async with asyncio.timeout(60):
            await teller.emptied()
    assert [event["terminal"] for event in record.of("node.terminal-opened")] == ["1"]


async def test_totals_and_silence_are_on_record(deployment: Deployment, record: Record) -> None:
    teller, registration = make_teller(), await deployment.register()
    async with deployment.running_agent(registration, teller=teller) as agent:
        await agent.connected()
        live = deployment.registry.get(registration.session)
        assert live is not None and live.silence is not None
        live.silence = registries.Silence(asyncio.get_running_loop().time() - SILENT_S)
        deployment.registry.sweep()
        await until(lambda: record.of("session.heartbeat") and record.of("session.silent"))
        teller.tell(NodeTerminalOpened(terminal="1"))
        await until(lambda: record.of("session.heard"))
    (totals,), (silent,) = record.of("session.heartbeat"), record.of("session.silent")
    assert totals["connected"] is True
    assert silent["seconds"] >= SILENT_S > TOTALS_S
    assert {totals["trust"], silent["trust"]} == {"gateway"}
    assert silent["subject"]["user"] == "alice"
