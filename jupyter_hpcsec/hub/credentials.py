"""The job's key and certificate, in this process's memory and nowhere else: what ``tunnel.agent`` calls Credentials.

Each request gets a fresh key, so that an old one is worth nothing once its certificate has run out.
"""

import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.munge import munge_encode, munge_payload

MUNGE_SOCKETS = (Path("/run/munge/munge.socket.2"), Path("/var/run/munge/munge.socket.2"))


class JobCredentials:
    """Implements ``tunnel.agent.Credentials``."""

    def __init__(self) -> None:
        self._next: ec.EllipticCurvePrivateKey | None = None
        self._current: ec.EllipticCurvePrivateKey | None = None
        self._certificate: x509.Certificate | None = None
        self.first_key = authority.new_key()
        """The key of the first request, made beforehand: the evidence for the enrolment names it."""

    def request(self) -> bytes:
        """The DER of a request for a fresh key, which becomes current with ``install``."""
        first = self._current is None
        self._next = self.first_key if first else authority.new_key()
        return authority.make_request(self._next)

    def install(self, certificate: bytes) -> None:
        """Make the key of the last request current. ``Malformed`` for a certificate of any other key."""
        if self._next is None:
            raise Malformed("a certificate came that was not asked for")
        try:
            parsed = x509.load_der_x509_certificate(certificate)
        except ValueError as error:
            raise Malformed("the gateway's answer holds no certificate") from error
        if parsed.public_key() != self._next.public_key():
            raise Malformed("the certificate is for another key than the one it was asked for")
        self._current, self._next, self._certificate = self._next, None, parsed

    def certificate_pem(self) -> bytes:
        """The current certificate."""
        if self._certificate is None:
            raise AssertionError("BUG: the certificate was asked for before the enrolment")
        return self._certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """The current key."""
        if self._current is None:
            raise AssertionError("BUG: the key was asked for before the enrolment")
        return authority.key_pem(self._current)


def has_munge() -> bool:
    """Whether this node has munge: its command, and a daemon's socket."""
    return shutil.which("munge") is not None and any(path.is_socket() for path in MUNGE_SOCKETS)


def evidence(session: str, key: ec.EllipticCurvePrivateKey, *, munge: bool) -> dict[str, str]:
    """What the attestors are shown, by attestor name. The scheduler's needs nothing from here.

    A munge that is installed and broken is reported as absent: the gateway decides whether it needs one, and says so.
    """
    if not munge:
        return {}
    try:
        return {"munge": munge_encode(munge_payload(session, authority.spki_sha256(key.public_key())))}
    except Unavailable:
        return {}
