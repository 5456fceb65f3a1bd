"""The spawner in a real hub with the production configuration and a real proxy; attacks on plain batchspawner first.

Jobs are processes that sleep, and the gateway is the double, which serves every session that has its job.
"""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import wait_until
from tests.e2e.smallhub import SmallHub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PLAIN = """
import batchspawner.api
D = {directory!r}
c.JupyterHub.spawner_class = batchspawner.SlurmSpawner
c.BatchSpawnerBase.exec_prefix = ""
c.BatchSpawnerBase.req_homedir = D
c.SlurmSpawner.batch_script = "echo {{{{prologue}}}}"
c.SlurmSpawner.batch_submit_cmd = f"cat > {{D}}/script; env > {{D}}/env; echo 1 #"
c.SlurmSpawner.batch_query_cmd = "echo RUNNING 127.0.0.1 #"
c.SlurmSpawner.batch_cancel_cmd = "true"
c.BatchSpawnerBase.start_timeout = 30
"""
OURS = """
{before}
c.JupyterHub.spawner_class = "jupyter_hpcsec.ops.demo_spawner.QuickstartSpawner"
c.QuickstartSpawner.demo_home = {directory!r}
c.QuickstartSpawner.admin_socket = {directory!r} + "/admin.sock"
c.QuickstartSpawner.batch_script = "#!/bin/bash\\nexec sleep 1000\\n"
c.QuickstartSpawner.startup_poll_interval = 0.1
c.QuickstartSpawner.node_python = "/usr/bin/python3"
c.QuickstartSpawner.stop_grace = 10
c.Spawner.poll_interval = 2
"""
EVIL: dict[str, Any] = {
    "batch_script": "#!/bin/sh\nid",
    "cmd": "evil",
    "prologue": "evil",
    "exec_prefix": "evil",
    "req_prologue": "evil",
    "profile": "small\n#SBATCH --uid=0",
    "cpus": "2\n#SBATCH --uid=0",
    "memory_gib": "{{ 7 * 7 }}",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Callable[..., SmallHub]]:
    hubs = []

    def start(template: str, before: str = "") -> SmallHub:
        hubs.append(
            SmallHub(tmp_path, template.format(directory=str(tmp_path), before=before), production=template is OURS)
        )
        return hubs[-1].start(gateway=template is OURS)

    yield start
    for small in hubs:
        for user in ("alice", "bob"):
            small.api("DELETE", f"/users/{user}/server")
        wait_until(lambda small=small: not sleeping(small.directory), "no job is left")
        small.stop()


def sleeping(directory: Path) -> list[str]:
    """The local jobs that run."""
    states = [json.loads(path.read_text()) for path in (directory / "jobs").glob("*/state.json")]
    return [state["id"] for state in states if state["state"] == "RUNNING"]


def sessions(directory: Path) -> list[dict[str, Any]]:
    """The sessions of the double."""
    path = directory / "sessions.json"
    return list(json.loads(path.read_text()).values()) if path.exists() else []


def reaches(hub: SmallHub, user: str) -> bool:
    status, answer = hub.get(f"/user/{user}/api")
    return status == 200 and isinstance(answer, dict) and answer["user"] == user


# The callback


