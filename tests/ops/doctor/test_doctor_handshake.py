"""Real handshakes on the loopback: a stranger's certificate, a refusing peer, silence; then the pinned one."""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake, shake_hands

NAME = "ca-0123.gateway.hpcsec.internal"
ALPN = "hpcsec-enrol/1"


def authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(name, key, name, key, ca=True), key


def certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    age: datetime.timedelta = datetime.timedelta(0),
) -> x509.Certificate:
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5) - age
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def der(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Start a TLS server that takes two connections at most; gives its endpoint."""
    with contextlib.ExitStack() as stack:

        def start(ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, **settings: object) -> Endpoint:
            key = ec.generate_private_key(ec.SECP256R1())
            age = settings.get("age", datetime.timedelta(0))
            assert isinstance(age, datetime.timedelta)
            leaf = certificate(
                "gateway", key, ca.subject.rfc4514_string().removeprefix("CN="), ca_key, ca=False, age=age
            )
            pem = b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in (leaf, ca))
            (tmp_path / "chain.pem").write_bytes(pem)
            (tmp_path / "key.pem").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
            context.set_alpn_protocols([ALPN])
            if settings.get("wants_client"):
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(cadata=der(ca))
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_serve, args=(listener, context))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return Endpoint("127.0.0.1", listener.getsockname()[1])

        yield start


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
            secured.recv(1)


def shake(endpoint: Endpoint, ca: bytes | None, *, old: bool = False) -> Handshake:
    return shake_hands(endpoint, server_name=NAME, alpn=ALPN, ca=ca, old=old, timeout_s=10)


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert shake(Endpoint("127.0.0.1", port), None).connect_error == "refused"


def test_not_tls(serve: Callable[..., Endpoint]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=speak)
        thread.start()
        assert shake(Endpoint("127.0.0.1", listener.getsockname()[1]), None).tls_error
        thread.join()


def test_a_man_in_the_middle_shows_his_own_authority(serve: Callable[..., Endpoint]) -> None:
    ours, _ = authority("ours")
    theirs, their_key = authority("theirs")
    seen = shake(serve(theirs, their_key), der(ours))
    assert seen.verify_error
    assert seen.chain[-1] == der(theirs)
    assert not seen.afterwards


def test_an_expired_certificate(serve: Callable[..., Endpoint]) -> None:
    ca, key = authority("ours")
    assert "expired" in shake(serve(ca, key, age=datetime.timedelta(hours=2)), der(ca)).verify_error


def test_tls_1_2_is_refused(serve: Callable[..., Endpoint]) -> None:
    seen = shake(serve(*authority("ours")), None, old=True)
    assert seen.tls_error
    assert not seen.version


def test_a_peer_that_wants_a_certificate_says_so_afterwards(serve: Callable[..., Endpoint]) -> None:
    ca, key = authority("ours")
    seen = shake(serve(ca, key, wants_client=True), der(ca))
    assert seen.version == "TLSv1.3"
    assert "certificate required" in seen.afterwards


def test_the_pinned_gateway(serve: Callable[..., Endpoint]) -> None:
    ca, key = authority("ours")
    seen = shake(serve(ca, key), der(ca))
    assert (seen.version, seen.alpn, seen.afterwards) == ("TLSv1.3", ALPN, "waits")
    assert seen.chain[-1] == der(ca)


@pytest.mark.parametrize("text", ["hub:8443", "10.0.0.1:1", "[::1]:65535"])
def test_an_endpoint_is_shown_as_it_is_written(text: str) -> None:
    assert str(Endpoint.parse(text)) == text
