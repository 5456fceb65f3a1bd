"""The doctor and a real gateway: what is broken is red first, then the same hop is green."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.ops.ports import claim_any
from jupyter_hpcsec.tunnel.admin import AdminClient
from tests.hub.rules import write_policy

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short, lower-case directory of ours, as the run directory needs it."""
    return tmp_path_factory.mktemp("d", numbered=True)


@pytest.fixture
def gateway(place: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """A gateway of its own; its hub is the fixture ``hub`` where the test asks for one, else nobody."""
    ours, nobodys = claim_any(), claim_any()
    hub_port = request.getfixturevalue("hub") if "hub" in request.fixturenames else nobodys.port
    config = place / "gateway.py"
    config.write_text(
        "c = get_config()\n"
        f"c.HpcsecGateway.listen = c.HpcsecGateway.public_endpoints = ['127.0.0.1:{ours.port}']\n"
        f"c.HpcsecGateway.state_directory = {str(place / 'state')!r}\n"
        f"c.HpcsecGateway.run_directory = {str(place / 'run')!r}\n"
        f"c.HpcsecGateway.hub_api_url = 'http://127.0.0.1:{hub_port}/hub/api'\n"
        "c.HpcsecGateway.attestors = ['none']\n"
        "c.HpcsecGateway.unsafe_no_attestation = True\n"
        f"c.HpcsecGateway.policy_file = {str(write_policy(place / 'policy.yaml'))!r}\n"
    )
    argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "gateway", "--config", str(config)]
    with ours, nobodys, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ATTESTATION IS OFF" in line:
                break
        yield process
        process.terminate()
        process.communicate()


def doctor(*words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status, and findings by hop."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HPCSEC_", "JUPYTER"))}
    argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "doctor", "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    assert done.stdout, done.stderr
    return done.returncode, by_hop(done.stdout)


def by_hop(report: str) -> dict[str, list[dict[str, Any]]]:
    hops: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(report)["findings"]:
        hops.setdefault(finding["hop"], []).append(finding)
    return hops


def client(place: Path) -> AdminClient:
    return AdminClient(place / "run" / "admin.sock")


def hub_side(place: Path) -> tuple[int, dict[str, list[dict[str, str]]]]:
    return doctor("--socket", str(place / "run" / "admin.sock"), "--scheduler", "none")


def statuses(hops: dict[str, list[dict[str, str]]], hop: str) -> set[str]:
    return {finding["status"] for finding in hops[hop]}


def test_no_gateway_is_red(place: Path) -> None:
    code, hops = hub_side(place)
    assert code == 1
    assert statuses(hops, "gateway") == {"bad"}
    assert statuses(hops, "tls") == {"unknown"}


def test_a_gateway_as_it_should_be(place: Path, gateway: "subprocess.Popen[str]") -> None:
    _, hops = hub_side(place)
    assert statuses(hops, "attestation") == {"warn"}
    for hop in ("gateway", "port", "ca pin", "tls", "descriptors", "permissions"):
        assert statuses(hops, hop) == {"ok"}, hops[hop]
    assert len(hops["tls"]) == 4
    assert statuses(hops, "hub api") == {"bad"}  # no hub runs in this test


def test_permissions_that_are_too_wide(place: Path, gateway: "subprocess.Popen[str]") -> None:
    (place / "state").chmod(0o755)
    code, hops = hub_side(place)
    assert code == 1
    assert "bad" in statuses(hops, "permissions")


def test_from_a_node(place: Path, gateway: "subprocess.Popen[str]") -> None:
    status = asyncio.run(client(place).status())
    where = ["--node", "--gateway", status["endpoints"][0], "--ca-pin"]
    code, hops = doctor(*where, "0" * 64)
    assert code == 1
    assert "ok" not in statuses(hops, "ca pin")
    _, hops = doctor(*where, status["ca"])
    assert statuses(hops, "port") == statuses(hops, "ca pin") == statuses(hops, "tls") == {"ok"}
    assert statuses(hops, "hub api") == {"unknown"}  # only a session has it


class Hub(BaseHTTPRequestHandler):
    """The hub's answer to ``GET /hub/api``."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """No line on standard error."""


@pytest.fixture
def hub() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


IN_A_SESSION = """
while [ ! -s "$JUPYTER_HPCSEC_SESSION" ]; do sleep 0.05; done
"$0" -I -m jupyter_hpcsec.cli.main doctor --node --json > "$OUT.new"
mv "$OUT.new" "$OUT"
"""


async def session(place: Path) -> dict[str, list[dict[str, str]]]:
    """Run the doctor in place of a server, inside a real session: enrolled, in its sandbox, behind the tunnel."""
    out = place / "findings.json"
    launch = {
        "argv": ["/bin/sh", "-c", IN_A_SESSION, sys.executable],
        "env": {"OUT": str(out)},
        "base_url": "/user/alice/",
    }
    admin = client(place)
    made = await admin.register(
        user="alice", server="", uid=os.geteuid(), lifetime_s=600, launch=launch, home=str(place)
    )
    await admin.bind_job(made.session, "17")
    env = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(place),
        "HOME": str(place),
        "HPCSEC_LOCAL_JOB_ID": "17",
        "HPCSEC_TOKEN": made.token,
        "HPCSEC_GATEWAY": ",".join(made.endpoints),
        "HPCSEC_CA": base64.b64encode(made.ca).decode(),
    }
    argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.hub.launch"]
    job = await asyncio.create_subprocess_exec(*argv, env=env, stderr=asyncio.subprocess.PIPE)
    _, said = await job.communicate()
    assert out.exists(), said.decode()
    return by_hop(out.read_text())


async def test_in_a_session_whose_hub_is_away(place: Path, gateway: "subprocess.Popen[str]") -> None:
    hops = await session(place)
    assert statuses(hops, "hub api") == {"bad"}


async def test_in_a_session(place: Path, hub: int, gateway: "subprocess.Popen[str]") -> None:
    hops = await session(place)
    for hop in (
        "job",
        "hub api",
        "clock skew",
        "permissions",
        "sandbox",
        "landlock",
        "seccomp",
    ):
        assert statuses(hops, hop) == {"ok"}, hops[hop]
    assert statuses(hops, "port") == {"unknown"}, "the policy gives it no port"