class Impostor(BaseHTTPRequestHandler):
    """Where a job sends its user's browser."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"not the server"')

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_job_owns_a_hub_with_plain_batchspawner(hub: Callable[..., SmallHub], tmp_path: Path) -> None:
    small = hub(PLAIN)
    small.api("POST", "/users/alice")
    impostor = HTTPServer(("127.0.0.1", 0), Impostor)
    threading.Thread(target=impostor.serve_forever, daemon=True).start()
    asked = threading.Thread(target=small.start_server, args=("alice", {"prologue": "$(evil)"}))
    asked.start()
    try:
        wait_until((tmp_path / "env").exists, "the job runs")
        wait_until(lambda: "JUPYTERHUB_API_TOKEN" in (tmp_path / "env").read_text(), "it has its token")
        # 1. What the user sent stands in the script.
        assert "$(evil)" in (tmp_path / "script").read_text()
        # 2. The job sets whatever attribute of the spawner it likes: where the server is, and a command of the hub's.
        token = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
        body = {"port": impostor.server_port, "batch_cancel_cmd": f"touch {tmp_path}/owned"}
        assert small.api("POST", "/batchspawner", body, token["JUPYTERHUB_API_TOKEN"])[0] == 200
    finally:
        asked.join()
    assert small.get("/user/alice/api") == (200, "not the server")
    small.api("DELETE", "/users/alice/server")
    wait_until((tmp_path / "owned").exists, "the hub runs the job's command")
    impostor.shutdown()
    impostor.server_close()


@pytest.mark.parametrize("before", ["", "import batchspawner"])
def test_ours_has_no_callback(hub: Callable[..., SmallHub], tmp_path: Path, before: str) -> None:
    small = hub(OURS, before)
    small.start_server("alice")
    assert reaches(small, "alice")
    (session,) = sessions(tmp_path)
    token = session["launch"]["env"]["JUPYTERHUB_API_TOKEN"]
    assert small.api("GET", "/user", token=token)[0] == 200, "it is a token that the hub knows"
    body = {"port": 1, "batch_cancel_cmd": f"touch {tmp_path}/owned", "batch_hard_cancel_cmd": "x"}
    for path in ("/batchspawner", "/batchspawner/", "//batchspawner", "/%62atchspawner"):
        assert small.api("POST", path, body, token)[0] == 404
        assert small.api("POST", path, body)[0] == 404
    small.api("DELETE", "/users/alice/server")
    wait_until(lambda: not sleeping(tmp_path), "the job is cancelled")
    assert not (tmp_path / "owned").exists()


# What users send


def test_options_are_refused_then_taken(hub: Callable[..., SmallHub], tmp_path: Path) -> None:
    small = hub(OURS)
    for key, value in EVIL.items():
        status, answer = small.start_server("alice", {key: value})
        assert status == 400, answer
        assert "49" not in answer["message"] and "uid" not in answer["message"]
    for body in ([], "small", {"profile": {"$ne": ""}}, {str(n): n for n in range(50)}):
        assert small.start_server("alice", body)[0] == 400
    assert sessions(tmp_path) == [] and not (tmp_path / "jobs").exists()
    assert small.start_server("alice", {"profile": "small", "cpus": 4})[0] in (201, 202)
    assert reaches(small, "alice")


# A life


def test_servers_outlive_hub_gateway_and_proxy(hub: Callable[..., SmallHub], tmp_path: Path) -> None:
    small = hub(OURS)
    # The refusal first: without a gateway nothing starts, and the sentence says what to do.
    small.gateway.end(signal.SIGKILL)
    (tmp_path / "conf.d" / "95-quick.py").write_text("c = get_config()\nc.QuickstartSpawner.gateway_timeout = 2\n")
    small.restart(small.hub)
    status, answer = small.start_server("alice")
    assert status == 503 and "hpcsec-gateway" in answer["message"]
    small.gateway.start()
    for user in ("alice", "bob"):
        small.start_server(user)
        assert reaches(small, user)
    jobs = sorted(sleeping(tmp_path))
    assert len(jobs) == 2
    for part in (small.hub, small.proxy):
        small.restart(part)
        for user in ("alice", "bob"):
            wait_until(lambda user=user: reaches(small, user), f"{user} gets through again")
    # The hub comes back before the gateway: it waits for it and ends nobody's server.
    small.gateway.end(signal.SIGKILL)
    small.restart(small.hub)
    asyncio.run(asyncio.sleep(3))
    assert small.server("alice")["pending"] == "check"
    small.gateway.start()
    wait_until(lambda: reaches(small, "alice") and small.server("alice")["ready"], "all is well again")
    assert sorted(sleeping(tmp_path)) == jobs
    assert all(session["state"] == "ready" for session in sessions(tmp_path))

    # A job that ends takes its session and its route with it.
    (alice,) = [session for session in sessions(tmp_path) if session["user"] == "alice"]
    pid = json.loads((tmp_path / "jobs" / alice["job_id"] / "state.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not small.server("alice"), "the hub notices")
    wait_until(lambda: "/user/alice" not in small.targets(), "the route is gone")
    states = {session["user"]: session["state"] for session in sessions(tmp_path)}
    assert states == {"alice": "ended", "bob": "ready"}
    # A stop does, too.
    small.api("DELETE", "/users/bob/server")
    wait_until(lambda: not sleeping(tmp_path), "bob's job is gone")
    wait_until(lambda: "/user/bob" not in small.targets(), "and his route")
    assert {session["state"] for session in sessions(tmp_path)} == {"ended"}
