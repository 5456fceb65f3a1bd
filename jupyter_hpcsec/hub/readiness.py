"""When a server on a unix socket answers HTTP. It asks one address and reads one status line."""

import asyncio
import contextlib
from pathlib import Path

PAUSE_S = 0.1
"""Seconds between two tries. Connecting to a socket that is not there costs microseconds."""
ANSWER_LIMIT_S = 5.0


async def answers(path: Path, target: str) -> bool:
    """Whether ``GET target`` at the unix socket ``path`` gets an HTTP answer that is no server error."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    words = status.split()
    return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() and int(words[1]) < 500


async def wait_until_ready(path: Path, target: str) -> None:
    """Return at the first answer. The caller limits the time, and knows when there will be none."""
    while not await answers(path, target):  # noqa: ASYNC110 - the event is another process's
        await asyncio.sleep(PAUSE_S)
