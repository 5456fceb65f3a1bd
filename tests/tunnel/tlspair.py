"""A pair of handshaken, non-blocking TLS sockets for tests, and certificates made on the spot."""

import asyncio
import datetime
import gc
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.messages import LANE
from jupyter_hpcsec.tunnel.tls import client_context, server_context

NAME = "gateway.test"


def self_signed(name: str = NAME) -> tuple[bytes, bytes, bytes]:
    """DER, PEM and key PEM of a certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.DER), certificate.public_bytes(Encoding.PEM), private


def shake_hands(one: TlsConnection, other: TlsConnection) -> None:
    for _ in range(20):
        if all([one.handshake(), other.handshake()]):
            return
    raise AssertionError("the handshake does not end")


def tls_pair() -> tuple[TlsConnection, TlsConnection]:
    """(client, server) over a local stream socket pair."""
    der, pem, key = self_signed()
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    server = TlsConnection(right, server_context(pem, key, [der]))
    client = TlsConnection(left, client_context(LANE, der), server_name=NAME)
    shake_hands(client, server)
    return client, server


def descriptors() -> int:
    """How many this process holds now."""
    gc.collect()  # what earlier tests left in cycles must not close in between
    return len(list(Path("/proc/self/fd").iterdir()))


async def settle() -> None:
    """Let the loop turn so often that whatever is ready has been served; turns count, not time."""
    for _ in range(50):
        await asyncio.sleep(0)
