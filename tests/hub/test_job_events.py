"""What a whole job tells of its session: its server's start and end, what was refused; nothing that a kernel says."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.audit.events import Told, kind_of
from jupyter_hpcsec.hub.job import SERVER_FAILED, Outcome
from jupyter_hpcsec.hub.telling import Telling
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.ear import understood
from jupyter_hpcsec.tunnel.teller import Teller
from tests.hub.test_job import Running, environment, singleuser, start, token

__all__ = ["environment", "start", "token"]

pytestmark = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4, here: none or older")

KERNEL_TELLS = """
import os, socket, glob
places = [place for base in ("/var/tmp", "/tmp") for place in glob.glob(base + "/hpcsec-*/events.sock")]
for path in ["/.hpcsec/events.sock", *places]:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        s.connect(path); s.send(b'{"kind":"node.terminal-opened","terminal":"forged"}')
    except OSError:
        pass
print("tried")
"""
LISTEN = "import socket\ntry: socket.socket().listen()\nexcept OSError: print('refused')"


def told(running: Running) -> list[Told]:
    teller = running.tunnel.teller
    assert teller is not None
    items = (msgspec.json.decode(record, type=m.Item) for record in teller._spool.first(10_000, 1 << 30))
    return [understood(item, "a" * 32, 1, "") for item in items]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_session_from_its_start_to_its_end(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Told] = []
    real = Telling.ended

    async def ended(self: Telling, sentence: str) -> None:
        await real(self, sentence)
        seen.extend(told(running))

    monkeypatch.setattr(Telling, "ended", ended)
    running: Running = await start(singleuser())
    await running.ready()

    def of(kind: str) -> list[Any]:
        return [event for event in seen or told(running) if kind_of(event) == kind]

    client = running.client
    kernel = await client.start_kernel()
    assert await client.run(kernel, KERNEL_TELLS) == "tried\n"
    assert await client.run(kernel, LISTEN) == "refused\n"
    await until(lambda: of("node.kernel-started"))
    assert (await client.request("POST", "/api/shutdown", {}))[0] == 200
    assert await running.outcome == Outcome(0, "The notebook server was shut down.")
    await until(lambda: seen)
    (server,) = of("node.server-started")
    assert '"abi"' in server.facts or "landlock" in server.facts
    assert of("node.terminal-opened") == []
    assert {event.told_by for event in of("node.kernel-started")} == {"server"}
    assert {event.told_by for event in of("node.heartbeat")} == {"agent"}
    (refused,) = of("node.listen-refused")
    assert (refused.rule, refused.told_by) == ("network.bind", "agent")
    (end,) = of("node.server-ended")
    assert (end.kernels, end.terminals, end.lost) == (1, 0, 0)
    assert [event.told_seq for event in seen] == list(range(1, len(seen) + 1))
    assert end.events == len(seen)
    assert not of("node.alarm")


async def test_a_mask_that_is_taken_off_is_an_alarm(
    start: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jupyter_hpcsec.hub import job

    off = asyncio.Event()

    async def watch(*_: Any) -> str:
        await off.wait()
        return "The place /data was replaced."

    monkeypatch.setattr(job, "watch", watch)
    running: Running = await start(singleuser())
    await running.ready()
    tellers: list[Teller] = [running.tunnel.teller] if running.tunnel.teller else []
    off.set()
    assert (await running.outcome).status == SERVER_FAILED
    (records,) = [teller._spool.first(10_000, 1 << 30) for teller in tellers]
    items = [msgspec.json.decode(record, type=m.Item) for record in records]
    alarms = [item for item in items if b'"node.alarm"' in bytes(item.event)]
    assert len(alarms) == 1
    assert b"mask.off" in bytes(alarms[0].event)
