"""OPEN leaves with the first bytes, or by itself a moment later; never twice."""

import asyncio

from jupyter_hpcsec.tunnel.opening import Opening


async def test_a_frame_is_taken_once() -> None:
    opening, sent = Opening(), list[bytes]()
    assert not opening and opening.take() == b""
    opening.set(b"open")
    opening.wait(asyncio.get_running_loop(), lambda: sent.append(opening.take()))
    assert opening and opening.take() == b"open" and not opening and sent == []


async def test_without_first_bytes_it_is_sent() -> None:
    opening, sent = Opening(), asyncio.Queue[bytes]()
    opening.set(b"open")
    opening.wait(asyncio.get_running_loop(), lambda: sent.put_nowait(opening.take()))
    assert await sent.get() == b"open" and not opening
