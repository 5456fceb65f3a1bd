"""The steps of an enrolment: each refuses by itself, in its order, and only what passes all of them is issued."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.attestation import AttestationClaim, UnsafeNoAttestor
from jupyter_hpcsec.identity.authority import CLIENT_LIFE_S, make_request, new_key, parse_client, spki_sha256
from jupyter_hpcsec.identity.enrolment import Enroller, EnrolRequest, WaitingSession
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.tokens import JobClaims, mint

NOW = 1_800_000_000
SID, JTI = "5e55" * 8, "b" * 32
ISSUER, AUDIENCE, DOMAIN = "hub.example.org", "gateway.example.org", "hpc.example.org"
CSR = make_request(new_key())
SESSION = WaitingSession(SID, "alice", "gpu", 1001, "17", NOW + 7200)


class Witness:
    """An attestor that remembers what it was asked."""

    name = "witness"

    def __init__(self, error: HpcsecError | None = None, end: int | None = None) -> None:
        self.error, self.end = error, end
        self.asked: list[AttestationClaim] = []

    async def attest(self, claim: AttestationClaim) -> None:
        self.asked.append(claim)
        if self.error:
            raise self.error

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> int | None:
        if self.error:
            raise self.error
        assert (uid, job_id, node) == (1001, "17", "node1")
        return self.end


class Setup:
    """A deployment with one waiting session and its token."""

    def __init__(self, directory: Path) -> None:
        self.ring = KeyRing.open(directory / "keys", now=NOW, trust_domain=DOMAIN)
        self.witness = Witness()
        self.enroller = self.with_attestors(self.witness)
        self.request = EnrolRequest(self.token(), CSR, "17", "node1", {"munge": "MUNGE:AAAA:"}, "10.77.0.11")

    def with_attestors(self, *attestors: Witness) -> Enroller:
        return Enroller(self.ring, attestors, issuer=ISSUER, audience=AUDIENCE, trust_domain=DOMAIN)

    def token(self, session: str = SID, audience: str = AUDIENCE) -> str:
        kid, key = self.ring.signing_key()
        return mint(key, kid, JobClaims(ISSUER, audience, session, JTI, NOW, NOW + 3600))

    async def refusal(
        self, request: EnrolRequest, session: WaitingSession | None = SESSION, *, jti_used: bool = False, now: int = NOW
    ) -> str:
        with pytest.raises(Refused) as caught:
            await self.enroller.check(request, session, jti_used=jti_used, now=now)
        return caught.value.rule


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_no_attestor_at_all_is_refused(setup: Setup) -> None:
    with pytest.raises(Malformed, match="attestor"):
        setup.with_attestors()
    unsafe = Enroller(setup.ring, [UnsafeNoAttestor()], issuer=ISSUER, audience=AUDIENCE, trust_domain=DOMAIN)
    assert unsafe.attestors == ("none",)


async def test_step_1_the_token(setup: Setup) -> None:
    for token, rule in (
        ("", "token.missing"),
        (setup.request.token[:-4] + "AAAA", "token.signature"),
        (setup.token(audience="other"), "token.audience"),
    ):
        assert await setup.refusal(replace(setup.request, token=token)) == rule
    assert await setup.refusal(setup.request, now=NOW - 1) == "token.not-yet-valid"
    assert await setup.refusal(setup.request, now=NOW + 3600) == "token.expired"


async def test_step_2_a_used_token(setup: Setup) -> None:
    assert await setup.refusal(setup.request, jti_used=True) == "enrol.token-used"


async def test_step_3_the_session_waits(setup: Setup) -> None:
    assert await setup.refusal(setup.request, None) == "enrol.session"
    assert await setup.refusal(setup.request, replace(SESSION, id="a" * 32)) == "enrol.session"
    assert await setup.refusal(replace(setup.request, token=setup.token("a" * 32))) == "enrol.session"


async def test_step_4_the_job_is_the_one_that_was_submitted(setup: Setup) -> None:
    assert await setup.refusal(setup.request, replace(SESSION, job_id="")) == "enrol.job-unbound"
    assert await setup.refusal(setup.request, replace(SESSION, job_id="18")) == "enrol.other-job"
    assert await setup.refusal(replace(setup.request, job_id="18")) == "enrol.other-job"
    for job_id in ("", "-h", "17 18", "17\n", "\N{FULLWIDTH DIGIT ONE}"):
        assert (
            await setup.refusal(replace(setup.request, job_id=job_id), replace(SESSION, job_id=job_id)) == "enrol.form"
        )


@pytest.mark.parametrize(
    "change",
    [
        {"node": ""},
        {"node": "-v"},
        {"node": "../x"},
        {"node": "a" * 300},
        {"evidence": {str(n): "" for n in range(9)}},
        {"evidence": {"munge": "x" * 8193}},
        {"evidence": {"x" * 65: ""}},
    ],
)
async def test_what_no_honest_agent_sends_reaches_no_attestor(setup: Setup, change: dict[str, object]) -> None:
    assert await setup.refusal(replace(setup.request, **change)) == "enrol.form"  # type: ignore[arg-type]
    assert not setup.witness.asked


async def test_step_5_the_certificate_request(setup: Setup) -> None:
    for csr, rule in ((b"", "request.size"), (b"x" * 99, "request.form"), (CSR[:-1], "request.form")):
        assert await setup.refusal(replace(setup.request, csr_der=csr)) == rule
    assert not setup.witness.asked


@pytest.mark.parametrize("error", [Refused("attest.x", "no"), Unavailable("no answer"), Malformed("what?")])
async def test_step_6_every_attestor_must_agree(setup: Setup, error: HpcsecError) -> None:
    for attestors in ((Witness(error), Witness()), (Witness(), Witness(error))):
        with pytest.raises(type(error)):
            await setup.with_attestors(*attestors).check(setup.request, SESSION, jti_used=False, now=NOW)


async def test_attestors_are_asked_about_the_gateways_own_books(setup: Setup) -> None:
    await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW)
    assert setup.witness.asked == [
        AttestationClaim(SID, 1001, "17", "node1", "10.77.0.11", spki_sha256(CSR), {"munge": "MUNGE:AAAA:"})
    ]


async def test_nothing_is_issued_after_the_session(setup: Setup) -> None:
    checked = await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW)
    with pytest.raises(Refused) as caught:
        setup.enroller.issue(checked, SESSION.ends_at)
    assert caught.value.rule == "certificate.session-over"


async def test_what_passes_gets_the_sessions_certificate(setup: Setup) -> None:
    claims = setup.enroller.claims(setup.request.token, NOW)
    assert (claims.session, claims.jti) == (SID, JTI)
    checked = await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW)
    issued = setup.enroller.issue(checked, NOW)
    identity = parse_client(issued.certificate_der)
    subject = identity.subject
    assert (subject.user, subject.server, subject.job, subject.session) == ("alice", "gpu", "17", SID)
    assert (issued.serial, issued.not_after) == (identity.serial_hex, identity.not_after)
    assert NOW < issued.not_after <= NOW + CLIENT_LIFE_S
    assert identity.spki_sha256 == spki_sha256(CSR)
    assert issued.authority_ders == (setup.ring.authority().certificate_der,)


async def test_a_certificate_ends_with_the_session(setup: Setup) -> None:
    ending = replace(SESSION, ends_at=NOW + 90)
    checked = await setup.enroller.check(setup.request, ending, jti_used=False, now=NOW)
    assert setup.enroller.issue(checked, NOW).not_after == NOW + 90


async def test_a_renewal_keeps_the_subject_and_is_bounded(setup: Setup) -> None:
    checked = await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW)
    identity = parse_client(setup.enroller.issue(checked, NOW).certificate_der)
    csr = make_request(new_key())
    for rule, refused in (
        ("renew.expired", {"identity": identity, "csr_der": csr, "now": identity.not_after}),
        ("certificate.session-over", {"identity": identity, "csr_der": csr, "now": NOW, "session_ends": NOW}),
        ("request.form", {"identity": identity, "csr_der": b"x", "now": NOW}),
        (
            "renew.trust-domain",
            {
                "identity": replace(identity, subject=replace(identity.subject, trust_domain="other.example")),
                "csr_der": csr,
                "now": NOW,
            },
        ),
    ):
        with pytest.raises(Refused) as caught:
            setup.enroller.renew(**{"session_ends": SESSION.ends_at, **refused})  # type: ignore[arg-type]
        assert caught.value.rule == rule
    renewed = setup.enroller.renew(identity, csr, session_ends=SESSION.ends_at, now=NOW + 3000)
    again = parse_client(renewed.certificate_der)
    assert again.subject == identity.subject
    assert again.serial_hex != identity.serial_hex
    assert again.spki_sha256 == spki_sha256(csr)
    last = setup.enroller.renew(identity, csr, session_ends=NOW + 3100, now=NOW + 3000)
    assert last.not_after == NOW + 3100


async def test_every_attestor_has_a_say_in_a_jobs_end(setup: Setup) -> None:
    job = {"uid": 1001, "job_id": "17", "node": "node1"}
    with pytest.raises(Unavailable):
        await setup.with_attestors(Witness(end=NOW), Witness(Unavailable("no answer"))).ends_at(**job)  # type: ignore[arg-type]
    assert await setup.with_attestors(Witness(), Witness()).ends_at(**job) is None  # type: ignore[arg-type]
    words = Witness(end=NOW + 9), Witness(), Witness(end=NOW + 5)
    assert await setup.with_attestors(*words).ends_at(**job) == NOW + 5  # type: ignore[arg-type]


async def test_a_rotation_ends_no_session(setup: Setup) -> None:
    checked = await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW)
    old = setup.enroller.issue(checked, NOW)
    setup.ring.rotate("token", NOW + 1)
    setup.ring.rotate("authority", NOW + 1)
    # The queued job's token, signed by the retired key, still enrols; its certificate comes from the new authority.
    checked = await setup.enroller.check(setup.request, SESSION, jti_used=False, now=NOW + 2)
    new = setup.enroller.issue(checked, NOW + 2)
    current, retired = setup.ring.authorities(NOW + 2)
    assert new.authority_ders == (current.certificate_der, retired.certificate_der)
    for issued, authority in ((old, retired), (new, current)):
        certificate = x509.load_der_x509_certificate(issued.certificate_der)
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority.certificate_der))
    assert parse_client(old.certificate_der).subject == parse_client(new.certificate_der).subject
