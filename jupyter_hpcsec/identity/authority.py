"""Certificate authority of one deployment: who an agent is, and which gateway it may talk to.

EC P-256 throughout (RFC 5480), because both ends of every handshake pay for it. The module makes and reads X.509
(RFC 5280) and nothing else: what a request asks for is never copied into a certificate, only its public key is. It does
no I/O; keys stay with the caller.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity.subject import JobSubject, check_trust_domain

CLIENT_LIFE_S = 3600
"""Longest validity of a client certificate, from its first to its last second."""
SERVER_LIFE_S = 7 * 24 * 3600
"""Validity of the gateway's own certificate after it was issued; ask for another one well before."""
AUTHORITY_LIFE_S = 10 * 365 * 24 * 3600
SKEW_S = 300
"""A server certificate begins this much earlier, for nodes whose clock is slow."""
CLIENT_SKEW_S = 60
"""A client certificate is read by the clock that dated it; this covers a step of that clock."""
REQUEST_LIMIT = 2048
"""Bytes of a certificate request; one for P-256 has about 200."""
CERTIFICATE_LIMIT = 8192
"""Bytes of a client certificate."""
SERVER_SUFFIX = "gateway.hpcsec.internal"
"""``.internal`` is reserved for private use (ICANN, 2024) and never resolves: the name is a label, not an address."""

_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Named:
    """What a client certificate says, its one name unread. ``serial_hex``: 40 lower-case hex digits; Unix seconds."""

    uri: str
    serial_hex: str
    not_before: int
    not_after: int
    spki_sha256: bytes


class Subject(Protocol):
    """What a client certificate may be issued for."""

    @property
    def trust_domain(self) -> str:
        """Whose deployment."""

    @property
    def uri(self) -> str:
        """The one name."""


@dataclass(frozen=True)
class ClientIdentity:
    """Who presented a certificate. ``serial_hex``: 40 lower-case hex digits; times: Unix seconds."""

    subject: JobSubject
    serial_hex: str
    not_before: int
    not_after: int
    spki_sha256: bytes


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode ``key`` as PKCS #8 PEM (RFC 5958), unencrypted: keep it in memory or in a 0600 file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Make the only request that :func:`check_request` accepts: no subject, no attribute. DER (RFC 2986)."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def check_request(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a certificate request, or raise :class:`Refused` (``request.<why>``)."""
    # 1. Small.
    if not isinstance(csr_der, bytes) or not csr_der or len(csr_der) > REQUEST_LIMIT:
        raise Refused("request.size", f"a certificate request must have 1 to {REQUEST_LIMIT} bytes")
    try:
        # 2. One DER structure without a byte after it: the library's parser takes no other.
        request = x509.load_der_x509_csr(csr_der)
        # 3. The key: EC P-256 only.
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Refused("request.key", "the certificate request's key is not EC P-256")
        # 4. Whoever asks holds the key. The signature is a BIT STRING of whole bytes (X.690, 8.6): the library passes
        #    over a wrong count of unused bits, which would make two spellings of one request.
        if not csr_der.endswith(bytes([0x03, len(request.signature) + 1, 0]) + request.signature):
            raise Refused("request.form", "the certificate request is not in canonical DER")
        if not isinstance(request.signature_hash_algorithm, hashes.SHA256) or not request.is_signature_valid:
            raise Refused("request.signature", "the certificate request's signature is not valid")
        # 5. No subject and no attribute (extension requests among them): names come from the gateway alone.
        if request.subject.rdns or len(request.attributes):
            raise Refused("request.extra-names", "the certificate request asks for names or extensions; it may not")
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise Refused("request.form", "that is not a certificate request") from error
    return key


def spki_sha256(key: ec.EllipticCurvePublicKey | bytes) -> bytes:
    """Return SHA-256 over the DER SubjectPublicKeyInfo of a public key, or of a request's after checking it."""
    public = check_request(key) if isinstance(key, bytes) else key
    return hashlib.sha256(_spki(public)).digest()


def server_name(authority_id: str) -> str:
    """Return the gateway's name under one authority, used as SNI: it tells the gateway which chain to show."""
    if not _ID.fullmatch(authority_id):
        raise Malformed("an authority's id is 64 lower-case hexadecimal digits")
    return f"ca-{authority_id[:32]}.{SERVER_SUFFIX}"


def authority_name(authority_der: bytes) -> str:
    """:func:`server_name` of the authority whose certificate this is."""
    return server_name(hashlib.sha256(authority_der).hexdigest())


def parse_client(cert_der: bytes) -> ClientIdentity:
    """Read which job a client certificate names, or raise :class:`Refused` (``certificate.<why>``).

    The caller still owes the check of signature, validity and revocation: give only what a TLS handshake has verified.
    """
    named = parse_named(cert_der)
    try:
        subject = JobSubject.parse(named.uri)
    except Malformed as error:
        raise Refused("certificate.names", error.reason) from error
    return ClientIdentity(subject, named.serial_hex, named.not_before, named.not_after, named.spki_sha256)


