"""A whole gateway in this process for tests: real keys, store, TLS and sockets, and a real agent."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.access.values import Code
from jupyter_hpcsec.audit.tap.recording import Level, Recording
from jupyter_hpcsec.config import GatewaySettings, Limits
from jupyter_hpcsec.hub import nodehelper
from jupyter_hpcsec.hub.broker import AUDIENCE, IdentityBroker
from jupyter_hpcsec.hub.policies import Policies, UnsafeNoPolicy
from jupyter_hpcsec.hub.recordings import Recordings
from jupyter_hpcsec.hub.revision import Revision
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.attestation import Attestor, UnsafeNoAttestor
from jupyter_hpcsec.identity.enrolment import Enroller
from jupyter_hpcsec.identity.jobs import NodeAddresses
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.nodes import NodeEnroller
from jupyter_hpcsec.tunnel.admin import AdminClient, AdminServer, Registration
from jupyter_hpcsec.tunnel.agent import Agent
from jupyter_hpcsec.tunnel.desk import Desk
from jupyter_hpcsec.tunnel.front import FrontDoor, listen_tcp
from jupyter_hpcsec.tunnel.gateway import Gateway
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.messages import Account
from jupyter_hpcsec.tunnel.nodeport import Watchers
from jupyter_hpcsec.tunnel.observer import UNOBSERVED, Observer
from jupyter_hpcsec.tunnel.projectdesk import NoProjects, Projects
from jupyter_hpcsec.tunnel.registry import Registry
from jupyter_hpcsec.tunnel.session import Session
from jupyter_hpcsec.tunnel.store import Store
from jupyter_hpcsec.tunnel.tap import Tap

ACCOUNT = Account(gid=1001, home="/home/alice", groups=["alice"])
DOMAIN = "test.hpcsec.internal"
ISSUER = f"hpcsec-gateway@{DOMAIN}"


class MemoryCredentials:
    """A job's key and certificate, as the agent wants them."""

    def __init__(self) -> None:
        self.next = authority.new_key()
        self.current = self.next
        self.certificate = b""

    def request(self) -> bytes:
        self.next = authority.new_key()
        return authority.make_request(self.next)

    def install(self, certificate: bytes) -> None:
        self.current, self.certificate = self.next, certificate

    def certificate_pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.certificate).public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return authority.key_pem(self.current)


