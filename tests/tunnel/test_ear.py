"""What a node may tell: nothing of another session, nothing in the gateway's name, nothing twice, nothing in vain."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.audit.events import Event, Told, Trust
from jupyter_hpcsec.audit.kinds import KINDS, TELLABLE
from jupyter_hpcsec.audit.kinds.node import NodeGap, NodeRefused, NodeTerminalOpened
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.ear import EVENTS, EVENTS_AT_ONCE, WAITING, Ear, Pace, SessionVoice, understood
from jupyter_hpcsec.tunnel.limits import Counters

SESSION = "a" * 32


class Memory:
    def __init__(self) -> None:
        self.at = (0, 0)
        self.is_away = False

    def heard(self, session_id: str) -> tuple[int, int]:
        return self.at

    def set_heard(self, session_id: str, boot: int, seq: int) -> None:
        if self.is_away:
            raise Unavailable("away")
        self.at = max(self.at, (boot, seq))


class Keeper:
    def __init__(self) -> None:
        self.kept: list[tuple[Event, Trust]] = []
        self.fails: set[int] = set()
        self.gate: asyncio.Event | None = None

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        self.kept.append((event, trust))

    async def keep(self, event: Event, trust: Trust = "gateway") -> None:
        if self.gate:
            await self.gate.wait()
        if isinstance(event, Told) and event.told_seq in self.fails:
            raise Unavailable("full")
        self.kept.append((event, trust))

    def require(self) -> None: ...

    @property
    def numbers(self) -> list[int]:
        return [event.told_seq for event, _ in self.kept if isinstance(event, Told)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    def __init__(self) -> None:
        self.memory, self.keeper, self.clock, self.counters = Memory(), Keeper(), Clock(), Counters()
        self.ear = self.another()

    def another(self) -> Ear:
        return Ear(
            SessionVoice(SESSION), memory=self.memory, observer=self.keeper, counters=self.counters, clock=self.clock,
            sleep=self.clock.sleep,
        )  # fmt: skip

    async def take(self, message: m.Events) -> m.EventsAcked:
        self.ear.admit(message)
        return await self.ear.take(message, "10.0.0.7")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def item(seq: int, event: Any = None, **changes: Any) -> m.Item:
    told = {"kind": "node.terminal-opened", "terminal": str(seq)} if event is None else event
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return m.Item(**{"seq": seq, "at": 1_700_000_000_123, "by": "server", "event": msgspec.Raw(raw), **changes})


def batch(*numbers: int, boot: int = 7) -> m.Events:
    return m.Events(boot=boot, events=[item(number) for number in numbers])


# Attacks


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(TELLABLE)))
def test_a_kind_that_is_the_gateways_or_the_hubs_is_not_the_nodes_to_tell(kind: str) -> None:
    with pytest.raises(Malformed):
        understood(item(1, {"kind": kind}), SESSION, 7, "10.0.0.7")


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "node.terminal-opened", "trust": "gateway"},
        {"kind": "node.terminal-opened", "time": "2020-01-01T00:00:00.000000Z"},
        {"kind": "node.terminal-opened", "producer": "gateway", "seq": 1},
        {"kind": "node.terminal-opened", "id": "0193e6a0-0000-7000-8000-000000000000"},
        {"kind": "node.terminal-opened", "sealed": {"source": "00"}},
        {"kind": "node.terminal-opened", "terminal": "x" * 10_000_000},
        {"kind": "node.terminal-opened", "terminal": 7},
        {"kind": "node.terminal-opened", "told_seq": -1},
        {"kind": "node.invented"},
        {"kind": "Told"},
        {"kind": "Event"},
        {},
        [],
        7,
        b'{"kind": "node.terminal-opened", "terminal": "\xff\xfe"}',
        b'{"kind": "node.terminal-opened", "subject": ' + b"[" * 100_000,
        b'{"kind": "node.terminal-opened", "subject": ' + b'{"login":' * 100_000,
        b"\x00",
        b"NaN",
    ],
)
async def test_what_is_no_event_of_a_node_is_refused_on_record_and_the_next_one_counts(
    bench: Bench, event: Any
) -> None:
    answer = await bench.take(m.Events(boot=7, events=[item(1, event), item(2)]))
    assert answer.seq == 2
    (refused, trust), (told, _) = bench.keeper.kept
    assert isinstance(refused, NodeRefused)
    assert (refused.session, refused.rule, refused.decision, refused.seq, trust) == (
        SESSION, "events.kind", "refused", 1, "gateway",
    )  # fmt: skip
    assert isinstance(told, NodeTerminalOpened)
    assert refused.reason.isprintable() and len(refused.reason) <= 400


async def test_a_node_tells_of_its_own_session_in_its_own_name_only(bench: Bench) -> None:
    event = {
        "kind": "node.terminal-opened", "session": "b" * 32, "subject": {"login": "root", "user": "bob"},
        "server": "x", "job": "99", "node": "elsewhere", "source": "1.2.3.4", "policy": "f" * 64,
        "told_by": "gateway", "told_boot": 1, "told_seq": 99, "told_at": "1999",
        "reason": "a\nb\x1b[2J\u202e\x00c",
    }  # fmt: skip
    await bench.take(m.Events(boot=7, events=[item(1, event)]))
    ((told, trust),) = bench.keeper.kept
    assert isinstance(told, Told)
    assert trust == "node"
    assert (told.session, told.source, told.told_by, told.told_boot, told.told_seq) == (
        SESSION, "10.0.0.7", "server", 7, 1,
    )  # fmt: skip
    assert (told.subject.user, told.subject.login, told.server, told.job, told.node, told.policy) == ("",) * 6
    assert told.told_at == "2023-11-14T22:13:20.123Z"
    assert told.reason == "a\ufffdb\ufffd[2J\ufffd\ufffdc"


async def test_more_batches_than_answers_are_refused(bench: Bench) -> None:
    bench.keeper.gate = asyncio.Event()
    taking = []
    for _ in range(WAITING):
        bench.ear.admit(batch(1))
        taking.append(asyncio.create_task(bench.ear.take(batch(1), "")))
        await asyncio.sleep(0)
    with pytest.raises(Refused, match="acknowledged"):
        bench.ear.admit(batch(2))
    bench.keeper.gate.set()
    await asyncio.gather(*taking)
    assert bench.keeper.numbers == [1]
    bench.ear.admit(batch(2))


async def test_a_flood_waits_and_holds_nothing_up(bench: Bench) -> None:
    sent = 0
    while sent < 3 * EVENTS_AT_ONCE:
        await bench.take(batch(*range(sent + 1, sent + 51)))
        sent += 50
    assert bench.clock.now >= (sent - EVENTS_AT_ONCE - 50) / EVENTS
    assert bench.keeper.numbers == list(range(1, sent + 1))
    assert bench.counters.snapshot()["events.paced"] > 0


def test_large_events_weigh_more() -> None:
    pace = Pace(1.0, 10.0, 0.0)
    assert pace.take(10, 0.0) == 0
    assert pace.take(5, 0.0) == 5
    assert pace.take(1, 100.0) == 0


async def test_an_earlier_start_is_refused_and_a_later_one_is_told(bench: Bench) -> None:
    await bench.take(batch(1, 2))
    with pytest.raises(Refused):
        bench.ear.admit(batch(1, boot=6))
    assert (await bench.take(batch(1, boot=8))).seq == 1
    gap = bench.keeper.kept[2][0]
    assert isinstance(gap, NodeGap)
    assert "began anew" in gap.reason
    assert bench.memory.at == (8, 1)


# Once, in order, and what is missing


async def test_each_event_is_recorded_once_also_by_the_next_gateway(bench: Bench) -> None:
    assert (await bench.take(batch(1, 2, 3))).seq == 3
    assert (await bench.take(batch(2, 3, 4))).seq == 4
    bench.ear = bench.another()
    assert (await bench.take(batch(1, 2, 3, 4, 5))).seq == 5
    assert bench.keeper.numbers == [1, 2, 3, 4, 5]


async def test_what_is_missing_is_told(bench: Bench) -> None:
    await bench.take(batch(1, 5, 6))
    gap = bench.keeper.kept[1][0]
    assert isinstance(gap, NodeGap)
    assert (gap.first, gap.last, gap.session) == (2, 4, SESSION)
    assert bench.keeper.numbers == [1, 5, 6]


async def test_what_can_not_be_recorded_is_not_acknowledged_and_nothing_is_recorded_twice(bench: Bench) -> None:
    bench.keeper.fails = {3}
    assert (await bench.take(batch(1, 2, 3, 5))).seq == 0
    assert bench.keeper.numbers == [1, 2, 5]
    bench.keeper.fails = set()
    assert (await bench.take(batch(1, 2, 3, 5))).seq == 5
    assert bench.keeper.numbers == [1, 2, 5, 3]
    assert sum(isinstance(event, NodeGap) for event, _ in bench.keeper.kept) == 1


async def test_what_can_not_be_remembered_is_not_acknowledged(bench: Bench) -> None:
    bench.memory.is_away = True
    assert (await bench.take(batch(1))).seq == 0
    bench.memory.is_away = False
    assert (await bench.take(batch(1, 2))).seq == 2
    assert bench.keeper.numbers == [1, 2]
