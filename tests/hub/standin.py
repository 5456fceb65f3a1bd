"""Stand-ins for what surrounds a job: the gateway's end of the tunnel, and the Hub API behind it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupyterhub
import msgspec
import tornado.httpserver
import tornado.netutil
import tornado.web

from jupyter_hpcsec.access.values import Bind, Subject
from jupyter_hpcsec.hub.credentials import JobCredentials
from jupyter_hpcsec.hub.job_environment import JobEnvironment
from jupyter_hpcsec.hub.policies import NoRules
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from jupyter_hpcsec.tunnel.messages import Account, Enrolled
from jupyter_hpcsec.tunnel.teller import Teller

API_TOKEN, USER_TOKEN, STRANGER_TOKEN, GUEST_TOKEN = "server-token", "alices-token", "bobs-token", "carols-token"
SCOPE = "access:servers!server=alice/"
SESSION = "0123456789abcdef0123456789abcdef"


class HubApi(tornado.web.RequestHandler):
    """What a single-user server asks of the Hub: who holds a token, and that it is still active."""

    def initialize(self, seen: list[str]) -> None:
        self.seen = seen

    def set_default_headers(self) -> None:
        self.set_header("X-JupyterHub-Version", jupyterhub.__version__)

    def get(self, path: str) -> None:
        self.seen.append(f"GET {path}")
        if path != "user":
            self.finish({"version": jupyterhub.__version__})
            return
        token = self.request.headers.get("Authorization", "").partition(" ")[2]
        scopes = {
            USER_TOKEN: ("alice", [SCOPE]),
            STRANGER_TOKEN: ("bob", ["read:users!user=bob"]),
            GUEST_TOKEN: ("carol", [SCOPE]),
        }
        if token not in scopes:
            raise tornado.web.HTTPError(403)
        name, granted = scopes[token]
        self.finish({"name": name, "kind": "user", "admin": False, "groups": [], "scopes": granted})

    def post(self, path: str) -> None:
        self.seen.append(f"POST {path}")
        self.finish({})


@asynccontextmanager
async def hub_api(path: Path) -> AsyncIterator[list[str]]:
    """The stand-in on a unix socket; yields the requests that it saw."""
    seen: list[str] = []
    server = tornado.httpserver.HTTPServer(
        tornado.web.Application([(r"/hub/api/?(.*)", HubApi, {"seen": seen})], log_function=lambda handler: None)
    )
    server.add_socket(tornado.netutil.bind_unix_socket(str(path), mode=0o600))
    try:
        yield seen
    finally:
        server.stop()
        path.unlink()


def launch_of(*argv: str, **fields: Any) -> dict[str, Any]:
    """What the spawner sends: argument list, environment, base URL."""
    env = {
        "JUPYTERHUB_API_TOKEN": API_TOKEN,
        "JUPYTERHUB_API_URL": "http://10.0.0.1:8081/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": "http://10.0.0.1:8081/hub/api/users/alice/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-alice",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([SCOPE]),
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps([SCOPE]),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/alice/oauth_callback",
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:40000/user/alice/",
        "JUPYTERHUB_USER": "alice",
    }
    return {"argv": list(argv), "env": env, "base_url": "/user/alice/", **fields}


def access_of(bind: Bind = Bind.NONE) -> dict[str, Any]:
    """What the gateway adds to a launch: here, without a policy."""
    subject = Subject(user="alice", uid=1001, gid=1001, home="/home/alice")
    access: dict[str, Any] = msgspec.to_builtins(NoRules().resolve(subject))
    return {**access, "network": {"bind": str(bind), "connect": []}}


@dataclass
class StandInTunnel:
    """The job's tunnel without a network: enrols at once, and serves the Hub API itself."""

    launch: Mapping[str, Any]
    directory: RuntimeDirectory
    refusal: Exception | None = None
    teller: Teller | None = None
    reports: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def enrol(
        self, *, token: str, job_id: str, node: str, evidence: Mapping[str, str], account: Account
    ) -> Enrolled:
        self.shown = {"token": token, "job_id": job_id, "node": node, "evidence": dict(evidence), "account": account}
        if self.refusal:
            raise self.refusal
        return Enrolled(
            certificate=b"", authorities=[], session=SESSION, user="alice", server="",
            launch={"access": access_of(), **self.launch},
            now=1_000_000_000, not_after=2_000_000_000, ends_at=2_000_000_000,
        )  # fmt: skip

    async def run(self) -> str:
        async with hub_api(self.directory.hub_socket) as seen:
            self.seen = seen
            return await self.ended

    async def report(self, state: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        self.reports.append((str(state), message, dict(facts or {})))
        self.changed.set()

    async def connected(self) -> None:
        pass

    def stop(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def reported(self, state: str) -> None:
        """Wait until the job has said that it is in ``state``."""
        while state not in [said for said, _, _ in self.reports]:
            self.changed.clear()
            await self.changed.wait()


class TunnelMaker:
    """Passed to ``Job`` in place of the real tunnel; keeps what it made."""

    def __init__(self, launch: Mapping[str, Any], refusal: Exception | None = None) -> None:
        self.launch, self.refusal = launch, refusal
        self.made: asyncio.Future[StandInTunnel] = asyncio.get_running_loop().create_future()

    def __call__(
        self,
        job: JobEnvironment,
        credentials: JobCredentials,
        directory: RuntimeDirectory,
        log: logging.Logger,
        teller: Teller,
    ) -> StandInTunnel:
        tunnel = StandInTunnel(self.launch, directory, self.refusal, teller=teller)
        self.made.set_result(tunnel)
        return tunnel
