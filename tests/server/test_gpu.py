"""The GPU watch in a real server with real kernels in their sandboxes, on the stand-in."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.gpu import launch, standin
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings
from jupyter_hpcsec.gpu.standin import GIB, Gpu, process
from tests.server.realserver import FACTS, RealServer
from tests.server.test_events import Agent, until

LIMIT_S = 60
AS = """
from jupyter_server.auth import IdentityProvider, User
class Known(IdentityProvider):
    async def get_user(self, handler):
        said = handler.request.headers.get('Authorization', '')
        name = {{'token nobodys': 'bob', 'token {token}': '{user}'}}.get(said)
        return User(username=name) if name else None
    def is_token_authenticated(self, handler):
        return True
c.ServerApp.identity_provider_class = Known
"""
SETTINGS = Settings(idle=IdleLimits(extend_by=10, extend_in_all=15))


class Session:
    def __init__(self, server: RealServer, state: Path) -> None:
        self.server, self.state, self.get = server, state, server.client.request
        self.agent = Agent(server.private / "events.sock")

    def show(self, *lines: str) -> None:
        standin.write_state(self.state, lines)

    async def panel(self, until: Callable[[dict[str, Any]], Any] = lambda panel: True) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                status, panel = await self.get("GET", "/hpcsec/api/gpu")
                assert status == 200, panel
                if until(panel):
                    return dict(panel)
                await asyncio.sleep(0.2)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    server = RealServer(tmp_path)
    gpus = tmp_path / "gpus"
    gpus.mkdir()
    library = standin.build(gpus)
    made = Session(server, gpus / "state")
    made.show(Gpu(0).line(), Gpu(1).line())
    given = launch.GpuLaunch(settings=SETTINGS, stand_in=str(library), state=str(made.state), interval_s=0.2)
    config = AS.format(token=server.client.token, user=FACTS["user"])
    try:
        await server.start(None, config=config, **{launch.VARIABLE: msgspec.json.encode(given).decode()})
        assert server.process is not None
        async with made.agent.hearing(server.process.pid):
            yield made
    finally:
        server.stop()


async def test_whose_kernel_holds_what_keeping_and_releasing(session: Session) -> None:
    """One server for all of it: it takes seconds to start."""
    client = session.server.client
    # 1. Nobody but the session's user.
    client.token, owners = "nobodys", client.token
    assert (await session.get("GET", "/hpcsec/api/gpu"))[0] == 403
    client.token = owners
    # 2. Both GPUs, simulated and unverified, before any kernel.
    panel = await session.panel(lambda panel: len(panel["devices"]) == 2)
    assert panel["simulated"] is True and panel["verified"] is False and panel["kernels"] == []
    assert '"hpcsecGpus": "true"' in await page(session.server)
    # 3. A kernel's memory, and its child's, are its own; a double-forked child's, too.
    kernel = await client.start_kernel()
    pids = (
        "import os, subprocess\n"
        "print(os.getpid(), subprocess.Popen(['sleep', '600'], env={}, start_new_session=True).pid)"
    )
    own, child = map(int, (await client.run(kernel, pids)).split())
    fork = "print(subprocess.check_output(['sh', '-c', 'sleep 600 >/dev/null 2>&1 & echo $!']).decode())"
    orphan = int(await client.run(kernel, fork))
    session.show(
        Gpu(0, used=6 * GIB).line(), Gpu(1).line(), *(process(0, pid, 2 * GIB) for pid in (own, child, orphan))
    )
    panel = await session.panel(lambda panel: panel["kernels"] and panel["kernels"][0]["memory"] == 6 * GIB)
    assert panel["kernels"][0]["id"] == kernel and panel["elsewhere"] == []
    [device] = panel["kernels"][0]["devices"]
    assert (device["uuid"], device["memory"], device["processes"]) == (Gpu(0).uuid, 6 * GIB, 3)
    # 4. The stream says the same.
    reader, writer = await asyncio.open_unix_connection(session.server.socket)
    writer.write(f"GET /user/alice/hpcsec/api/gpu/stream HTTP/1.0\r\nAuthorization: token {owners}\r\n\r\n".encode())
    async with asyncio.timeout(LIMIT_S):
        for _ in range(2):
            await reader.readuntil(b"event: panel\ndata: ")
            assert json.loads(await reader.readline())["kernels"][0]["id"] == kernel
    writer.close()
    # 5. What appears while one cell is executed, and no other since the sample before, is that cell's by its id.
    session.show(Gpu(0).line(), Gpu(1).line())
    await session.panel(lambda panel: not panel["kernels"][0]["devices"])
    go = session.state.with_name("go")
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    cell = asyncio.create_task(client.run(kernel, wait))
    first = await session.panel(lambda panel: panel["kernels"][0]["busy"])
    await session.panel(lambda panel: panel["time"] > first["time"])
    session.show(
        Gpu(0, used=6 * GIB).line(), Gpu(1).line(), *(process(0, pid, 2 * GIB) for pid in (own, child, orphan))
    )
    panel = await session.panel(lambda panel: panel["kernels"][0]["devices"])
    assert panel["kernels"][0]["devices"][0]["cells"] == [{"message": "1", "known_by": "id"}]
    go.touch()
    assert await cell == ""
    # 6. Keeping: within the limits, and of a kernel that is there.
    for body, status in (
        ({"kernel": kernel, "minutes": 11}, 403), ({"kernel": kernel, "minutes": "1"}, 400), ({"minutes": 1}, 400),
        ({"kernel": "none", "minutes": 1}, 404), ({"kernel": kernel, "minutes": 10}, 200),
        ({"kernel": kernel, "minutes": 10}, 403),
    ):  # fmt: skip
        assert (await session.get("POST", "/hpcsec/api/gpu/keep", body))[0] == status, body
    assert (await session.panel())["kernels"][0]["kept_s"] == 600
    # 7. Releasing: not without the confirmation; then the kernel is a new one, and what stays behind is left over.
    assert (await session.get("POST", "/hpcsec/api/gpu/release", {"kernel": kernel, "confirm": "yes"}))[0] == 400
    assert (await session.get("POST", "/hpcsec/api/gpu/release", {"kernel": kernel, "confirm": kernel}))[0] == 200
    panel = await session.panel(lambda panel: any(each["leftover"] for each in panel["elsewhere"]))
    assert panel["kernels"][0]["memory"] == 0
    # 8. The agent was told of all of it, for the record.
    agent = session.agent
    await until(lambda: agent.of("gpu.kept") and agent.of("gpu.released") and agent.of("gpu.watch"))
    assert agent.of("gpu.kept")[0].minutes == 10 and agent.of("gpu.released")[0].kernel == kernel
    assert agent.malformed == 0
    for pid in (child, orphan):  # the first one in a session of its own, so that no restart of a kernel ends it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def page(server: RealServer) -> str:
    """JupyterLab's, with what it is told of the server."""
    status, text = await server.client.request("GET", "/lab")
    assert status == 200 and "jupyter-config-data" in text
    return str(text)


async def test_a_session_without_a_gpu_starts_nothing(tmp_path: Path) -> None:
    server = RealServer(tmp_path)
    try:
        await server.start(None, config=AS.format(token=server.client.token, user=FACTS["user"]))
        status, panel = await server.client.request("GET", "/hpcsec/api/gpu")
        assert (status, panel["state"]) == (200, "none")
        assert (await server.client.request("POST", "/hpcsec/api/gpu/keep", {"kernel": "x", "minutes": 1}))[0] == 404
        assert "GPU watch" not in server.log
        assert "hpcsecGpus" not in await page(server)
    finally:
        server.stop()
