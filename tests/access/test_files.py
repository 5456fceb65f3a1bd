"""``/files/`` of a real server: heads, ranges, dates, and what is no file."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access.values import Right
from tests.hub.jupyter_client import BASE
from tests.server.realserver import RealServer, rules

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    made = RealServer(tmp_path)
    (made.home / "big.bin").write_bytes(CONTENT)
    (made.home / "secret").mkdir()
    (made.home / "secret/f").write_text("x")
    (made.home / ".hidden").write_text("x")
    (made.home / "a%2Fb").write_text("percent")
    os.mkfifo(made.home / "fifo")
    yield made
    made.stop()


async def fetch(server: RealServer, name: str, method: str = "GET", **headers: str) -> tuple[int, bytes, bytes]:
    """Status, head and body."""
    reader, writer = await asyncio.open_unix_connection(server.socket, limit=2**20)
    lines = [f"{method} {BASE}/files/{name} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"Authorization: token {server.client.token}"]
    lines += [f"{header.replace('_', '-')}: {value}" for header, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head, body


async def test_what_is_closed_hidden_no_file_or_outside_is_not_sent(server: RealServer) -> None:
    await server.start(rules(server.home, (server.home / "secret", Right.NONE)))
    for name, status in (
        ("secret/f", 403), ("secret/none", 403), ("secret", 403), ("secret/../secret/f", 403), ("%73ecret/f", 403),
        ("secret%2Ff", 403), ("..%2Ft/x", 403), ("../home/secret/f", 403), ("fifo", 403), ("", 403), (".hidden", 404),
        ("none", 404), ("big.bin/x", 404), ("secret%252Ff", 404), ("f%00", 400),
    ):  # fmt: skip
        found, _, body = await fetch(server, name)
        assert (found, body) != (200, body), name
        assert found == status or (status == 400 and found >= 400), (name, found)
        assert (await fetch(server, name, "HEAD"))[0] == found


async def test_whole_files_heads_and_ranges(server: RealServer) -> None:
    await server.start(rules(server.home))
    assert (await fetch(server, "big.bin"))[::2] == (200, CONTENT)
    assert (await fetch(server, "a%252Fb"))[::2] == (200, b"percent")
    for wanted, expected in (
        ("bytes=5-9", CONTENT[5:10]), ("bytes=255990-", CONTENT[255990:]), ("bytes=-3", CONTENT[-3:]),
        ("bytes=0-70000", CONTENT[:70001]),
    ):  # fmt: skip
        status, head, body = await fetch(server, "big.bin", Range=wanted)
        assert (status, body) == (206, expected), wanted
        assert f"Content-Length: {len(expected)}".encode() in head
    assert (await fetch(server, "big.bin", Range="bytes=300000-"))[0] == 416
    status, head, body = await fetch(server, "big.bin", "HEAD")
    assert (status, body) == (200, b"") and b"Content-Length: 256000" in head
    date = next(line for line in head.decode().splitlines() if line.startswith("Last-Modified")).split(": ", 1)[1]
    assert (await fetch(server, "big.bin", If_Modified_Since=date))[0] == 304
    assert b"attachment" in (await fetch(server, "big.bin?download=1"))[1]


async def test_a_part_is_sent_only_of_the_file_that_was_begun(server: RealServer) -> None:
    await server.start(rules(server.home), config='c.ServerApp.tornado_settings = {"compress_response": True}\n')
    (server.home / "big.txt").write_bytes(CONTENT)
    assert (await fetch(server, "big.txt", Accept_Encoding="gzip"))[::2] == (200, CONTENT)  # else its parts were others
    tag = _etag((await fetch(server, "big.bin", "HEAD"))[1])
    assert tag.startswith('"')
    for condition in ('"another"', f"W/{tag}", "Sat, 01 Jan 2000 00:00:00 GMT", "nonsense"):
        assert (await fetch(server, "big.bin", Range="bytes=5-9", If_Range=condition))[::2] == (200, CONTENT), condition
    status, head, body = await fetch(server, "big.bin", Range="bytes=5-9", If_Range=tag)
    assert (status, body, _etag(head)) == (206, CONTENT[5:10], tag)
    assert (await fetch(server, "big.bin", If_None_Match=tag))[0] == 304
    times = (server.home / "big.bin").stat()
    (server.home / "big.bin").write_bytes(CONTENT[::-1])  # as long as before, and dated back
    os.utime(server.home / "big.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (await fetch(server, "big.bin", Range="bytes=5-9", If_Range=tag))[::2] == (200, CONTENT[::-1])


def _etag(head: bytes) -> str:
    return next(line for line in head.decode().splitlines() if line.lower().startswith("etag")).split(": ", 1)[1]
