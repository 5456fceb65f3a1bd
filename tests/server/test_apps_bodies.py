"""Bodies on their way to an app and back: no doubt about their length, and never held in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.server.appclient import APPS, OWNER, exchange
from tests.server.toyapps import APP, RAW


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\nContent-Length: 6",
        "Content-Length: 5\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: 0x5",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
    ],
)
async def test_a_body_whose_length_is_in_doubt_reaches_no_app(session: Path, lines: str) -> None:
    head = f"POST {APPS}{RAW}/echo-head HTTP/1.1\n{OWNER}Connection: close\n"
    answer = await exchange(session, f"{head}{lines}\n\n", b"0\r\n\r\nGET /echo-head HTTP/1.1\r\n\r\n")
    assert b"POST /" not in answer
    assert b"GET /" not in answer


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_a_body_without_a_length_is_for_methods_that_have_one(session: Path, method: str) -> None:
    head = f"{method} {APPS}{APP}/x HTTP/1.1\n{OWNER}Connection: close\n"
    answer = await exchange(session, f"{head}Transfer-Encoding: chunked\n\n", b"1\r\na\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


async def test_a_post_without_a_body_has_length_zero_and_no_header_is_added_by_another(session: Path) -> None:
    head = f"POST {APPS}{RAW}/echo-head HTTP/1.1\n{OWNER}Connection: close\n"
    answer = await exchange(session, f"{head}X-A: 1\n\tfolded: 2\nUpgrade: h2c\nHTTP2-Settings: x\n\n")
    seen = answer.partition(b"\r\n\r\n")[2].lower()
    if seen.startswith(b"post"):  # folded lines may also be refused
        assert b"content-length: 0\r\n" in seen
        assert b"\nfolded" not in seen
    assert b"h2c" not in seen
    assert b"http2-settings" not in seen


async def test_events_arrive_one_by_one(alice: httpx.AsyncClient, session: Path) -> None:
    async with alice.stream("GET", f"{APP}/stream") as answer:
        parts = answer.aiter_text()
        for i in range(3):
            assert await anext(parts) == f"data: {i}\n\n"
            (session / f"go{i}").touch()
        assert [part async for part in parts] == []


async def test_large_bodies_pass_without_being_held(alice: httpx.AsyncClient, session: Path) -> None:
    before = _peak_kib(session)
    size = 0
    async with alice.stream("GET", f"{APP}/bulk?mib=128") as answer:
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
    assert size == 128 << 20

    async def body() -> AsyncIterator[bytes]:
        for _ in range(128):
            yield b"z" * (1 << 20)

    assert (await alice.post(f"{APP}/count", content=body())).text == str(128 << 20)
    length = {"Content-Length": str(128 << 20)}
    assert (await alice.put(f"{APP}/count", content=body(), headers=length)).text == str(128 << 20)
    assert _peak_kib(session) - before < 64 * 1024


def _peak_kib(session: Path) -> int:
    """The largest size that the server ever had (proc(5), ``VmHWM``)."""
    pid = next(session.glob("jpserver-*.json")).stem.split("-")[1]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


async def test_when_the_browser_leaves_the_app_is_let_go(alice: httpx.AsyncClient) -> None:
    async with alice.stream("GET", f"{APP}/bulk?mib=100000") as answer:
        await anext(answer.aiter_bytes())
    assert (await alice.get(f"{APP}/x")).status_code == 200
