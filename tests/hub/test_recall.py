"""A gateway that was killed before it remembered what a node had told records none of it twice."""

import asyncio
from typing import Any

import pytest

from jupyter_hpcsec.audit.kinds.node import NodeTerminalOpened
from jupyter_hpcsec.hub.recall import Tail, recall, tail
from jupyter_hpcsec.tunnel.store import Store
from tests.hub.deployment import Deployment
from tests.hub.test_auditor import Record, record, until
from tests.hub.test_telling import deployment, make_teller

__all__ = ["deployment", "record"]


def told(seq: int, boot: int = 5, **changes: Any) -> dict[str, Any]:
    return {"kind": "node.terminal-opened", "trust": "node", "told_boot": boot, "told_seq": seq, **changes}


GAP = {"kind": "node.gap", "trust": "gateway"}
REFUSED = {"kind": "node.refused", "trust": "gateway"}


@pytest.mark.parametrize(
    ("events", "remembered", "after"),
    [
        ([], (0, 0), (0, 0)),
        ([told(1), told(2)], (0, 0), (5, 2)),
        ([told(1), told(2), told(3)], (5, 2), (5, 3)),
        ([told(2), told(1)], (5, 0), (5, 2)),
        ([told(1), told(3)], (0, 0), (5, 1)),  # 2 could not be written: it comes again
        ([told(4), {**GAP, "boot": 5, "first": 2, "last": 3}, told(1)], (0, 0), (5, 4)),
        ([told(1), {**REFUSED, "boot": 5, "seq": 2}, told(3)], (0, 0), (5, 3)),
        ([told(1, trust="gateway"), told(9)], (5, 0), (5, 0)),
        ([told(8, 4), told(1, 5)], (4, 7), (4, 8)),  # that the agent was replaced is not on record
        ([told(8, 4), {**GAP, "boot": 4, "first": 9}, told(1, 5)], (4, 8), (5, 1)),
        ([told(8, 4), told(9, 4)], (5, 1), (5, 1)),
    ],
)
def test_what_is_on_record_without_a_hole(
    events: list[dict[str, Any]], remembered: tuple[int, int], after: tuple[int, int]
) -> None:
    seen = Tail()
    for event in events:
        seen.add(event)
    assert seen.after(*remembered) == after


async def test_a_gateway_that_forgot_what_it_has_on_record(
    deployment: Deployment, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def killed(_: Store, session: str, boot: int, seq: int) -> None:
        tried.append(seq)
        raise OSError("killed before it remembered")

    teller, registration = make_teller(), await deployment.register()
    other = await deployment.register(user="bob")
    async with deployment.running_agent(registration, teller=teller) as agent:
        await agent.connected()
        monkeypatch.setattr(Store, "set_heard", killed)
        teller.tell(NodeTerminalOpened(terminal="1"))
        await until(lambda: tried, 60)
        await deployment.stop()
        monkeypatch.undo()
        store = Store(deployment.settings().state_directory / "sessions.sqlite")
        assert store.heard(registration.session) == (0, 0)
        recall(tail(record.log, record.layout), store)
        assert store.heard(registration.session)[1] == 1
        assert store.heard(other.session) == (0, 0)
        store.close()
        await deployment.start()
        teller.tell(NodeTerminalOpened(terminal="2"))
        async with asyncio.timeout(60):
            await agent.connected()
            await teller.emptied()
    assert [event["terminal"] for event in record.of("node.terminal-opened")] == ["1", "2"]
