"""The program that a job runs, against a real gateway: enrolled through TLS, reached through the session's socket."""

import asyncio
import base64
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.hub.job import SERVER_FAILED
from jupyter_hpcsec.hub.launch import REFUSED, UNAVAILABLE
from jupyter_hpcsec.ops.listeners import listeners
from jupyter_hpcsec.tunnel.admin import Registration
from tests.hub.deployment import Deployment
from tests.hub.jupyter_client import Client
from tests.hub.standin import USER_TOKEN, HubApi, launch_of

pytestmark = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4, here: none or older")


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A gateway and behind it a Hub API; in a short path, for its sockets."""
    seen: list[str] = []
    application = tornado.web.Application([(r"/hub/api/?(.*)", HubApi, {"seen": seen})])
    hub = tornado.httpserver.HTTPServer(application)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    hub.add_sockets(sockets)
    directory = tempfile.TemporaryDirectory(prefix="hpcsec-test-")
    made = Deployment(Path(directory.name))
    made.hub_api_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hub/api"
    await made.start()
    yield made
    await made.stop()
    hub.stop()
    directory.cleanup()


async def register(deployment: Deployment, launch: dict[str, Any], home: Path) -> Registration:
    registration = await deployment.desk.register(
        user="alice", server="", uid=os.geteuid(), lifetime_s=3600, launch=launch, home=str(home)
    )
    await deployment.desk.bind_job(registration.session, "0123456789ab")
    return registration


async def run(deployment: Deployment, registration: Registration, home: Path) -> asyncio.subprocess.Process:
    home.mkdir(exist_ok=True)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-m", "jupyter_hpcsec.hub.launch",
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home),
            "HPCSEC_TOKEN": registration.token, "HPCSEC_GATEWAY": deployment.endpoint,
            "HPCSEC_CA": base64.b64encode(registration.ca).decode(), "HPCSEC_LOCAL_JOB_ID": "0123456789ab",
        },
        cwd=home, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def until(deployment: Deployment, registration: Registration, state: str) -> list[str]:
    """Wait for a state of the session; the messages on the way."""
    messages: list[str] = []
    seen = 0
    while True:
        for progress in await deployment.client.wait(registration.session, seen, 5):
            seen = progress.seq
            messages.append(progress.message)
            if progress.state == state:
                return messages


async def test_a_used_token_starts_nothing_and_a_fresh_one_a_session(deployment: Deployment, tmp_path: Path) -> None:
    registration = await register(deployment, launch_of("jupyterhub-singleuser"), tmp_path / "home")
    job = await run(deployment, registration, tmp_path / "home")
    await until(deployment, registration, "ready")

    second = await run(deployment, registration, tmp_path / "home")
    _, said = await second.communicate()
    assert second.returncode == REFUSED
    assert b"Traceback" not in said

    client = Client(registration.socket, USER_TOKEN)
    assert (await client.request("GET", "/api/status"))[0] == 200
    assert (await Client(registration.socket, "nonsense").request("GET", "/api/status"))[0] == 403
    kernel = await client.start_kernel()
    assert await client.run(kernel, "print(6 * 7)") == "42\n"
    assert listeners(job.pid) == []

    await deployment.client.end(registration.session, "the user logged out")
    _, said = await job.communicate()
    assert job.returncode == 0
    assert said.decode().splitlines()[-1] == "hpcsec: The session was ended: the user logged out."


@pytest.mark.parametrize(
    ("launch", "status", "reason"),
    [
        (launch_of("/no/such/program"), UNAVAILABLE, "/no/such/program is not on this node"),
        (launch_of("x", sudo=True), 78, "unknown field 'sudo'"),
        (launch_of("/bin/sh", "-c", "exit 3"), SERVER_FAILED, "failed with status 3"),
    ],
)
async def test_the_user_is_told_why_a_server_did_not_start(
    deployment: Deployment, tmp_path: Path, launch: dict[str, Any], status: int, reason: str
) -> None:
    registration = await register(deployment, launch, tmp_path / "home")
    job = await run(deployment, registration, tmp_path / "home")
    _, said = await job.communicate()
    assert job.returncode == status
    assert reason in said.decode().splitlines()[-1]
    assert reason in (await until(deployment, registration, "ended"))[-1]


async def test_the_batch_systems_sigterm_reaches_the_user_as_a_sentence(deployment: Deployment, tmp_path: Path) -> None:
    registration = await register(deployment, launch_of("/bin/sleep", "600"), tmp_path / "home")
    job = await run(deployment, registration, tmp_path / "home")
    await until(deployment, registration, "starting")
    job.send_signal(signal.SIGTERM)
    await job.communicate()
    assert job.returncode == 128 + signal.SIGTERM
    assert "The batch system ended the job" in (await until(deployment, registration, "ended"))[-1]
