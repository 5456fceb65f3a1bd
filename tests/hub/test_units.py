"""The gateway under its systemd unit: as its own account, with the unit's umask and system call filter, it still works.

systemd itself does not run here. What the unit says is applied as systemd applies it (systemd.exec(5)): the sets of
system calls are expanded by ``systemd-analyze``, the filter is libseccomp's.
"""

import grp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any
from tests.e2e.site import wait_until
from tests.hub.rules import write_policy
from tests.hub.test_hub_config import FILES

UNIT = (FILES / "hpcsec-gateway.service").read_text()
GATEWAY, HUB, PROXY, STRANGER = 64011, 64012, 64013, 64014
"""Accounts without a name, so that no account of this computer is touched."""
PEERS = grp.getgrnam("users")

LIKE_SYSTEMD = """
import ctypes, json, os, sys
settings, *program = sys.argv[1:]
settings = json.loads(settings)
os.umask(settings["umask"])
os.setgroups(settings["groups"])
os.setgid(settings["uid"])
os.setuid(settings["uid"])
libc, seccomp = ctypes.CDLL(None), ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
EPERM, ALLOW, ERRNO = 1, 0x7FFF0000, 0x00050000
if settings["calls"]:
    made = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | EPERM))
    for name in settings["calls"]:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # systemd's sets name calls of other machines, too
            assert seccomp.seccomp_rule_add(made, ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(made) == 0
    libc.prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: an older kernel does not know it
os.execv(program[0], program)
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-analyze") is None, reason="needs root and systemd-analyze"
)


def setting(name: str) -> list[str]:
    return [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]


def calls(filters: list[str]) -> list[str]:
    """What ``SystemCallFilter=`` lines let through: the first is a list of what is allowed, the next add and remove."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    sets: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            members = sets[line] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())

    def expand(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        return {call for member in sets[name] for call in expand(member)}

    allowed = expand("@default")
    for words in filters:
        for name in words.removeprefix("~").split():
            allowed = allowed - expand(name) if words.startswith("~") else allowed | expand(name)
    return sorted(allowed)


def command(uid: int, *program: str, filters: list[str] | None = None) -> list[str]:
    settings = {
        "uid": uid,
        "groups": [] if uid == STRANGER else [PEERS.gr_gid],
        "umask": int(setting("UMask")[0], 8),
        "calls": calls(filters) if filters else [],
    }
    return [sys.executable, "-c", LIKE_SYSTEMD, json.dumps(settings), sys.executable, "-I", *program]


HPCSEC = ("-m", "jupyter_hpcsec.cli.main")
REGISTER = """
import asyncio, sys
from pathlib import Path
from jupyter_hpcsec.tunnel.admin import AdminClient
account = {"user": "alice", "server": "", "uid": 1, "home": "/home/alice"}
launch = {"argv": ["x"], "env": {}, "base_url": "/"}
admin = AdminClient(Path(sys.argv[1]))
print(asyncio.run(admin.register(**account, lifetime_s=60, launch=launch)).socket)
"""
VISIT = """
import socket, sys
visitor = socket.socket(socket.AF_UNIX)
visitor.settimeout(30)
visitor.connect(sys.argv[1])
visitor.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(visitor.recv(12).decode())
"""


class Unit:
    """A directory as systemd makes it for the unit, and the unit's program."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.admin, self.log = directory, directory / "run" / "admin.sock", directory / "log"
        self._claim = claim_any()
        for name, mode in (("run", "RuntimeDirectoryMode"), ("state", "StateDirectoryMode")):
            (directory / name).mkdir()
            (directory / name).chmod(int(setting(mode)[0], 8))
            os.chown(directory / name, GATEWAY, GATEWAY)
        values = {
            "listen": [f"{LOOPBACK}:{self._claim.port}"],
            "public_endpoints": [f"{LOOPBACK}:{self._claim.port}"],
            "state_directory": str(directory / "state"),
            "run_directory": str(directory / "run"),
            "allowed_peers": [str(HUB)],
            "proxy_users": [str(PROXY)],
            "socket_group": PEERS.gr_name,
            "attestors": ["scheduler", "munge"],
            "wait_for_lane_s": 0.1,
            "policy_file": str(write_policy(directory / "policy.yaml")),
        }
        lines = [f"c.HpcsecGateway.{name} = {value!r}" for name, value in values.items()]
        (directory / "config.py").write_text("\n".join(["c = get_config()", *lines, ""]))
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, filters: list[str]) -> subprocess.Popen[bytes]:
        argv = command(GATEWAY, *HPCSEC, "gateway", "--config", str(self.directory / "config.py"), filters=filters)
        with self.log.open("w") as log:
            self._running.append(subprocess.Popen(argv, stderr=log))
        return self._running[-1]

    def run(self, uid: int, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(uid, *words), capture_output=True, text=True, check=False, timeout=60)

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        self._claim.close()


@pytest.fixture
def unit() -> Iterator[Unit]:
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        made = Unit(directory)
        yield made
        made.close()


def test_a_filter_that_keeps_the_group_from_being_set_is_noticed(unit: Unit) -> None:
    """What the recommended pair of filters does, if it stands alone."""
    process = unit.start(["@system-service", "~@privileged @resources"])
    assert process.wait(60) == 1
    assert "Operation not permitted" in unit.log.read_text()


def test_the_gateway_serves_hub_and_proxy_under_its_unit(unit: Unit) -> None:
    process = unit.start(setting("SystemCallFilter"))
    wait_until(lambda: process.poll() is not None or unit.admin.exists(), "the gateway listens")
    assert process.poll() is None, unit.log.read_text()
    for uid in (STRANGER, PROXY):
        refused = unit.run(uid, "-c", REGISTER, str(unit.admin))
        assert refused.returncode != 0
    registered = unit.run(HUB, "-c", REGISTER, str(unit.admin))
    assert registered.returncode == 0, registered.stderr
    path = registered.stdout.strip()
    assert unit.run(STRANGER, "-c", VISIT, path).returncode != 0
    for uid in (HUB, PROXY):
        visited = unit.run(uid, "-c", VISIT, path)
        assert visited.stdout == "HTTP/1.1 503\n", visited.stderr
