"""What an attacker on the network or on a node has: certificates of every wrong kind, and connections made by hand."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.subject import JobSubject
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.admin import Registration
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.frames import DONE_FRAME
from jupyter_hpcsec.tunnel.tls import MessageStream, client_context, dial
from tests.hub.deployment import ACCOUNT, DOMAIN, Deployment, MemoryCredentials, server_name_of

Shown = tuple[bytes, bytes]
"""A certificate chain and its key, PEM."""


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def certificate(
    signer: authority.Authority, session: str, *, begins: int | None = None, life_s: int = 1800, domain: str = DOMAIN
) -> Shown:
    """A job's certificate by ``signer``, valid from ``begins`` (default: now)."""
    key = authority.new_key()
    first = int(time.time()) if begins is None else begins
    subject = JobSubject(domain, "alice", "", "41", session)
    der = signer.issue_client(authority.make_request(key), subject, now=first, not_after=first + life_s)
    return pem(der), authority.key_pem(key)


def another_deployment(directory: Path) -> authority.Authority:
    """The authority of a deployment with the same trust domain and other keys."""
    return KeyRing.open(directory, now=int(time.time()), trust_domain=DOMAIN).authority()


@dataclass
class Enrolled:
    """A job that enrolled by hand, without an agent."""

    registration: Registration
    credentials: MemoryCredentials

    @property
    def shown(self) -> Shown:
        return self.credentials.certificate_pem(), self.credentials.key_pem()


async def enrol(deployment: Deployment, user: str = "alice") -> Enrolled:
    registration = await deployment.register(user=user)
    credentials = MemoryCredentials()
    agent = deployment.make_agent(registration, credentials=credentials)
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    return Enrolled(registration, credentials)


async def reach(deployment: Deployment, protocol: str, shown: Shown | None) -> TlsConnection:
    """A handshaken connection, as the client sees it: TLS 1.3 tells it of a refused certificate only afterwards."""
    ca = deployment.broker.authority()
    return await dial(
        ("127.0.0.1", deployment.port),
        client_context(protocol, ca, shown),
        server_name_of(ca),
        timeout_s=5,
        dead_after_s=30,
    )


async def rest_of(tls: TlsConnection, timeout_s: float = 10) -> bytes:
    """Plaintext until the gateway cuts the connection."""
    view, got = memoryview(bytearray(64 * 1024)), b""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                size = tls.read_into(view)
            except OSError:
                tls.close()
                return got
            got += view[:size]
            if not size:
                await asyncio.sleep(0.01)


async def lane(deployment: Deployment, shown: Shown | None) -> TlsConnection:
    """A connection that says that it is a lane for the gateway's streams."""
    tls = await reach(deployment, m.LANE, shown)
    tls.write(DONE_FRAME)
    return tls


async def control(deployment: Deployment, shown: Shown | None, state: str = "ready") -> MessageStream:
    """A control connection whose ``Hello`` has been sent."""
    stream = MessageStream(await reach(deployment, m.CONTROL, shown))
    await stream.send(m.Hello(version="1", state=state, message="", lanes=0))
    return stream


async def next_message(stream: MessageStream) -> m.FromGateway:
    async with asyncio.timeout(60):
        return m.decode_from_gateway(await stream.receive(m.MAX_ENROLLED))


async def until(is_so: Callable[[], object], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not is_so():
            await asyncio.sleep(0.01)


def lines_of(caplog: pytest.LogCaptureFixture, rule: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if f"[{rule}]" in record.getMessage()]


async def check_refused(deployment: Deployment, caplog: pytest.LogCaptureFixture, rule: str, *, times: int = 1) -> None:
    """Counted, logged once each with its rule, and the line is one printable line."""
    await until(lambda: deployment.counters.snapshot().get(rule, 0) >= times)
    assert deployment.counters.snapshot()[rule] == times
    lines = lines_of(caplog, rule)
    assert len(lines) == times
    assert all(line.isprintable() for line in lines)


def no_bugs(caplog: pytest.LogCaptureFixture) -> bool:
    """Nothing unforeseen happened: no BUG, no lost exception, nothing above a warning."""
    return not [record for record in caplog.records if record.levelno >= logging.ERROR or "BUG" in record.getMessage()]
