"""A whole site for tests: development cluster, gateway, proxy and hub as processes of their own, and an admin's view.

The parts are real and run as an administrator would run them: each under a supervisor that is not the hub, so that
each can be killed and started again alone. People are in ``person``.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from jupyter_hpcsec.hub.pages import TEMPLATES
from jupyter_hpcsec.ops.child import command as until_we_end
from jupyter_hpcsec.ops.cluster import Cluster
from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any
from jupyter_hpcsec.ops.quickstart import find_proxy
from jupyter_hpcsec.tunnel.admin import AdminClient
from tests.hub.rules import write_policy

PRODUCTION = Path(__file__).parents[2] / "hub_config" / "jupyterhub_config.py"
USERS = ("alice", "bob", "carol")
PASSWORD = secrets.token_urlsafe(12)
PATIENCE_S = 180.0
GRACE_S = 8
"""From the change of a policy to the end of the sessions whose rules it changes."""
HOLD = ".hpcsec-test-hold"
"""While this file is in a user's home, the user's jobs run and do not come to enrol."""
FAIL = ".hpcsec-test-fail"
"""While this file is there, jobs end early, with status 3."""
PROLOGUE = f'while [ -e "$HOME/{HOLD}" ]; do sleep 0.1; done; if [ -e "$HOME/{FAIL}" ]; then exit 3; fi'
PROFILES = [
    {"name": "small", "title": "Small", "cpus": 1, "memory_gib": 1, "minutes": 30},
    {"name": "node", "title": "A whole node", "cpus": 8, "memory_gib": 8, "minutes": 30},
    {"name": "huge", "title": "More than there is", "cpus": 1, "memory_gib": 64, "minutes": 30},
]


def wait_until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Ask until the answer is true; the answer."""
    end = time.monotonic() + patience_s
    while not (answer := true()):
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.05)
    return answer


