"""Signals: the work is cancelled, its end is not."""

import asyncio
import os
import signal

import pytest

from jupyter_hpcsec.ops.stopping import SIGNALS, Interrupted, Stopping


@pytest.fixture
async def stopping() -> Stopping:
    return Stopping(lambda text: None)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_cancels_the_work(stopping: Stopping, number: int) -> None:
    ended = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(Interrupted):
        await stopping.unless_stopped(work())
    assert ended == [True]


async def test_the_second_signal_hurries_and_the_third_changes_nothing(stopping: Stopping) -> None:
    stopping.signalled()
    assert stopping.stop.is_set() and not stopping.hurry.is_set()
    for _ in range(2):
        stopping.signalled()
        assert stopping.stop.is_set() and stopping.hurry.is_set()


async def test_after_a_signal_no_new_work_is_done(stopping: Stopping) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    await stopping.stop.wait()
    with pytest.raises(Interrupted):
        await stopping.unless_stopped(asyncio.sleep(3600))


async def test_results_and_errors_pass(stopping: Stopping) -> None:
    assert await stopping.unless_stopped(asyncio.sleep(0, "done")) == "done"

    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await stopping.unless_stopped(fail())


async def test_people_are_told() -> None:
    said: list[str] = []
    told = Stopping(said.append)
    for _ in range(3):
        told.signalled()
    assert len(said) == 2 and "once more" in said[0]
