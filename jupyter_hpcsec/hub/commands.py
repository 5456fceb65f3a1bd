"""Runs one command of the batch system: an argument list, a bounded time, a bounded answer, no shell.

It may switch to the user's account when the hub runs as root; it may never run a user's job as root.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.account import Account

ANSWER_LIMIT = 1024 * 1024
"""Characters kept of an answer: a list of 100,000 pending job ids fits."""


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit status and its bounded, decoded output."""

    status: int
    out: str
    err: str


async def run_command(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: str = "",
    account: Account | None = None,
    timeout_s: float = 30,
) -> Answer:
    """Run ``argv`` with exactly ``env``; as ``account`` when one is given (needs root).

    Raises ``Unavailable`` when the command is missing, may not be run, or takes longer than ``timeout_s``; it and its
    children are killed then, and also when the caller is cancelled.
    """
    switch = {"user": account.uid, "group": account.gid, "extra_groups": account.groups} if account else {}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=dict(env), cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, umask=0o077, start_new_session=True,
            **switch,  # type: ignore[arg-type]  # the stub lists each keyword by its own type
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The batch command {argv[0]!r} can't be run: {error}. Check PATH and its permissions."
        ) from error
    try:
        # not wait_for(), which in Python 3.11 loses a cancellation that comes in the same turn as the result
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        raise Unavailable(f"The batch command {argv[0]!r} did not answer in {timeout_s:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None, "BUG: communicate() returned before the command ended"  # noqa: S101
    return Answer(process.returncode, _text(out), _text(err))


def _text(data: bytes) -> str:
    return data[:ANSWER_LIMIT].decode(errors="replace").strip()
