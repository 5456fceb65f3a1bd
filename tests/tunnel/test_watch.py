"""A lane and its tap: bytes pass, wait for its word, or end the stream; the next stream is another one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel.tap import Verdict, say_last
from tests.tunnel.test_lane import Ends, read_all


class Tap:
    """Passes everything; ``WAIT`` in what the browser sends waits, ``BAD`` is refused."""

    def __init__(self) -> None:
        self.browser = self.server = b""
        self.pending: asyncio.Queue[Verdict] = asyncio.Queue()
        self.is_closed = False

    def from_browser(self, view: memoryview) -> Verdict | None:
        data = bytes(view)
        self.browser += data
        if b"BAD" in data:
            raise Refused("tap.test", "bad")
        if b"WAIT" not in data:
            return None
        future: Verdict = asyncio.get_running_loop().create_future()
        self.pending.put_nowait(future)
        return future

    def from_server(self, view: memoryview) -> None:
        if b"BAD" in bytes(view):
            raise Refused("tap.test", "bad")
        self.server += bytes(view)

    def closed(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Tapped(Ends):
    async def tapped(self) -> tuple[Tap, socket.socket, socket.socket]:
        lane, tap = await self.gateway_owner.idle.get(), Tap()
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        lane.open("server", ours, None, tap)
        return tap, theirs, await self.accepted.get()


@pytest.fixture
async def ends() -> AsyncIterator[Tapped]:
    pair = Tapped()
    yield pair
    pair.close()


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def test_refused_bytes_do_not_pass_and_cut_the_lane(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(browser, b"BAD")
    assert await ends.gateway_owner.closed.get() == "bad" and tap.is_closed
    assert await read_all(server) == b"" and await read_all(browser) == b""


async def test_refused_answers_cut_the_lane(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(server, b"BAD")
    assert await ends.gateway_owner.closed.get() == "bad" and tap.is_closed
    await read_all(browser)


async def test_what_waits_passes_in_its_order_once_it_may(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(browser, b"one")
    assert await loop().sock_recv(server, 100) == b"one"
    await loop().sock_sendall(browser, b"WAIT two")
    pending = await tap.pending.get()
    await loop().sock_sendall(browser, b"three")
    browser.shutdown(socket.SHUT_WR)
    await loop().sock_sendall(server, b"answers go on")
    assert await loop().sock_recv(browser, 100) == b"answers go on"
    assert tap.browser == b"oneWAIT two"
    with pytest.raises(BlockingIOError):
        server.recv(1)
    pending.set_result(None)
    assert await read_all(server) == b"WAIT twothree"
    server.close()
    assert await read_all(browser) == b""
    await ends.gateway_owner.idle.get()
    assert tap.is_closed and (tap.browser, tap.server) == (b"oneWAIT twothree", b"answers go on")


async def test_the_first_and_last_bytes_may_wait(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    browser.send(b"WAIT")
    browser.shutdown(socket.SHUT_WR)
    (await tap.pending.get()).set_result(None)
    assert await read_all(server) == b"WAIT"


@pytest.mark.parametrize("outcome", [b"no", b"", Unavailable("gone")])
async def test_last_words_instead(ends: Tapped, outcome: bytes | Unavailable) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(browser, b"WAIT" * 50_000)
    pending = await tap.pending.get()
    if isinstance(outcome, bytes):
        pending.set_result(lambda unread: outcome)
    else:
        pending.set_exception(outcome)
    assert await read_all(browser) == (outcome if isinstance(outcome, bytes) else b"")
    with contextlib.suppress(ConnectionResetError):  # at the server's end a reset looks like one, or like an end
        assert await read_all(server) == b""
    lane = await ends.gateway_owner.idle.get()
    assert lane is ends.gateway and ends.gateway_owner.closed.empty()


async def test_last_words_are_asked_for_when_they_are_said(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(browser, b"WAIT")
    pending = await tap.pending.get()
    await loop().sock_sendall(browser, b"unread")
    await loop().sock_sendall(server, b"meanwhile ")
    assert await loop().sock_recv(browser, 100) == b"meanwhile "
    pending.set_result(lambda unread: b"%b, %b" % (unread, tap.server))
    assert await read_all(browser) == b"unread, meanwhile "
    assert tap.browser == b"WAIT"


async def test_an_answer_that_comes_too_late_is_no_longer_meant(ends: Tapped) -> None:
    tap, browser, server = await ends.tapped()
    await loop().sock_sendall(browser, b"WAIT for ever")
    pending = await tap.pending.get()
    browser.close()
    await loop().sock_sendall(server, b"nobody is there to read this")
    second, other, peer = await ends.tapped()
    pending.set_result(None)
    await loop().sock_sendall(other, b"fresh")
    assert await loop().sock_recv(peer, 100) == b"fresh"
    assert second.browser == b"fresh" and tap.is_closed


def test_who_is_gone_misses_nothing() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.close()
    say_last(ours, lambda unread: b"words")
    ours.close()
