"""A control connection at the gateway: how it begins, how long it may be silent, how it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import control as module
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.control import ControlConnection
from jupyter_hpcsec.tunnel.tls import MessageStream
from tests.tunnel.tlspair import tls_pair

HELLO = m.Hello(version="1", state="ready", message="", lanes=0)
Pair = tuple[MessageStream, ControlConnection]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    client, server = tls_pair()
    made = MessageStream(client), ControlConnection(server)
    yield made
    for each in made:
        each.close()


async def test_it_begins_with_hello_and_nothing_else(pair: Pair) -> None:
    agent, control = pair
    await agent.send(m.Heartbeat(now=1))
    with pytest.raises(Malformed, match=r"begins with 'hello'"):
        await control.hello(5)
    await agent.send(HELLO)
    assert await control.hello(5) == HELLO


async def test_silence_is_a_refusal(pair: Pair) -> None:
    with pytest.raises(Refused) as refusal:
        await pair[1].receive(0.05)
    assert refusal.value.rule == "control.silent"


async def test_slow_bytes_are_silence_too(pair: Pair) -> None:
    agent, control = pair

    async def trickle() -> None:
        for byte in m.encode(HELLO):
            agent._tls.write(bytes([byte]))
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(trickle())
    with pytest.raises(Refused) as refusal:
        await control.receive(0.3)
    assert refusal.value.rule == "control.silent"
    sending.cancel()


async def test_messages_of_a_gateway_are_not_taken_from_an_agent(pair: Pair) -> None:
    agent, control = pair
    await agent.send(m.End(reason="yours is over"))
    with pytest.raises(Malformed):
        await control.receive(5)


async def test_other_messages_wait_for_the_welcome(pair: Pair) -> None:
    agent, control = pair
    assert not control.is_welcome
    await asyncio.gather(control.welcome(m.Welcome(heartbeat_s=1, now=1)), control.send_or_close(m.Lanes(total=1)))
    assert control.is_welcome
    got = [type(m.decode_from_gateway(await agent.receive(m.MAX_MESSAGE))) for _ in range(2)]
    assert got == [m.Welcome, m.Lanes]


async def test_what_can_not_be_sent_closes_the_connection(pair: Pair) -> None:
    agent, control = pair
    agent.close()
    for _ in range(3):
        await control.send_or_close(m.Lanes(total=1))
    assert control.stream.is_closed


@pytest.mark.parametrize("denied", [True, False])
async def test_a_last_word_arrives_and_then_all_is_over(pair: Pair, denied: bool) -> None:
    agent, control = pair
    await (control.deny(Refused("x.y", "no")) if denied else control.end("stopped"))
    word = m.decode_from_gateway(await agent.receive(m.MAX_MESSAGE))
    assert word == (m.Denied(rule="x.y", reason="no") if denied else m.End(reason="stopped"))
    with pytest.raises(Unavailable):
        await agent.receive(m.MAX_MESSAGE)


async def test_a_last_word_to_someone_who_reads_nothing_is_cut_short(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, control = pair
    monkeypatch.setattr(module, "GOODBYE_S", 0.1)
    while control.stream._tls.write(bytes(1 << 16)):
        pass
    await asyncio.wait_for(control.end("stopped"), 60)
    assert control.stream.is_closed