class Part:
    """One program under this test's supervision; its output is appended to ``log``."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path) -> None:
        self._argv, self._environment, self._directory, self.log = argv, environment, directory, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                until_we_end(os.getpid(), self._argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self._environment),
                cwd=self._directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def check(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.log.stem} ended by itself:\n{self.text()[-3000:]}"

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal it and wait for its end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE_S)
            finally:
                self.process.kill()

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Site:
    """The parts. ``start`` may be called once; ``stop`` undoes whatever of it was done."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.state = Path(tempfile.mkdtemp(prefix="hpcsec-", dir="/tmp"))
        # others of this computer may walk through: what keeps them from the sockets is the sockets' own protection
        self.state.chmod(0o711)
        self.run = self.state / "run"
        self._claims = [claim_any() for _ in range(2)]
        self.port, self._proxy_api = (claim.port for claim in self._claims)
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.endpoints = [
            f"{cluster.head_address}:{cluster.gateway_port}",
            f"[{cluster.head_address6}]:{cluster.gateway_port}",
        ]
        self.gateway = AdminClient(self.run / "admin.sock", timeout_s=20)
        self._api_token = secrets.token_hex(16)
        self._proxy_token = secrets.token_hex(16)
        self.parts: dict[str, Part] = {}

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": str(self.state),
            "TMPDIR": str(self.state / "tmp"),
            "SLURM_CONF": str(self.cluster.slurm_conf),
            "CONFIGPROXY_AUTH_TOKEN": self._proxy_token,
            "PYTHONUNBUFFERED": "1",
        }

    def start(self) -> None:
        for name in ("hub", "gateway", "log", "tmp"):
            (self.state / name).mkdir(mode=0o700)
        self.run.mkdir(mode=0o755)
        (self.state / "gateway" / "config.py").write_text(self._gateway_config())
        write_policy(self.policy)
        (self.state / "hub" / "config.py").write_text(self._hub_config())
        proxy = find_proxy(os.environ.get("PATH", os.defpath))
        public = ["--ip", LOOPBACK, "--port", str(self.port), "--api-ip", LOOPBACK, "--api-port", str(self._proxy_api)]
        hub_socket = f"unix+http://{self._quoted_hub_socket}"
        self._add(
            "gateway", [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "gateway", "--config", "config.py"]
        )
        self._add("proxy", [*proxy, *public, "--error-target", f"{hub_socket}/hub/error"], "hub")
        self._add("hub", [sys.executable, "-I", "-m", "jupyterhub", "--config", "config.py"])
        for part in self.parts.values():
            part.start()
        for name in self.parts:
            self.wait_up(name)

    def _add(self, name: str, argv: Sequence[str], directory: str = "") -> None:
        where, log = self.state / (directory or name), self.state / "log" / f"{name}.log"
        self.parts[name] = Part(argv, self.environment, where, log)

    @property
    def _quoted_hub_socket(self) -> str:
        return str(self.state / "hub" / "hub.sock").replace("/", "%2F")

    @property
    def policy(self) -> Path:
        """The access policy: everybody's own home, unless a test writes another."""
        return self.state / "gateway" / "policy.yaml"

    def _gateway_config(self) -> str:
        settings = {
            "listen": self.endpoints,
            "public_endpoints": self.endpoints,
            "state_directory": str(self.state / "gateway"),
            "run_directory": str(self.run),
            "hub_api_url": f"http+unix://{self._quoted_hub_socket}/hub/api",
            # quick, so that what is lost is noticed within a test
            "policy_file": str(self.policy),
            "policy_grace_s": GRACE_S,
            "heartbeat_s": 2,
            "dead_after_s": 8,
        }
        return "c = get_config()\n" + "".join(f"c.HpcsecGateway.{k} = {v!r}\n" for k, v in settings.items())

    def _hub_config(self) -> str:
        """The production configuration itself, and over it what a test's site has differently."""
        lines = ["c = get_config()"]
        if PRODUCTION.exists():
            lines.append(f"load_subconfig({str(PRODUCTION)!r})")
        sections: dict[str, dict[str, Any]] = {
            "JupyterHub": {
                "spawner_class": "hpcsec-slurm",
                "template_paths": [TEMPLATES],
                "authenticator_class": "dummy",
                "bind_url": self.url,
                "hub_bind_url": f"http+unix://{self._quoted_hub_socket}",
                "db_url": f"sqlite:///{self.state}/hub/jupyterhub.sqlite",
                "cookie_secret_file": f"{self.state}/hub/cookie_secret",
                "cleanup_servers": False,
                "cleanup_proxy": False,
                "allow_named_servers": True,
                "shutdown_on_logout": False,
                # how often the hub looks after routes, which a proxy of its own supervisor has lost when it returns
                "last_activity_interval": 5,
                "tornado_settings": {"slow_spawn_timeout": 0, "slow_stop_timeout": 60},
                "services": [{"name": "test-admin", "api_token": self._api_token}],
                "load_roles": [
                    {
                        "name": "test-admin",
                        "scopes": ["admin:users", "admin:servers", "access:servers"],
                        "services": ["test-admin"],
                    }
                ],
            },
            "ConfigurableHTTPProxy": {
                "should_start": False,
                "check_running_interval": 2,
                "auth_token": self._proxy_token,
                "api_url": f"http://{LOOPBACK}:{self._proxy_api}",
            },
            "DummyAuthenticator": {"password": PASSWORD, "allowed_users": set(USERS)},
            "Spawner": {"poll_interval": 2, "default_url": "/lab"},
            "HpcsecSlurmSpawner": {
                "admin_socket": str(self.run / "admin.sock"),
                "node_python": str(self.cluster.environment / "bin" / "python"),
                "start_timeout": 120,
                "stop_grace": 5,
                "startup_poll_interval": 0.2,
                "startup_poll_limit": 1,
                "batch_queue_interval": 1,
                "profiles": PROFILES,
                "req_prologue": PROLOGUE,
                "debug": True,
            },
        }
        lines += [f"c.{name}.{k} = {v!r}" for name, section in sections.items() for k, v in section.items()]
        return "\n".join(lines) + "\n"

    # What an operator does

    def kill(self, name: str) -> None:
        """``kill -9``, and nobody starts it again."""
        self.parts[name].end(signal.SIGKILL)

    def restart(self, name: str, number: int = signal.SIGTERM) -> None:
        """End it and start it again; returns when it answers."""
        self.parts[name].end(number)
        self.parts[name].start()
        self.wait_up(name)

    def wait_up(self, name: str) -> None:
        part = self.parts[name]

        def answers() -> bool:
            part.check()
            return {"gateway": self._gateway_up, "proxy": self._proxy_up, "hub": self._hub_up}[name]()

        wait_until(answers, f"the {name} answers")

    def _gateway_up(self) -> bool:
        argv = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "session", "list", "--socket"]
        socket = self.run / "admin.sock"
        return socket.exists() and subprocess.run([*argv, socket], capture_output=True, check=False).returncode == 0

    def _proxy_up(self) -> bool:
        headers = {"Authorization": f"token {self._proxy_token}"}
        return _answers(f"http://{LOOPBACK}:{self._proxy_api}/api/routes", headers)

    def _hub_up(self) -> bool:
        return _answers(f"{self.url}/hub/health", {})

    def api(self, method: str, path: str) -> httpx.Response:
        """The Hub's REST API as its administrator; what is no success is for the caller to judge."""
        headers = {"Authorization": f"token {self._api_token}"}
        return httpx.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=PATIENCE_S, trust_env=False)

    def log(self, name: str) -> str:
        return self.parts[name].text()

    def slurm(self, *argv: str, user: str | None = None, must: bool = True) -> str:
        """A batch system's command on the head, as root or as ``user``; what it printed. ``must``: and it succeeds."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
        where = Path("/home") / user if user else Path("/")
        environment = {"PATH": os.defpath, "SLURM_CONF": str(self.cluster.slurm_conf), "HOME": str(where)}
        done = subprocess.run(
            [*become, *argv], env=environment, cwd=where, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0 or not must, f"{argv}: {done.stderr}"
        return done.stdout.strip()

    def job_state(self, job_id: str) -> str:
        """Slurm's state of a job."""
        return self.slurm("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T")

    def servers(self, user: str) -> dict[str, Any]:
        """The user's servers as the hub knows them, by name."""
        answer = self.api("GET", f"/users/{user}")
        return {} if answer.status_code == 404 else dict(answer.raise_for_status().json()["servers"])

    def clear(self) -> None:
        """End every server and every job of the users; returns when nothing of them is left."""
        for user in USERS:
            for name in (HOLD, FAIL):
                (Path("/home") / user / name).unlink(missing_ok=True)
            for server in self.servers(user):
                self.api("DELETE", f"/users/{user}/servers/{server}" if server else f"/users/{user}/server")
        for user in USERS:
            self.slurm("scancel", f"--user={user}")
        wait_until(lambda: not self.slurm("squeue", "--noheader"), "the queue is empty")
        wait_until(lambda: not any(self.servers(user) for user in USERS), "no server is left")

    def stop(self) -> None:
        try:
            if "hub" in self.parts and self.parts["hub"].process and self.parts["hub"].process.poll() is None:
                self.clear()
        finally:
            for name in reversed(list(self.parts)):
                self.parts[name].end()
            for claim in self._claims:
                claim.close()
            keep = os.environ.get("HPCSEC_TEST_LOGS")
            if keep:
                shutil.copytree(self.state / "log", Path(keep) / self.state.name)
            shutil.rmtree(self.state)


def _answers(url: str, headers: Mapping[str, str]) -> bool:
    try:
        return httpx.get(url, headers=dict(headers), timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
