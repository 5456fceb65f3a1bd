"""Ready means: the server answers HTTP on its socket."""

import asyncio
from pathlib import Path

import pytest

from jupyter_hpcsec.hub import readiness
from jupyter_hpcsec.hub.readiness import answers, wait_until_ready


async def serve(path: Path, answer: bytes) -> asyncio.Server:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /user/a/api HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(one, path)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"", False), (b"\r\n", False), (b"SSH-2.0-x\r\n", False), (b"HTTP/1.1\r\n", False), (b"HTTP/1.1 x\r\n", False),
        (b"HTTP/1.1 500 Error\r\n\r\n", False), (b"HTTP/1.1 503 Busy\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", True), (b"HTTP/1.1 403 Forbidden\r\n\r\n", True),
    ],
)  # fmt: skip
async def test_what_counts_as_an_answer(tmp_path: Path, answer: bytes, ready: bool) -> None:
    server = await serve(tmp_path / "s", answer)
    assert await answers(tmp_path / "s", "/user/a/api") is ready
    server.close()


async def test_no_server_is_no_answer(tmp_path: Path) -> None:
    assert not await answers(tmp_path / "s", "/")
    (tmp_path / "s").touch()
    assert not await answers(tmp_path / "s", "/")


async def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ANSWER_LIMIT_S", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_unix_server(silent, tmp_path / "s")
    assert not await answers(tmp_path / "s", "/")
    server.close()


async def test_it_is_tried_until_it_answers(tmp_path: Path) -> None:
    waiting = asyncio.create_task(wait_until_ready(tmp_path / "s", "/user/a/api"))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    server = await serve(tmp_path / "s", b"HTTP/1.1 200 OK\r\n\r\n")
    await waiting
    server.close()
