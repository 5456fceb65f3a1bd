"""A real jupyter_server on a unix socket, as the agent of a session starts one: private directory, facts, rules."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

import jupyter_hpcsec
from jupyter_hpcsec.access.gate import ACCESS_VARIABLE
from jupyter_hpcsec.access.values import Code, Enforcement, Entry, Network, Resolved, Right, Subject
from jupyter_hpcsec.hub.readiness import wait_until_ready
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from tests.hub.jupyter_client import BASE, Client

PACKAGE = Path(jupyter_hpcsec.__file__).parent
OWNERS_TOKEN = "the-owners-token-for-the-server"
HUB_TOKEN = "the-servers-token-for-the-hub"
WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""No user has any; with CAP_PERFMON, ``/proc/PID/environ`` is open past Landlock (mm_access in the kernel's fork.c)."""
FACTS = {
    "user": "alice", "server": "", "session": "0" * 32, "job": "17", "node": "n1", "ends_at": 1, "protections": {},
    "endpoints": ["hub:8443"], "ca_pin": "0" * 64,
}  # fmt: skip


def rules(home: Path, *more: tuple[Path, Right], hide: bool = False) -> Resolved:
    """Rules that let the home be written, and say what ``more`` says. Entries are rules 1, 2, … on lines 10, 20, …"""
    given = [(home, Right.WRITE), *more]
    return Resolved(
        subject=Subject(user="alice", uid=os.getuid(), gid=os.getgid(), home=str(home)),
        policy="0" * 64,
        enforcement=Enforcement.REQUIRED,
        minimum_abi=1,
        network=Network(),
        entries=tuple(
            Entry(path=str(path), right=right, rule=i, line=10 * i, who="*") for i, (path, right) in enumerate(given, 1)
        ),
        contact="data@example.org",
        hide_denied=hide,
        code=Code(unsafe_any=True),
    )


class RealServer:
    """One server. Its home is below ``directory``; its private directory is where an agent's is."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        self.temporary = directory / "t"
        self.temporary.mkdir()
        self.private = Path(tempfile.mkdtemp(prefix="hpcsec-", dir="/var/tmp"))
        (self.private / "j").mkdir(mode=0o700)
        self.socket = self.private / "server.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Client(self.socket, OWNERS_TOKEN)

    async def start(
        self, resolved: Resolved | None, *, session: bool = True, config: str = "", wait: bool = True, **env: str
    ) -> None:
        """Start and ``wait`` until it answers. Without ``session`` it is a plain server in the same place."""
        (self.private / "session.json").write_bytes(msgspec.json.encode(FACTS))
        (self.home / ".jupyter").mkdir(exist_ok=True)
        (self.home / ".jupyter/jupyter_server_config.py").write_text(config)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(self.home), "SHELL": "/bin/sh",
            "JUPYTER_CONFIG_PATH": str(PACKAGE / "server"), "JUPYTER_RUNTIME_DIR": str(self.private / "j"),
            "JUPYTERHUB_API_TOKEN": HUB_TOKEN, "JPY_API_TOKEN": HUB_TOKEN, "HARMLESS": "kept", "JPY_PARENT_PID": "1",
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(sys.path[1:]), **env,
        }  # fmt: skip
        if session:
            environment[SESSION_VARIABLE] = str(self.private / "session.json")
        if resolved is not None:
            (self.private / "access.json").write_bytes(msgspec.json.encode({"rules": resolved, "digest": ""}))
            environment[ACCESS_VARIABLE] = str(self.private / "access.json")
        self.process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec
            [*WITHOUT_CAPABILITIES, sys.executable, "-m", "jupyter_server", "--allow-root", "--ServerApp.port=8888",
             f"--ServerApp.sock={self.socket}",
             f"--ServerApp.base_url={BASE}/", f"--IdentityProvider.token={self.client.token}", "--no-browser",
             "--KernelManager.transport=ipc", "--ServerApp.log_level=INFO",
             "--ServerApp.disable_check_xsrf=True"],
            env=environment, cwd=self.home, stderr=(self.private / "log").open("wb"),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if wait:
            await asyncio.wait_for(wait_until_ready(self.socket, f"{BASE}/api"), 60)

    @property
    def log(self) -> str:
        return (self.private / "log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.private, ignore_errors=True)
