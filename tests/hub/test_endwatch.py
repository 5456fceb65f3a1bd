"""The hub hears of ends at once: also of those that it could have missed, and whatever one of those that hear does."""

import asyncio
from collections.abc import Callable
from typing import Any

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.ending import Ended
from jupyter_hpcsec.hub.endwatch import EndWatch
from jupyter_hpcsec.tunnel.endings import Endings


class Gateway:
    def __init__(self) -> None:
        self.ends, self.asked, self.down = Endings(), 0, False

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        self.asked += 1
        if self.down:
            raise Unavailable("gone")
        return await self.ends.after(boot, after, timeout_s)


class Told:
    def __init__(self) -> None:
        self.heard: list[Ended | None] = []

    async def __call__(self, ended: Ended | None) -> None:
        self.heard.append(ended)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def broken(_: Ended | None) -> None:
    raise ValueError("something in the hub")


async def test_an_end_is_told_at_once_to_whom_it_concerns() -> None:
    gateway, mine, other = Gateway(), Told(), Told()
    watch = EndWatch(gateway)
    watch.add("a", broken)
    watch.add("b", mine)
    watch.add("c", other)
    await until(lambda: len(mine.heard) >= 2)  # added, and the first answer
    assert set(mine.heard) == {None}
    gateway.ends.add("a", "an error of another one's", "staff")
    gateway.ends.add("b", "a leak", "staff")
    await until(lambda: mine.heard[-1])
    assert mine.heard[-1] == Ended("a leak", "staff")
    assert set(other.heard) == {None}
    for each in "abc":
        watch.remove(each)
    assert watch._task is None


async def test_a_gateway_that_started_anew_makes_everybody_look() -> None:
    gateway, told = Gateway(), Told()
    watch = EndWatch(gateway, sleep=no_pause)
    watch.add("a", told)
    await until(lambda: len(told.heard) >= 2)
    before = len(told.heard)
    gateway.down = True
    gateway.ends.add("x", "", "staff")
    asked = gateway.asked
    await until(lambda: gateway.asked > asked + 3)
    gateway.ends, gateway.down = Endings(), False
    await until(lambda: len(told.heard) > before)
    assert told.heard[-1] is None
    watch.remove("a")


async def test_who_asks_too_late_learns_that_there_was_more() -> None:
    ends = Endings(kept=2)
    assert (await ends.after("", 0, 0))["missed"]
    assert not (await ends.after(ends.boot, 0, 0))["missed"]
    for name in "abc":
        ends.add(name, "", "gateway")
    assert (await ends.after(ends.boot, 0, 60))["missed"]
    answer = await ends.after(ends.boot, 1, 60)
    assert [each["session"] for each in answer["ended"]] == ["b", "c"] and answer["last"] == 3
    assert (await ends.after(ends.boot, 9, 60))["missed"], "a number that was never given"
    assert (await ends.after(ends.boot, 3, 0))["ended"] == []