def parse_named(cert_der: bytes) -> Named:
    """Read a client certificate without saying whose it is, which the caller owes; as :func:`parse_client` refuses."""
    # 1. Small.
    if not isinstance(cert_der, bytes) or not cert_der or len(cert_der) > CERTIFICATE_LIMIT:
        raise Refused("certificate.size", f"a client certificate must have 1 to {CERTIFICATE_LIMIT} bytes")
    try:
        certificate = x509.load_der_x509_certificate(cert_der)
        key = certificate.public_key()
        extensions = certificate.extensions
        # 2. For clients only: the gateway's own certificate names no job and must not pass for one.
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if list(usage) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
            raise Refused("certificate.usage", "the certificate is not for an agent")
        # 3. One name, a URI, and nothing beside it (SPIFFE X509-SVID, 2).
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier) or certificate.subject.rdns:
            raise Refused("certificate.names", "the certificate must carry one URI and no other name")
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Refused("certificate.key", "the certificate's key is not EC P-256")
        return Named(
            names[0].value,
            _serial_hex(certificate.serial_number),
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
            spki_sha256(key),
        )
    except (
        ValueError,
        TypeError,
        OverflowError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise Refused("certificate.form", "that is not an agent's certificate") from error


class Authority:
    """One certificate authority with its key. ``id`` is the SHA-256 of its certificate's DER, in hexadecimal."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        if _spki(key.public_key()) != certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ):
            raise Malformed("the authority's key does not belong to its certificate")
        self._certificate = certificate
        self._key = key
        self.certificate_der = certificate.public_bytes(serialization.Encoding.DER)
        self.id = hashlib.sha256(self.certificate_der).hexdigest()
        self.trust_domain = _trust_domain(certificate)
        self.not_after = int(certificate.not_valid_after_utc.timestamp())

    @classmethod
    def create(cls, trust_domain: str, now: int) -> Self:
        """Make a new self-signed authority for ``trust_domain``, valid for ``AUTHORITY_LIFE_S`` from ``now``."""
        check_trust_domain(trust_domain)
        key = new_key()
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        # Several authorities live side by side during a rotation: each has a name of its own, so that chains are
        # built without guessing.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hpcsec authority {key_id.digest.hex()[:16]}")])
        builder = _dated(x509.CertificateBuilder(), now - SKEW_S, now + AUTHORITY_LIFE_S)
        builder = builder.subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(key_id, critical=False)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]), critical=False
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate_der: bytes, private_pem: bytes) -> Self:
        """Read an authority back; :class:`Malformed` where certificate and key are damaged or do not match."""
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
            key = serialization.load_pem_private_key(private_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("an authority's certificate or key can't be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Malformed("an authority's key is not an EC key")
        return cls(certificate, key)

    @property
    def key_pem(self) -> bytes:
        """The private key, for the key ring's 0600 file only."""
        return key_pem(self._key)

    def issue_server(self, now: int) -> tuple[bytes, bytes]:
        """Issue the gateway's certificate under a fresh key: ``(chain_pem, key_pem)``, leaf first, authority second.

        Valid for ``SERVER_LIFE_S`` from ``now`` and never longer than the authority; its only name is
        :func:`server_name`.
        """
        key = new_key()
        names = x509.SubjectAlternativeName([x509.DNSName(server_name(self.id))])
        leaf = self._issue(
            key.public_key(),
            names,
            ExtendedKeyUsageOID.SERVER_AUTH,
            (now - SKEW_S, min(now + SERVER_LIFE_S, self.not_after)),
        )
        chain = [leaf, self._certificate]
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain), key_pem(key)

    def issue_client(self, csr_der: bytes, subject: Subject, *, now: int, not_after: int) -> bytes:
        """Issue a client certificate (DER) for ``subject`` and the request's key.

        It ends at ``not_after`` (Unix seconds, the end of the job) or after ``CLIENT_LIFE_S``, whichever is earlier.
        Raises :class:`Refused` for a bad request, a session that is over or a subject of another trust domain.
        """
        public = check_request(csr_der)
        if subject.trust_domain != self.trust_domain:
            raise Refused("certificate.trust-domain", "the subject belongs to another deployment")
        not_before = now - CLIENT_SKEW_S
        last = min(not_after, not_before + CLIENT_LIFE_S, self.not_after)
        if last <= now:
            raise Refused("certificate.session-over", "the session has reached its end; start the server again")
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject.uri)])
        certificate = self._issue(public, names, ExtendedKeyUsageOID.CLIENT_AUTH, (not_before, last))
        return certificate.public_bytes(serialization.Encoding.DER)

    def _issue(
        self,
        public: ec.EllipticCurvePublicKey,
        names: x509.SubjectAlternativeName,
        usage: x509.ObjectIdentifier,
        validity: tuple[int, int],
    ) -> x509.Certificate:
        builder = _dated(x509.CertificateBuilder(), *validity)
        builder = builder.subject_name(x509.Name([])).issuer_name(self._certificate.subject).public_key(public)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        # RFC 5280, 4.1.2.6: critical, because the subject is empty.
        builder = builder.add_extension(names, critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        return builder.sign(self._key, hashes.SHA256())


def serial_hex(cert_der: bytes) -> str:
    """Return the serial number of a certificate as 40 lower-case hex digits, the form that revocation uses."""
    return _serial_hex(x509.load_der_x509_certificate(cert_der).serial_number)


def _serial_hex(serial: int) -> str:
    # RFC 5280, 4.1.2.2: at most 20 octets, so that 40 digits hold every one.
    return f"{serial:040x}"


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _dated(builder: x509.CertificateBuilder, first: int, last: int) -> x509.CertificateBuilder:
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(datetime.fromtimestamp(first, UTC)).not_valid_after(
        datetime.fromtimestamp(last, UTC)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _trust_domain(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Malformed("the authority's certificate names no trust domain") from error
    if len(uris) != 1 or not uris[0].startswith("spiffe://"):
        raise Malformed("the authority's certificate names no trust domain")
    return check_trust_domain(uris[0].removeprefix("spiffe://"))
