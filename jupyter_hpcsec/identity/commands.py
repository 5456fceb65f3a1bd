"""Runs one command of the site (``scontrol``, ``unmunge``) with bounds on its time, its output and its number.

No shell, no inherited environment: a caller's variables can't change what the command asks or whom.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from jupyter_hpcsec.errors import Unavailable

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
FIXED = {"LC_ALL": "C", "TZ": "UTC0"}
"""Wins over what a caller gives: the answers are parsed, in one language and one time zone."""


@dataclass(frozen=True)
class Answer:
    """What a command said; ``stdout`` is complete, ``stderr`` may be cut."""

    returncode: int
    stdout: bytes
    stderr: str


async def run_command(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = 10,
    limit: int = 1 << 20,
) -> Answer:
    """Run ``argv`` and return its answer; :class:`Unavailable` where it can't be run, takes or says too much."""
    name = argv[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"PATH": DEFAULT_PATH, **(env or {}), **FIXED},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Unavailable(f"{name} can't be run: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr, _ = await asyncio.gather(
                _read(process.stdout, limit), _read(process.stderr, limit), _write(process.stdin, stdin)
            )
            returncode = await process.wait()
    except TimeoutError as error:
        raise Unavailable(f"{name} gave no answer within {timeout_s:g} seconds") from error
    finally:
        if process.returncode is None:
            # The whole group: a wrapper's child would go on and hold the pipes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if len(stdout) > limit:
        raise Unavailable(f"{name} answered more than {limit} bytes")
    return Answer(returncode, stdout, stderr[:4096].decode(errors="replace"))


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Read to the end, keep at most ``limit`` + 1 bytes: the one too many tells that there was more."""
    if stream is None:
        raise Unavailable("BUG: a command was started without a pipe")
    kept = bytearray()
    while chunk := await stream.read(1 << 16):
        kept += chunk[: limit + 1 - len(kept)]
    return bytes(kept)


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        raise Unavailable("BUG: a command was started without a pipe")
    try:
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        # It did not read its input to the end; its exit status and answer say the rest.
        return
