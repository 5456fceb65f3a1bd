"""A sampler that takes its time to start is waited for; one that never does is told, killed and started again."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.gpu import keeper
from jupyter_hpcsec.gpu.keeper import Keeper, WatchNote
from jupyter_hpcsec.gpu.samples import Scan
from jupyter_hpcsec.gpu.standin import Gpu
from tests.gpu.conftest import Write, running

LIMIT_S = 120


class Slow:
    """A Python that starts when ``go`` is there, and a keeper that would long have taken a driver for a hanging one."""

    def __init__(self, directory: Path, stand_in: Path) -> None:
        self.go, self.program = directory / "go", directory / "python"
        wait = f"while [ ! -e {self.go} ]; do sleep 0.05; done"
        self.program.write_text(f'#!/bin/sh\n{wait}\nexec {sys.executable} "$@"\n')
        self.program.chmod(0o755)
        self.notes: list[WatchNote] = []
        self.scans: list[Scan] = []
        self.keeper = Keeper(
            ["--node"], take=self.take, note=self.notes.append, stand_in=str(stand_in), state=str(directory / "state"),
            interval_s=0.01, stall_s=0.01,
        )  # fmt: skip

    async def take(self, scan: Scan) -> None:
        self.scans.append(scan)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not true():
                await asyncio.sleep(0.01)


@pytest.fixture
def slow(tmp_path: Path, stand_in: Path, state: Write, monkeypatch: pytest.MonkeyPatch) -> Slow:
    state(Gpu(0).line())
    made = Slow(tmp_path, stand_in)
    monkeypatch.setattr(keeper.sys, "executable", str(made.program))
    return made


async def test_a_start_that_takes_longer_than_a_driver_may_is_waited_for(slow: Slow) -> None:
    async with running(slow.keeper.run()):
        await asyncio.sleep(0.5)  # the time of 25 waits; a slow machine makes it more
        assert [note.state for note in slow.notes] == ["started"] and slow.scans == []
        slow.keeper.stall_s = LIMIT_S
        slow.go.touch()
        await slow.until(lambda: slow.scans)
    assert slow.scans[0].readings[0].devices and [note.state for note in slow.notes] == ["started"]


async def test_one_that_never_begins_is_told_and_started_again(slow: Slow) -> None:
    slow.keeper.start_s = 0.05
    async with running(slow.keeper.run()):
        await slow.until(lambda: [note.state for note in slow.notes].count("started") == 2)
        assert [note.state for note in slow.notes][:4] == ["started", "hung", "stopped", "started"]
        assert "did not start" in slow.notes[1].reason
        assert slow.scans[0].readings[0].state == "error"
