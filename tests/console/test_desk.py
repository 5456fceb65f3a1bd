"""What the console tells the gateway: a flood of refusals holds up neither of them, and is on record as one."""

import asyncio
import logging
from typing import Any

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.kinds.console import ConsoleEntered, ConsoleRefused
from jupyter_hpcsec.config_console import HpcsecConsole
from jupyter_hpcsec.console.desk import TELLING, WAITING, Desk

FLOOD = 5000


class Gateway:
    """Answers when it may."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.at_once = self.most = 0
        self.may_answer = asyncio.Event()

    async def console_event(self, event: Event, on_behalf: str = "") -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.may_answer.wait()
        self.told.append(event)
        self.at_once -= 1


async def test_strangers_do_not_fill_the_memory_nor_the_gateways_socket() -> None:
    desk, gateway = Desk(HpcsecConsole().settings(), logging.getLogger("test.console")), Gateway()
    made: Any = gateway
    desk.gateway = made
    for number in range(FLOOD):
        desk.note(ConsoleRefused(decision="refused", rule="console.no-login", source=f"192.0.2.{number % 256}"))
    desk.note(ConsoleEntered(scopes=""), "ada")  # who comes in meanwhile is told in any case
    async with asyncio.timeout(120):
        while not gateway.at_once:
            await asyncio.sleep(0)
        gateway.may_answer.set()
        await desk.close()
    assert gateway.most <= TELLING
    assert len(gateway.told) == WAITING + 2 and any(isinstance(each, ConsoleEntered) for each in gateway.told)
    [flood] = [each for each in gateway.told if each.rule == "console.flood"]
    assert flood.reason.startswith(f"{FLOOD - WAITING} more requests")
