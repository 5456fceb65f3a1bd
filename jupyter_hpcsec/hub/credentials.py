"""The job's key and certificate, in this process's memory and nowhere else: what ``tunnel.agent`` calls Credentials.

Each request gets a fresh key, so that an old one is worth nothing once its certificate has run out.
"""

import logging
import shutil

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.commands import DEFAULT_PATH
from jupyter_hpcsec.identity.munge import munge_encode, munge_payload


class JobCredentials:
    """Implements ``tunnel.agent.Credentials``."""

    def __init__(self) -> None:
        self._next: ec.EllipticCurvePrivateKey | None = authority.new_key()
        self._current: ec.EllipticCurvePrivateKey | None = None
        self._certificate: x509.Certificate | None = None

    def request(self) -> bytes:
        """The DER of a request for a fresh key, which becomes current with ``install``.

        Asked again before the answer came, it is for the same key: then either answer will do.
        """
        return authority.make_request(self._pending())

    def fingerprint(self) -> bytes:
        """SHA-256 over the public key of the next request: what the evidence binds."""
        return authority.spki_sha256(self._pending().public_key())

    def _pending(self) -> ec.EllipticCurvePrivateKey:
        if self._next is None:
            self._next = authority.new_key()
        return self._next

    def install(self, certificate: bytes) -> None:
        """Make the key of the last request current. ``Malformed`` for a certificate of a key that is not ours."""
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            public = parsed.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("the gateway's answer holds no certificate") from error
        if self._next is not None and public == self._next.public_key():
            self._current, self._next = self._next, None
        elif self._current is None or public != self._current.public_key():
            raise Malformed("the certificate is for another key than the one it was asked for")
        self._certificate = parsed

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


def evidence(session: str, fingerprint: bytes, log: logging.Logger) -> dict[str, str]:
    """What the attestors are shown, by attestor name: a MUNGE credential where munge is. The scheduler needs nothing.

    Blocks for milliseconds. A munge that is installed and broken is the same as none, but for a line in the job's log:
    the gateway decides whether it has to have one, and refuses then.
    """
    if shutil.which("munge", path=DEFAULT_PATH) is None:
        return {}
    try:
        return {"munge": munge_encode(munge_payload(session, fingerprint))}
    except Unavailable as error:
        log.warning("%s", error)
        return {}