class Deployment:
    """One gateway over a directory; ``start`` again after ``stop`` is a restarted gateway."""

    def __init__(self, directory: Path, *, limits: Limits | None = None, certificate_lifetime_s: int = 3600) -> None:
        self.directory = directory
        self.limits = limits or Limits(heartbeat_s=1, dead_after_s=5, wait_for_lane_s=5.0)
        self.certificate_lifetime_s = certificate_lifetime_s
        self.attestors: Sequence[Attestor] = (UnsafeNoAttestor(),)
        self.clock: Callable[[], float] = time.time
        self.listen = ("127.0.0.1:0",)
        self.hub_api_url = "http://127.0.0.1:1/hub/api"
        self.log = logging.getLogger("test.gateway")
        self.port = 0
        self.policies: Policies = UnsafeNoPolicy()
        self.recordings = Recordings(Recording(), {"watched": Level.OUTPUTS})
        self.grace_s = 600
        self.observer: Observer = UNOBSERVED
        self.tap: Callable[[Session], Tap] | None = None
        self.node_addresses: NodeAddresses | None = None
        self.unmunge: Sequence[str] = ("unmunge",)
        self.watchers: Watchers | None = None
        self.projects: Projects | None = None

    def settings(self) -> GatewaySettings:
        listen = tuple(endpoint.replace(":0", f":{self.port}") for endpoint in self.listen)
        return GatewaySettings(
            listen=listen,
            public_endpoints=("127.0.0.1:1",),
            state_directory=self.directory / "state",
            run_directory=self.directory / "run",
            admin_socket=self.directory / "run" / "admin.sock",
            socket_gid=None,
            allowed_uids=frozenset({os.geteuid()}),
            proxy_uids=frozenset(),
            hub_api_url=self.hub_api_url,
            hub_base_url="/",
            trust_domain=DOMAIN,
            issuer=ISSUER,
            attestors=("none",),
            compares_node_address=False,
            token_lifetime_s=3600,
            certificate_lifetime_s=self.certificate_lifetime_s,
            limits=self.limits,
        )

    async def start(self, **desk: Any) -> None:
        """``desk``: what else the admin API's desk is given."""
        settings = self.settings()
        settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.run_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        now = int(self.clock())
        self.counters = Counters()
        self.keyring = KeyRing.open(settings.state_directory / "keys", now=now, trust_domain=DOMAIN)
        self.store = Store(settings.state_directory / "sessions.sqlite")
        enroller = Enroller(self.keyring, self.attestors, issuer=ISSUER, audience=AUDIENCE, trust_domain=DOMAIN)
        self.broker = IdentityBroker(
            keyring=self.keyring,
            enroller=enroller,
            store=self.store,
            policies=self.policies,
            recordings=self.recordings,
            issuer=ISSUER,
            token_lifetime_s=settings.token_lifetime_s,
            certificate_lifetime_s=settings.certificate_lifetime_s,
            nodes=self._nodes(),
            code=Code(unsafe_any=True),
            admit_project=(self.projects or NoProjects()).admit,
            clock=self.clock,
        )
        self.registry = Registry(
            settings,
            store=self.store,
            counters=self.counters,
            log=self.log,
            clock=self.clock,
            observer=self.observer,
            tap=self.tap,
        )
        self.nodes = nodehelper.make_port(
            settings, self.store, self.broker, observer=self.observer, counters=self.counters, log=self.log,
            watchers=self.watchers,
        )  # fmt: skip
        self.gateway = Gateway(
            self.registry,
            self.broker,
            limits=settings.limits,
            certificate_lifetime_s=settings.certificate_lifetime_s,
            log=self.log,
            nodes=self.nodes,
        )
        self.revision = Revision(self.policies, self.store, self.registry, grace_s=self.grace_s, log=self.log)
        self.desk = Desk(
            self.registry,
            self.broker,
            settings=settings,
            counters=self.counters,
            endpoints=lambda: self.gateway.endpoints,
            log=self.log,
            projects=self.projects,
            **desk,
        )
        listeners = [listen_tcp(endpoint, 128) for endpoint in settings.listen]
        self.port = listeners[0].getsockname()[1]

        def make_front(**parts: Any) -> FrontDoor:
            given = {"limits": settings.limits, "counters": self.counters, "log": self.log}
            return FrontDoor(listeners, observer=self.observer, **given, **parts)

        self.gateway.start(make_front)
        self.admin = AdminServer(
            self.desk, allowed_uids=settings.allowed_uids, counters=self.counters, observer=self.observer
        )
        self.admin.listen(settings.admin_socket)
        self.client = AdminClient(settings.admin_socket)

    def _nodes(self) -> NodeEnroller | None:
        if self.node_addresses is None:
            return None
        return NodeEnroller(
            self.keyring, self.node_addresses, trust_domain=DOMAIN, command=self.unmunge, clock=self.clock
        )

    async def stop(self) -> None:
        await self.admin.stop()
        self.gateway.close()
        self.store.close()
        await asyncio.sleep(0)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def register(self, user: str = "alice", server: str = "", job_id: str = "41", **person: Any) -> Registration:
        launch = {"argv": ["x"], "env": {}, "base_url": "/"}
        registration = await self.desk.register(
            user=user, server=server, uid=1001, lifetime_s=3600, launch=launch, **{"home": ACCOUNT.home, **person}
        )
        if job_id:
            await self.desk.bind_job(registration.session, job_id)
        return registration

    def make_agent(self, registration: Registration, **changes: Any) -> Agent:
        runtime = self.directory / f"node-{registration.session[:8]}"
        runtime.mkdir(exist_ok=True)
        settings: dict[str, Any] = {
            "endpoints": [self.endpoint],
            "ca": registration.ca,
            "credentials": MemoryCredentials(),
            "targets": {"server": runtime / "server.sock"},
            "hub_api_socket": runtime / "hub.sock",
            "server_name": server_name_of,
            "log": logging.getLogger("test.agent"),
            "jitter": lambda: 0.0,
        }
        return Agent(**{**settings, **changes})

    @contextlib.asynccontextmanager
    async def running_agent(self, registration: Registration, **changes: Any) -> AsyncIterator[Agent]:
        """An enrolled agent whose tunnel is held; its server's socket is ``node-…/server.sock``."""
        agent = self.make_agent(registration, **changes)
        await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
        holding = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            agent.stop("test over")
            with contextlib.suppress(asyncio.CancelledError):
                await holding

    def server_socket(self, registration: Registration) -> Path:
        path = self.directory / f"node-{registration.session[:8]}"
        path.mkdir(exist_ok=True)
        return path / "server.sock"


def server_name_of(ca: bytes) -> str:
    return authority.server_name(authority_id(ca))


def authority_id(ca: bytes) -> str:
    import hashlib

    return hashlib.sha256(ca).hexdigest()


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(path))


async def fetch(path: Path, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") -> bytes:
    """One request over a session socket; everything that comes back until the end."""
    reader, writer = await connect(path)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
