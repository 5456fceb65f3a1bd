"""``hpcsec attack`` as an admin runs it: in a kernel and in a terminal of a session, with nothing named."""

import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
import websockets

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.hub.policies import PolicyFile
from jupyter_hpcsec.tunnel.admin import Registration
from tests.hub.deployment import Deployment
from tests.hub.jupyter_client import BASE, Client
from tests.hub.rules import write_policy
from tests.hub.standin import USER_TOKEN, HubApi, launch_of
from tests.nobody import NOBODY
from tests.ops.attack.world import as_user

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the session runs as a user of its own here, which takes root"),
    pytest.mark.skipif(
        landlock.abi() < 6, reason="needs Landlock ABI 6 for signals and abstract sockets to be stopped"
    ),
    pytest.mark.timeout(300),
]

RULES = """\
- {who: "*", allow: {write: ["{home}"], read: ["{home}/reference", "{home}/.bashrc"]}}
- {who: "*", deny: ["{home}/.ssh", "{home}/s"]}
"""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A session of a user with something to hide; the user's way to its server."""
    base = Path(tempfile.mkdtemp(prefix="hpcsec-", dir="/tmp"))
    base.chmod(0o755)
    home = base / "home"
    for name in (".ssh", "reference/sub"):
        (home / name).mkdir(parents=True)
    for name in ("s", ".bashrc", "reference/data.txt", "reference/sub/x"):
        (home / name).write_text("x")
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    application = tornado.web.Application([(r"/hub/api/?(.*)", HubApi, {"seen": []})])
    hub = tornado.httpserver.HTTPServer(application)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    hub.add_sockets(sockets)
    deployment = Deployment(base / "d")
    deployment.hub_api_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hub/api"
    deployment.policies = PolicyFile(write_policy(base / "policy.yaml", RULES), parse, deployment.log)
    await deployment.start()
    registration, job = await submitted(deployment, home)
    try:
        yield await ready(deployment, registration, job)
        await deployment.client.end(registration.session, "the test is over")
        await job.wait()
    finally:
        if job.returncode is None:
            job.kill()
            await job.wait()
        await deployment.stop()
        hub.stop()
        shutil.rmtree(base)


async def submitted(deployment: Deployment, home: Path) -> tuple[Registration, asyncio.subprocess.Process]:
    registration = await deployment.desk.register(
        user="alice", server="", uid=NOBODY, lifetime_s=3600, launch=launch_of("jupyterhub-singleuser"), home=str(home)
    )
    await deployment.desk.bind_job(registration.session, "0123456789ab")
    return registration, await asyncio.create_subprocess_exec(
        *as_user(NOBODY), sys.executable, "-I", "-m", "jupyter_hpcsec.hub.launch",
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home),
            "HPCSEC_TOKEN": registration.token, "HPCSEC_GATEWAY": deployment.endpoint,
            "HPCSEC_CA": base64.b64encode(registration.ca).decode(), "HPCSEC_LOCAL_JOB_ID": "0123456789ab",
        },
        cwd=home,
    )  # fmt: skip


async def ready(deployment: Deployment, registration: Registration, job: asyncio.subprocess.Process) -> Client:
    """The user's way to the server, once it is there."""
    seen = 0
    while job.returncode is None:
        for progress in await deployment.client.wait(registration.session, seen, 5):
            seen = progress.seq
            assert progress.state not in {"ended", "away"}, progress.message
            if progress.state == "ready":
                return Client(registration.socket, USER_TOKEN)
    raise AssertionError("the job ended")


CELL = """\
import subprocess, sys
done = subprocess.run([sys.executable, "-m", "jupyter_hpcsec.cli.main", "attack", "--json"], capture_output=True)
print(done.stdout.decode(), done.stderr.decode())
"""
TRIED = (
    "processes.environ", "processes.signal", "environment.own-tokens", "environment.others-tokens", "jupyter.no-token",
    "jupyter.token", "jupyter.secrets",
    "environment.ssh-keys", "environment.login-files", "environment.python-start", "files.list",
    "files.race", "read-only.chmod", "read-only.create", "sockets.tcp-connect", "syscalls.io-uring",
)  # fmt: skip
"""Some of what must be tried in a session, with targets that the suite finds itself."""


async def in_terminal(client: Client, command: str) -> str:
    """What a command prints, run in a new terminal."""
    _, terminal = await client.request("POST", "/api/terminals", {})
    said, end = "", "the-end-of-it"
    async with websockets.unix_connect(
        str(client.socket), uri=f"ws://localhost{BASE}/terminals/websocket/{terminal['name']}", max_size=None,
        additional_headers={"Authorization": f"token {client.token}"},
    ) as connection:  # fmt: skip
        await connection.send(json.dumps(["stdin", f"stty -echo; echo >&1; {command}; echo the-end''-of-it\n"]))
        while end not in said:
            kind, *words = json.loads(await connection.recv())
            if kind == "stdout":
                said += words[0]
    return said[said.index("\n{") : said.rindex("}") + 1]


def check(said: str) -> None:
    """Nothing got through, and what can be tried was."""
    report: dict[str, Any] = json.loads(said)
    through = [one for one in report["attempts"] if one["outcome"] in {"succeeded", "failed"}]
    assert report["ok"], through
    by_id = {one["id"]: one for one in report["attempts"]}
    assert {name for name in TRIED if by_id[name]["outcome"] != "refused"} == set()
    agents = [one for one in report["attempts"] if one["detail"].startswith("agent (")]
    assert len(agents) > 10, "the agent is found, and each attempt on it is made"


async def test_nothing_gets_through_from_a_kernel_nor_from_a_terminal(client: Client) -> None:
    kernel = await client.start_kernel()
    check(await client.run(kernel, CELL))
    check(await in_terminal(client, f"{sys.executable} -m jupyter_hpcsec.cli.main attack --json"))
