"""The hub's telling: recorded before it is granted, or refused; what only happened waits, bounded and counted."""

import asyncio

import pytest

from jupyter_hpcsec.audit.events import Event, Subject
from jupyter_hpcsec.audit.kinds.hub import HubLogin, HubLogout, HubLost
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub.hubteller import TRIES, HubTeller


class Gateway:
    def __init__(self) -> None:
        self.kept: list[Event] = []
        self.fails = 0
        self.unknown = False
        self.asked = 0

    async def hub_event(self, event: Event) -> None:
        self.asked += 1
        if self.fails:
            self.fails -= 1
            raise Unavailable("away")
        if self.unknown and isinstance(event, HubLogout):
            raise Malformed("no such kind")
        self.kept.append(event)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def test_what_can_not_be_recorded_is_refused_after_some_patience() -> None:
    gateway = Gateway()
    gateway.fails = TRIES
    teller = HubTeller(gateway, sleep=no_pause)
    with pytest.raises(Unavailable):
        await teller.keep(HubLogin())
    gateway.fails = TRIES - 1
    await teller.keep(HubLogin(subject=Subject(user="alice")))
    assert gateway.kept == [HubLogin(subject=Subject(user="alice"))]


async def test_what_is_not_understood_is_refused_at_once() -> None:
    gateway = Gateway()
    gateway.unknown = True
    with pytest.raises(Malformed):
        await HubTeller(gateway, sleep=no_pause).keep(HubLogout())
    assert gateway.asked == 1


async def test_what_happened_waits_in_order_and_what_has_no_room_is_counted() -> None:
    gateway = Gateway()
    gateway.fails = 20
    teller = HubTeller(gateway, most=3, sleep=no_pause)
    for number in range(8):
        teller.note(HubLogout(subject=Subject(user=f"u{number}")))
    async with asyncio.timeout(60):
        await teller.told()
    assert [event.subject.user for event in gateway.kept if isinstance(event, HubLogout)] == ["u0", "u1", "u2"]
    (lost,) = [event for event in gateway.kept if isinstance(event, HubLost)]
    assert (lost.lost, lost.kinds) == (5, "hub.logout 5")


async def test_a_kind_that_a_gateway_does_not_know_is_counted_and_holds_nothing_up() -> None:
    gateway = Gateway()
    gateway.unknown = True
    teller = HubTeller(gateway, sleep=no_pause)
    teller.note(HubLogout())
    teller.note(HubLogin())
    async with asyncio.timeout(60):
        await teller.told()
    assert {type(event) for event in gateway.kept} == {HubLogin, HubLost}
