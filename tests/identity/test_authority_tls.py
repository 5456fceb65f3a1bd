"""TLS itself agrees with what the authority issues: OpenSSL refuses what it must."""

import contextlib
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from jupyter_hpcsec.identity.authority import (
    Authority,
    key_pem,
    make_request,
    new_key,
    parse_client,
    server_name,
)
from jupyter_hpcsec.identity.subject import JobSubject

NOW = int(time.time())
SID = "5e55" * 8
ALICE = JobSubject("hpc.example.org", "alice", "", "17", SID)
CA = Authority.create("hpc.example.org", NOW)
KEY = new_key()
CSR = make_request(KEY)
CLIENT = CA.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 3500)
DER = serialization.Encoding.DER


class Peer:
    """One end of a TLS connection in memory."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=name is None, server_hostname=name)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes:
    """Shake hands; returns the client's certificate as the server sees it. TLS errors of both ends are raised."""
    left, right = Peer(server, None), Peer(client, name)
    for _ in range(6):
        for peer, other in ((right, left), (left, right)):
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            if data := peer.outgoing.read():
                other.incoming.write(data)
    der = left.tls.getpeercert(binary_form=True)
    assert der is not None
    return der


def contexts(
    tmp_path: Path,
    *,
    pinned: Authority,
    server_issuer: Authority,
    trusted: tuple[Authority, ...],
    client: tuple[bytes, bytes],
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts as gateway and agent use them."""
    chain, pem = server_issuer.issue_server(NOW)
    (tmp_path / "server.pem").write_bytes(chain + pem)
    (tmp_path / "client.pem").write_bytes(b"".join(client))
    gateway = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    gateway.load_cert_chain(tmp_path / "server.pem")
    gateway.verify_mode = ssl.CERT_REQUIRED
    gateway.load_verify_locations(cadata=b"".join(authority.certificate_der for authority in trusted))
    agent = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    agent.load_verify_locations(cadata=pinned.certificate_der)
    agent.load_cert_chain(tmp_path / "client.pem")
    return gateway, agent


def pem_of(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


MINE = (pem_of(CLIENT), key_pem(KEY))


def test_tls_refuses_another_deployments_agent(tmp_path: Path) -> None:
    other = Authority.create("hpc.example.org", NOW)
    theirs = pem_of(other.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 3500))
    ends = contexts(tmp_path, pinned=CA, server_issuer=CA, trusted=(CA,), client=(theirs, key_pem(KEY)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(*ends, server_name(CA.id))


def test_tls_refuses_an_expired_agent(tmp_path: Path) -> None:
    late = pem_of(CA.issue_client(CSR, ALICE, now=NOW - 7200, not_after=NOW - 3700))
    ends = contexts(tmp_path, pinned=CA, server_issuer=CA, trusted=(CA,), client=(late, key_pem(KEY)))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(*ends, server_name(CA.id))


def test_tls_refuses_the_gateways_certificate_as_an_agents(tmp_path: Path) -> None:
    ends = contexts(tmp_path, pinned=CA, server_issuer=CA, trusted=(CA,), client=CA.issue_server(NOW))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(*ends, server_name(CA.id))


def test_tls_refuses_an_agent_that_plays_the_gateway(tmp_path: Path) -> None:
    gateway, agent = contexts(tmp_path, pinned=CA, server_issuer=CA, trusted=(CA,), client=MINE)
    gateway.load_cert_chain(tmp_path / "client.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(gateway, agent, server_name(CA.id))


def test_tls_refuses_a_gateway_of_another_authority(tmp_path: Path) -> None:
    other = Authority.create("hpc.example.org", NOW)
    ends = contexts(tmp_path, pinned=CA, server_issuer=other, trusted=(CA,), client=MINE)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(*ends, server_name(CA.id))


def test_tls_accepts_agents_of_old_and_new_authority(tmp_path: Path) -> None:
    new = Authority.create("hpc.example.org", NOW)
    for issuer in (CA, new):
        der = issuer.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 3500)
        ends = contexts(tmp_path, pinned=CA, server_issuer=CA, trusted=(new, CA), client=(pem_of(der), key_pem(KEY)))
        assert parse_client(handshake(*ends, server_name(CA.id))).subject == ALICE
