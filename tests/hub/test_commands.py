import asyncio
import os
import sys

import psutil
import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.account import lookup
from jupyter_hpcsec.hub.commands import run_command

ENV = {"PATH": os.environ["PATH"]}


async def has_gone(pid: int) -> None:
    """Returns once the process is dead; a SIGKILL takes its time. The test's own time limit ends it otherwise."""
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)


async def test_a_missing_command_and_one_that_may_not_be_run() -> None:
    for argv in (["hpcsec-no-such-command"], ["/etc/passwd"], ["x\0y"]):
        with pytest.raises(Unavailable, match="can't be run"):
            await run_command(argv, env=ENV)


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ > {pids}; sleep 1000 & echo $! >> {pids}; wait"
    with pytest.raises(Unavailable, match="did not answer"):
        await run_command(["sh", "-c", script], env=ENV, timeout_s=1)
    for pid in map(int, pids.read_text().split()):
        await has_gone(pid)


async def test_a_cancelled_caller_leaves_no_command(tmp_path) -> None:
    started = tmp_path / "pid"
    task = asyncio.ensure_future(run_command(["sh", "-c", f"echo $$ > {started}; exec sleep 1000"], env=ENV))
    while not started.exists() or not started.read_text().strip():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await has_gone(int(started.read_text()))


async def test_no_shell_and_no_other_environment() -> None:
    answer = await run_command(["echo", "$HOME;", "id"], env=ENV)
    assert answer.out == "$HOME; id"
    answer = await run_command(["env"], env={**ENV, "A": "b"})
    assert {line.split("=")[0] for line in answer.out.splitlines()} <= {"PATH", "A", "LC_CTYPE", "_", "PWD"}


async def test_status_output_and_input() -> None:
    answer = await run_command(["sh", "-c", "cat; echo bad >&2; exit 3"], env=ENV, stdin="hello")
    assert (answer.status, answer.out, answer.err) == (3, "hello", "bad")


async def test_an_endless_answer_is_cut() -> None:
    answer = await run_command([sys.executable, "-c", "print('x' * 3_000_000)"], env=ENV)
    assert len(answer.out) == 1024 * 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_root_becomes_the_user_with_all_their_groups_and_no_other() -> None:
    account = lookup("nobody")
    answer = await run_command(["sh", "-c", "id -u; id -G; umask"], env=ENV, account=account)
    uid, groups, umask = answer.out.splitlines()
    assert int(uid) == account.uid and set(map(int, groups.split())) == {account.gid, *account.groups}
    assert int(umask, 8) == 0o077
