"""A real hub and a real proxy without a cluster: each its own process, to be killed and started again alone.

The hub loads the production configuration; what a test has differently stands in a ``conf.d`` file, as an administrator
would write it.
"""

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from jupyter_hpcsec.ops.ports import LOOPBACK, claim_any
from jupyter_hpcsec.ops.quickstart import find_proxy
from tests.e2e.site import PRODUCTION, Part, wait_until

ROOT = Path(__file__).parents[2]


class SmallHub:
    """``settings`` are lines of Python for ``conf.d``; ``production`` off: they are the whole configuration."""

    def __init__(self, directory: Path, settings: str, *, production: bool = True) -> None:
        self.directory = directory
        self._claims = [claim_any() for _ in range(3)]
        self.port, hub_port, proxy_api = (claim.port for claim in self._claims)
        self.url, self.api_url = f"http://{LOOPBACK}:{self.port}", f"http://{LOOPBACK}:{hub_port}/hub/api"
        self._api_token, proxy_token = secrets.token_hex(16), secrets.token_hex(16)
        (directory / "conf.d").mkdir(exist_ok=True)
        overrides = directory / "conf.d" / "90-test.py"
        overrides.write_text(
            f"""
c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.bind_url = "http://{LOOPBACK}:{self.port}"
c.JupyterHub.hub_bind_url = "http://{LOOPBACK}:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{directory}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie_secret"
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
c.ConfigurableHTTPProxy.api_url = "http://{LOOPBACK}:{proxy_api}"
c.JupyterHub.services = [{{"name": "test", "api_token": {self._api_token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "tokens", "access:servers"]}}
]
{settings}
"""
        )
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "CONFIGPROXY_AUTH_TOKEN": proxy_token,
            "HPCSEC_HUB_CONF_D": str(directory / "conf.d"),
            "HPCSEC_LOCALJOB_DIR": str(directory / "jobs"),
        }
        public = ["--ip", LOOPBACK, "--port", str(self.port), "--api-ip", LOOPBACK, "--api-port", str(proxy_api)]
        error = ["--error-target", f"http://{LOOPBACK}:{hub_port}/hub/error"]
        config = PRODUCTION if production else overrides
        self.proxy = self._part("proxy", [*find_proxy(environment["PATH"]), *public, *error], environment)
        self.hub = self._part("hub", [sys.executable, "-m", "jupyterhub", "-f", str(config)], environment)
        self.gateway = self._part(
            "gateway", [sys.executable, "-m", "tests.hub.gateway_double", str(directory)], environment
        )
        self._proxy_api, self._proxy_token = f"http://{LOOPBACK}:{proxy_api}", proxy_token

    def _part(self, name: str, argv: list[str], environment: dict[str, str]) -> Part:
        return Part(argv, environment, self.directory, self.directory / f"{name}.log")

    def start(self, *, gateway: bool = False) -> "SmallHub":
        if gateway:
            self.gateway.start()
        self.proxy.start()
        self.hub.start()
        self.wait_up()
        return self

    def wait_up(self) -> None:
        """Return when the hub answers through the proxy."""

        def up() -> bool:
            self.hub.check()
            self.proxy.check()
            return self.get("/hub/health")[0] == 200

        wait_until(up, "the hub answers")

    def restart(self, part: Part, number: int = signal.SIGKILL) -> None:
        part.end(number)
        part.start()
        self.wait_up()

    def stop(self) -> None:
        for part in (self.hub, self.proxy, self.gateway):
            part.end(signal.SIGKILL)
        for claim in self._claims:
            claim.close()

    def request(self, method: str, url: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"token {token}"} if token else {}
        try:
            answer = httpx.request(method, url, json=body, headers=headers, timeout=60, follow_redirects=True)
        except httpx.TransportError:
            return 0, None
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, answer.text

    def get(self, path: str) -> tuple[int, Any]:
        """As anybody with a browser."""
        return self.request("GET", f"http://{LOOPBACK}:{self.port}{path}")

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """The Hub's API, as its administrator or with another token."""
        return self.request(method, f"http://{LOOPBACK}:{self.port}/hub/api{path}", body, token or self._api_token)

    def targets(self) -> dict[str, str]:
        """Where the proxy sends what."""
        status, routes = self.request("GET", f"{self._proxy_api}/api/routes", token=self._proxy_token)
        assert status == 200
        return {spec: route["target"] for spec, route in routes.items()}

    def server(self, user: str) -> dict[str, Any] | None:
        """JupyterHub's model of a user's server, if it has one."""
        status, model = self.api("GET", f"/users/{user}")
        return model["servers"].get("") if status == 200 else None

    def start_server(self, user: str, options: Any = None) -> tuple[int, Any]:
        """Ask for a server and wait until it is ready or has failed."""
        self.api("POST", f"/users/{user}")
        status, answer = self.api("POST", f"/users/{user}/server", {} if options is None else options)
        if status not in (201, 202):
            return status, answer
        wait_until(lambda: not (server := self.server(user)) or server["ready"] or not server["pending"], "started")
        return status, answer
