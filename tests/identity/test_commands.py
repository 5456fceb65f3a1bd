"""A command is bounded in time, output and environment; whatever goes wrong is Unavailable."""

import asyncio
import os
import sys

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.identity.commands import run_command


async def test_a_command_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match="can't be run"):
        await run_command(["/nonexistent/scontrol"])


async def test_nothing_of_a_killed_command_stays(tmp_path: os.PathLike[str]) -> None:
    pids = f"{tmp_path}/pids"
    with pytest.raises(Unavailable, match="no answer within"):
        await run_command(
            ["sh", "-c", "{ echo $$; sleep 1000 & echo $!; } > $PIDS; wait"], env={"PIDS": pids}, timeout_s=3
        )
    with open(pids) as file:  # noqa: ASYNC230, PTH123 - a few bytes, in a test
        found = [int(line) for line in file]
    assert len(found) == 2
    for _ in range(100):
        if not any(_runs(pid) for pid in found):
            break
        await asyncio.sleep(0.05)
    assert not any(_runs(pid) for pid in found)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_cancelled_command_is_killed() -> None:
    task = asyncio.create_task(run_command(["sleep", "1000"], timeout_s=1000))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_too_long_an_answer_is_none() -> None:
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        await run_command([sys.executable, "-c", "print('x' * 1_000_000)"], limit=1000)


async def test_a_command_that_does_not_read_its_input() -> None:
    answer = await run_command(["true"], stdin=b"x" * 1_000_000)
    assert (answer.returncode, answer.stdout) == (0, b"")


async def test_status_output_and_errors_come_back() -> None:
    answer = await run_command(["sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=b"in")
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, b"in", "wrong\n")


async def test_the_environment_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/tmp/evil.conf")
    monkeypatch.setenv("LD_PRELOAD", "/tmp/evil.so")
    answer = await run_command(["env"], env={"A": "1", "TZ": "Europe/Berlin"})
    found = dict(line.split("=", 1) for line in answer.stdout.decode().splitlines())
    assert set(found) - {"PWD", "SHLVL", "_"} == {"PATH", "A", "TZ", "LC_ALL"}
    assert (found["TZ"], found["LC_ALL"]) == ("UTC0", "C")
