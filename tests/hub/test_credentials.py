"""The job's key: certificates are for keys that were asked with, and each renewal has a new one."""

import logging
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub import credentials as module
from jupyter_hpcsec.hub.credentials import JobCredentials, evidence
from jupyter_hpcsec.identity.authority import Authority, make_request, new_key, spki_sha256
from jupyter_hpcsec.identity.munge import munge_payload
from jupyter_hpcsec.identity.subject import JobSubject
from jupyter_hpcsec.tunnel.jobkey import Credentials

NOW = 1_800_000_000
SESSION = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("example.org", NOW)


def issue(authority: Authority, request: bytes) -> bytes:
    subject = JobSubject(trust_domain="example.org", user="alice", server="", job="1", session=SESSION)
    return authority.issue_client(request, subject, now=NOW, not_after=NOW + 600)


def public_of(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def matches(credentials: JobCredentials) -> bool:
    certificate = x509.load_pem_x509_certificate(credentials.certificate_pem())
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public == public_of(credentials.key_pem())


def test_a_certificate_of_another_key_is_refused(authority: Authority) -> None:
    credentials = JobCredentials()
    for wrong in (issue(authority, make_request(new_key())), b"", b"\x30\x00", b"x" * 100):
        with pytest.raises(Malformed):
            credentials.install(wrong)
    with pytest.raises(AssertionError, match="BUG"):
        credentials.key_pem()
    with pytest.raises(AssertionError, match="BUG"):
        credentials.certificate_pem()


def test_each_certificate_has_a_key_of_its_own(authority: Authority) -> None:
    credentials: Credentials = JobCredentials()
    assert isinstance(credentials, JobCredentials)
    first = credentials.request()
    assert spki_sha256(first) == credentials.fingerprint()
    credentials.install(issue(authority, first))
    assert matches(credentials)
    old = credentials.key_pem()
    second = credentials.request()
    assert credentials.key_pem() == old, "the old one is current until the new certificate is here"
    credentials.install(issue(authority, second))
    assert matches(credentials)
    assert credentials.key_pem() != old
    with pytest.raises(Malformed):
        credentials.install(issue(authority, first))


def test_two_requests_before_an_answer_may_both_be_answered(authority: Authority) -> None:
    credentials = JobCredentials()
    answers = [issue(authority, credentials.request()), issue(authority, credentials.request())]
    for answer in answers:
        credentials.install(answer)
        assert matches(credentials)


def test_without_munge_there_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name, path: None)
    assert evidence(SESSION, bytes(32), logging.getLogger()) == {}


def test_a_broken_munge_is_said_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def broken(payload: bytes) -> str:
        raise Unavailable("munge gave no credential: no daemon")

    monkeypatch.setattr(module.shutil, "which", lambda name, path: "/usr/bin/munge")
    monkeypatch.setattr(module, "munge_encode", broken)
    assert evidence(SESSION, bytes(32), logging.getLogger()) == {}
    assert "no daemon" in caplog.text


def test_munges_credential_binds_session_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module.shutil, "which", lambda name, path: "/usr/bin/munge")
    monkeypatch.setattr(module, "munge_encode", lambda payload: asked.append(payload) or "MUNGE:x:")
    credentials = JobCredentials()
    assert evidence(SESSION, credentials.fingerprint(), logging.getLogger()) == {"munge": "MUNGE:x:"}
    assert asked == [munge_payload(SESSION, spki_sha256(credentials.request()))]
