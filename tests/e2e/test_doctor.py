"""The doctor and a real gateway: what is broken is red first, then the same hop is green."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short, lower-case directory of ours, as the run directory needs it."""
    return tmp_path_factory.mktemp("d", numbered=True)


@pytest.fixture
def gateway(place: Path) -> Iterator["subprocess.Popen[str]"]:
    port = free_port()
    config = place / "gateway.py"
    config.write_text(
        "c = get_config()\n"
        f"c.HpcsecGateway.listen = c.HpcsecGateway.public_endpoints = ['127.0.0.1:{port}']\n"
        f"c.HpcsecGateway.state_directory = {str(place / 'state')!r}\n"
        f"c.HpcsecGateway.run_directory = {str(place / 'run')!r}\n"
        f"c.HpcsecGateway.hub_api_url = 'http://127.0.0.1:{free_port()}/hub/api'\n"
        "c.HpcsecGateway.attestors = ['none']\n"
        "c.HpcsecGateway.unsafe_no_attestation = True\n"
    )
    argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "gateway", "--config", str(config)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ATTESTATION IS OFF" in line:
                break
        yield process
        process.terminate()
        process.communicate()


def doctor(place: Path, *words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit status, and findings by hop."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HPCSEC_", "JUPYTER"))}
    argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "doctor", "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    assert done.stdout, done.stderr
    hops: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        hops.setdefault(finding["hop"], []).append(finding)
    return done.returncode, hops


def hub_side(place: Path) -> tuple[int, dict[str, list[dict[str, str]]]]:
    return doctor(place, "--socket", str(place / "run" / "admin.sock"), "--scheduler", "none")


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
    status = json.loads(
        subprocess.run(
            [sys.executable, "-c", STATUS, str(place / "run" / "admin.sock")], capture_output=True, check=True
        ).stdout
    )
    where = ["--node", "--gateway", status["endpoints"][0], "--ca-pin"]
    code, hops = doctor(place, *where, "0" * 64)
    assert code == 1
    assert "ok" not in statuses(hops, "ca pin")
    _, hops = doctor(place, *where, status["ca"])
    assert statuses(hops, "port") == statuses(hops, "ca pin") == statuses(hops, "tls") == {"ok"}
    assert statuses(hops, "hub api") == {"unknown"}  # only a session has it


STATUS = """
import asyncio, json, pathlib, sys
from jupyter_hpcsec.tunnel.admin import AdminClient
print(json.dumps(asyncio.run(AdminClient(pathlib.Path(sys.argv[1])).status())))
"""
