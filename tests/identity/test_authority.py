"""Certificates: what a request may not ask for, what a certificate must say, and that TLS agrees."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity.authority import (
    CERTIFICATE_LIMIT,
    CLIENT_LIFE_S,
    REQUEST_LIMIT,
    SERVER_LIFE_S,
    Authority,
    check_request,
    key_pem,
    make_request,
    new_key,
    parse_client,
    serial_hex,
    server_name,
    spki_sha256,
)
from jupyter_hpcsec.identity.subject import JobSubject

NOW = int(time.time())
SID = "5e55" * 8
ALICE = JobSubject("hpc.example.org", "alice", "", "17", SID)
CA = Authority.create("hpc.example.org", NOW)
KEY = new_key()
CSR = make_request(KEY)
CLIENT = CA.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 600)
DER = serialization.Encoding.DER
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
EVIL_SAN = x509.SubjectAlternativeName(
    [x509.UniformResourceIdentifier(f"spiffe://hpc.example.org/user/bob/server/-/job/17/session/{SID}")]
)


def request(*, subject: x509.Name | None = None) -> x509.CertificateSigningRequestBuilder:
    return x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))


def signed(builder: x509.CertificateSigningRequestBuilder) -> bytes:
    return builder.sign(KEY, hashes.SHA256()).public_bytes(DER)


def refusal(csr: object) -> str:
    with pytest.raises(Refused) as caught:
        check_request(csr)  # type: ignore[arg-type]
    with pytest.raises(Refused):
        CA.issue_client(csr, ALICE, now=NOW, not_after=NOW + 60)  # type: ignore[arg-type]
    return caught.value.rule.removeprefix("request.")


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "csr",
    [
        signed(request(subject=NAME)),
        signed(request().add_extension(EVIL_SAN, critical=False)),
        signed(request().add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway")]), critical=True)),
        signed(request().add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)),
        signed(request().add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)),
        signed(
            request().add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=False
            )
        ),
        signed(request().add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"x")),
        signed(request().add_attribute(x509.oid.AttributeOID.UNSTRUCTURED_NAME, b"x")),
    ],
    ids=["subject", "uri", "dns", "ca", "usage", "unknown extension", "challenge", "unstructured name"],
)
def test_a_request_with_any_extra_name_is_refused(csr: bytes) -> None:
    assert refusal(csr) == "extra-names"


def test_a_request_that_is_signed_as_it_comes_names_another_user() -> None:
    # What a careless authority does: it copies the extensions that were asked for.
    csr = x509.load_der_x509_csr(signed(request().add_extension(EVIL_SAN, critical=False)))
    builder = x509.CertificateBuilder().subject_name(csr.subject).issuer_name(NAME).public_key(csr.public_key())
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    start = datetime.fromtimestamp(NOW, UTC)
    builder = builder.serial_number(7).not_valid_before(start).not_valid_after(start + timedelta(hours=1))
    naive = builder.sign(new_key(), hashes.SHA256()).public_bytes(DER)
    assert parse_client(naive).subject.user == "bob"
    assert refusal(csr.public_bytes(DER)) == "extra-names"


def other_keys() -> dict[str, bytes]:
    return {
        "rsa": request().sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(DER),
        "ed25519": request().sign(Ed25519PrivateKey.generate(), None).public_bytes(DER),
        "p384": request().sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()).public_bytes(DER),
        "p521": request().sign(ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()).public_bytes(DER),
        "k256": request().sign(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()).public_bytes(DER),
        "dsa": request().sign(dsa.generate_private_key(2048), hashes.SHA256()).public_bytes(DER),
    }


@pytest.mark.parametrize(("kind", "csr"), other_keys().items(), ids=lambda value: value if type(value) is str else "")
def test_another_key_type_or_curve_is_refused(kind: str, csr: bytes) -> None:
    assert refusal(csr) == "key", kind


def test_a_bad_signature_is_refused() -> None:
    assert refusal(CSR[:-1] + bytes([CSR[-1] ^ 1])) in {"signature", "form"}
    # Another key's public half: somebody asks for a certificate for a key that is not theirs.
    theirs, mine = _spki(new_key()), _spki(KEY)
    assert mine in CSR
    assert refusal(CSR.replace(mine, theirs)) == "signature"


def test_unused_bits_that_the_library_passes_over_are_refused() -> None:
    # A signature that ends in a zero bit, in a BIT STRING that says that this bit is none.
    csr = next(csr for _ in range(99) if not (csr := make_request(KEY))[-1] & 1)
    signature = x509.load_der_x509_csr(csr).signature
    other = csr.replace(b"\0" + signature, b"\1" + signature)
    assert other != csr
    assert x509.load_der_x509_csr(other).is_signature_valid
    assert refusal(other) == "form"
    check_request(csr)


def test_another_hash_is_refused() -> None:
    assert refusal(request().sign(KEY, hashes.SHA512()).public_bytes(DER)) == "signature"


@pytest.mark.parametrize(
    "csr", [b"", CSR + b"\0", b"\x30\x82\x00" + CSR[2:], CSR * 2, CSR[:-1], CSR[1:], b"\x30\x80", b"x" * 40, CLIENT]
)
def test_what_is_not_one_request_is_refused(csr: bytes) -> None:
    assert refusal(csr) in {"form", "size"}


@pytest.mark.parametrize("csr", [b"", b"\0" * (REQUEST_LIMIT + 1), None, "text"])
def test_a_request_has_a_size(csr: object) -> None:
    assert refusal(csr) == "size"


def test_pem_is_not_accepted() -> None:
    pem = x509.load_der_x509_csr(CSR).public_bytes(serialization.Encoding.PEM)
    assert refusal(pem) == "form"


@given(st.binary(max_size=300))
def test_nothing_but_refused_is_raised_for_a_request(data: bytes) -> None:
    refusal(data)


@given(st.integers(0, len(CSR) - 1), st.integers(1, 255))
def test_no_mutation_of_a_request_is_accepted(at: int, flip: int) -> None:
    refusal(CSR[:at] + bytes([CSR[at] ^ flip]) + CSR[at + 1 :])


def test_a_plain_request_is_accepted() -> None:
    assert _public(check_request(CSR)) == _public(KEY.public_key())
    assert spki_sha256(CSR) == spki_sha256(KEY.public_key()) == hashlib.sha256(_spki(KEY)).digest()


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return _public(key.public_key())


# --- client certificates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [NOW, NOW - 1, 0])
def test_no_certificate_after_the_end_of_the_session(end: int) -> None:
    with pytest.raises(Refused) as caught:
        CA.issue_client(CSR, ALICE, now=NOW, not_after=end)
    assert caught.value.rule == "certificate.session-over"


def test_no_certificate_for_another_deployment() -> None:
    with pytest.raises(Refused) as caught:
        CA.issue_client(CSR, JobSubject("other.example", "alice", "", "17", SID), now=NOW, not_after=NOW + 60)
    assert caught.value.rule == "certificate.trust-domain"


def test_a_certificate_ends_with_the_session() -> None:
    assert parse_client(CLIENT).not_after == NOW + 600


def test_a_certificate_lives_an_hour_at_most() -> None:
    identity = parse_client(CA.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 10**8))
    assert identity.not_after - identity.not_before == CLIENT_LIFE_S == 3600
    assert identity.not_before <= NOW


def test_a_certificate_says_whose_job_it_is_and_no_more() -> None:
    certificate = x509.load_der_x509_certificate(CLIENT)
    identity = parse_client(CLIENT)
    assert identity.subject == ALICE
    assert identity.serial_hex == f"{certificate.serial_number:040x}" == serial_hex(CLIENT)
    assert identity.spki_sha256 == spki_sha256(KEY.public_key())
    assert not certificate.subject.rdns
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(CA.certificate_der))
    with pytest.raises(ValueError, match="Issuer"):
        certificate.verify_directly_issued_by(
            x509.load_der_x509_certificate(Authority.create("hpc.example.org", NOW).certificate_der)
        )


def test_serial_numbers_do_not_repeat() -> None:
    serials = {serial_hex(CA.issue_client(CSR, ALICE, now=NOW, not_after=NOW + 60)) for _ in range(20)}
    assert len(serials) == 20


def certificate(*extensions: x509.ExtensionType, subject: x509.Name | None = None, key: object = None) -> bytes:
    start = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder().subject_name(subject or x509.Name([])).issuer_name(NAME).serial_number(7)
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(hours=1))
    builder = builder.public_key(key or KEY.public_key())  # type: ignore[arg-type]
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(DER)


CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SAN = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ALICE.uri)])


@pytest.mark.parametrize(
    ("der", "rule"),
    [
        (b"", "size"),
        (b"\x30" * (CERTIFICATE_LIMIT + 1), "size"),
        (b"\x30\x80", "form"),
        (CSR, "form"),
        (CLIENT + b"\0", "form"),
        (certificate(), "form"),
        (certificate(SAN), "form"),
        (certificate(CLIENT_AUTH), "form"),
        (certificate(SAN, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), "usage"),
        (
            certificate(SAN, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])),
            "usage",
        ),
        (certificate(SAN, CLIENT_AUTH, subject=NAME), "names"),
        (certificate(x509.SubjectAlternativeName([*SAN, *SAN]), CLIENT_AUTH), "names"),
        (certificate(x509.SubjectAlternativeName([x509.DNSName("alice")]), CLIENT_AUTH), "names"),
        (certificate(x509.SubjectAlternativeName([*SAN, x509.DNSName("a")]), CLIENT_AUTH), "names"),
        (
            certificate(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://x")]), CLIENT_AUTH),
            "names",
        ),
        (
            certificate(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ALICE.uri.replace("alice", "%61lice"))]),
                CLIENT_AUTH,
            ),
            "names",
        ),
        (certificate(SAN, CLIENT_AUTH, key=ec.generate_private_key(ec.SECP384R1()).public_key()), "key"),
        (certificate(SAN, CLIENT_AUTH, key=Ed25519PrivateKey.generate().public_key()), "key"),
    ],
)
def test_what_is_not_an_agents_certificate_is_refused(der: bytes, rule: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_client(der)
    assert caught.value.rule == f"certificate.{rule}"


def test_the_gateways_own_certificate_is_no_agents() -> None:
    chain, _ = CA.issue_server(NOW)
    der = x509.load_pem_x509_certificates(chain)[0].public_bytes(DER)
    with pytest.raises(Refused) as caught:
        parse_client(der)
    assert caught.value.rule == "certificate.usage"


def only_refused(der: bytes) -> None:
    try:
        parse_client(der)
    except Refused as refused:
        assert refused.rule.startswith("certificate.")  # noqa: PT017 - the point is that nothing else is raised


@given(st.binary(max_size=300))
def test_nothing_but_refused_is_raised_for_a_certificate(data: bytes) -> None:
    only_refused(data)


@given(st.integers(0, len(CLIENT) - 1), st.integers(1, 255))
def test_nothing_but_refused_is_raised_for_a_broken_certificate(at: int, flip: int) -> None:
    only_refused(CLIENT[:at] + bytes([CLIENT[at] ^ flip]) + CLIENT[at + 1 :])


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_nothing_but_refused_is_raised_for_any_uri(uri: str) -> None:
    only_refused(certificate(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), CLIENT_AUTH))


# --- the gateway's certificate, and TLS itself ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "x" * 64, "A" * 64, "a" * 63, "../" + "a" * 61])
def test_a_server_name_needs_an_authoritys_id(name: str) -> None:
    with pytest.raises(Malformed):
        server_name(name)


def test_the_gateway_has_one_name_for_each_authority() -> None:
    chain, _ = CA.issue_server(NOW)
    leaf, authority = x509.load_pem_x509_certificates(chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [type(name) for name in names] == [x509.DNSName]
    assert names.get_values_for_type(x509.DNSName) == [f"ca-{CA.id[:32]}.gateway.hpcsec.internal"]
    assert authority.public_bytes(DER) == CA.certificate_der
    assert CA.id == hashlib.sha256(CA.certificate_der).hexdigest()
    assert int(leaf.not_valid_after_utc.timestamp()) == NOW + SERVER_LIFE_S


def test_an_authority_comes_back_from_its_files() -> None:
    other = Authority.create("hpc.example.org", NOW)
    for certificate_der, pem in (
        (CA.certificate_der, other.key_pem),
        (CA.certificate_der, b"x"),
        (b"x", CA.key_pem),
        (CLIENT, key_pem(KEY)),
    ):
        with pytest.raises(Malformed):
            Authority.load(certificate_der, pem)
    for uris in ([], ["spiffe://a", "spiffe://b"], ["https://hpc.example.org"], ["spiffe://A"]):
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        with pytest.raises(Malformed, match="trust domain"):
            Authority.load(certificate(names) if uris else certificate(), key_pem(KEY))
    again = Authority.load(CA.certificate_der, CA.key_pem)
    assert (again.id, again.trust_domain) == (CA.id, "hpc.example.org")
