"""What must not end the GPU watch: a kernel that is half started, and a failure of its own."""

import asyncio
import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets import TraitError

from jupyter_hpcsec.gpu import watch as watching
from jupyter_hpcsec.gpu.keeper import WatchNote
from jupyter_hpcsec.gpu.processes import Processes
from jupyter_hpcsec.gpu.samples import KernelFact, Scan
from jupyter_hpcsec.gpu.watch import Watch, Word
from jupyter_hpcsec.server.gpu_cells import Cells
from jupyter_hpcsec.server.gpu_kernels import kernel_facts
from jupyter_hpcsec.server.gpu_watch import AGAIN_S, watch_for_ever


async def test_a_kernel_that_is_only_just_there_is_a_fact() -> None:
    kernel = ServerKernelManager()
    with pytest.raises(TraitError):
        print(kernel.last_activity)
    manager = SimpleNamespace(list_kernel_ids=lambda: ["k"], get_kernel=lambda kernel_id: kernel)
    app: Any = SimpleNamespace(kernel_manager=manager)
    assert await kernel_facts(app, Processes(os.getuid()), Cells()) == [KernelFact(id="k", busy=None)]


async def test_a_kernel_is_called_by_its_notebook_and_by_nothing_else_that_uses_it() -> None:
    async def sessions() -> list[dict[str, Any]]:
        notebook = {"kernel": {"id": "k"}, "path": "a/eda.ipynb", "type": "notebook"}
        return [notebook, {**notebook, "path": "8704bf01", "type": ""}, {**notebook, "path": "c-1", "type": "console"}]

    manager = SimpleNamespace(list_kernel_ids=lambda: ["k"], get_kernel=lambda kernel_id: ServerKernelManager())
    app: Any = SimpleNamespace(kernel_manager=manager, session_manager=SimpleNamespace(list_sessions=sessions))
    (found,) = await kernel_facts(app, Processes(os.getuid()), Cells())
    assert found.path == "a/eda.ipynb"


async def test_a_watch_that_fails_says_so_and_begins_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Word] = []

    async def broken() -> list[KernelFact]:
        raise RuntimeError("of another part of the server")

    async def act(finding: Any) -> None: ...

    watch = Watch(kernels=broken, tell=said.append, act=act)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    class Once:
        def __init__(self, *_: Any, take: Any, **__: Any) -> None:
            self.take = take

        async def run(self) -> None:
            await self.take(Scan(time=1.0, mono=1.0))

    monkeypatch.setattr(watching, "Keeper", Once)
    with pytest.raises(asyncio.CancelledError):
        await watch_for_ever(watch.run, logging.getLogger("test"), pause)
    assert pauses == [AGAIN_S, AGAIN_S]
    assert said == [WatchNote("ended", "the watch failed (RuntimeError)")] * 2
    assert caplog.text.count("the GPU watch failed") == 2
