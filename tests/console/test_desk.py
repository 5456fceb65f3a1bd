"""What the console tells the gateway: a flood of refusals holds up neither of them, and is on record as one.

And who reads their own records keeps neither the staff waiting nor other people.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.kinds.console import ConsoleEntered, ConsoleRefused
from jupyter_hpcsec.config_console import HpcsecConsole
from jupyter_hpcsec.console.desk import OWN_THREADS, OWN_WAITING, TELLING, WAITING, Books, Desk
from jupyter_hpcsec.errors import Unavailable

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


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    made = Books(HpcsecConsole().settings())
    monkeypatch.setattr(made, "_with_index", lambda work: work(None, None))
    yield made
    made.close()


async def test_who_reads_much_of_their_own_keeps_nobody_else_waiting(books: Books) -> None:
    may_end = threading.Event()
    running: list[str] = []

    def slow(reader: str) -> Any:
        def work(*_: object) -> str:
            running.append(reader)
            assert may_end.wait(120)
            return reader

        return work

    pages = [asyncio.create_task(books.run_own("mallory", slow("mallory"))) for _ in range(OWN_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="are being made"):
        await books.run_own("mallory", slow("mallory"))
    async with asyncio.timeout(120):
        assert await books.run_own("alice", lambda *_: "alice") == "alice"  # the other thread is not mallory's
        pages += [asyncio.create_task(books.run_own(f"m{each}", slow(f"m{each}"))) for each in range(OWN_THREADS)]
        while len(running) < OWN_THREADS:
            await asyncio.sleep(0.01)
        assert running.count("mallory") == 1
        assert await books.run(lambda *_: "staff") == "staff"
        may_end.set()
        await asyncio.gather(*pages)
    assert running.count("mallory") == OWN_WAITING and not books._turns and not books._waiting


async def test_a_page_that_fails_gives_its_turn_back(books: Books) -> None:
    def fails(*_: object) -> str:
        raise Unavailable("no record")

    for _ in range(OWN_WAITING + 1):
        with contextlib.suppress(Unavailable):
            await books.run_own("alice", fails)
    assert await books.run_own("alice", lambda *_: "done") == "done"
