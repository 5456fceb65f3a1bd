"""Enrolment: the one time that a job's agent turns its token into a certificate.

The steps, in this order; each one refuses with its own rule and changes nothing:

1. the token's signature and claims (:meth:`Enroller.claims`)
2. its ``jti`` is unused
3. the session waits
4. the job that the batch system gave us for the session is the job that the agent claims
5. the certificate request (before the attestors: a MUNGE credential speaks for the request's key)
6. every attestor
7. the caller marks the ``jti`` used and the session enrolled, in one transaction that only one of two can win
8. the certificate (:meth:`Enroller.issue`)

Keeps no state and stores nothing; asking the attestors is all that is awaited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity.attestation import AttestationClaim, Attestor
from jupyter_hpcsec.identity.authority import ClientIdentity, check_request, parse_client, spki_sha256
from jupyter_hpcsec.identity.jobs import JOB_ID, NODE
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.subject import JobSubject, check_trust_domain
from jupyter_hpcsec.identity.tokens import JobClaims, verify

EVIDENCE_LIMIT = 8
"""Pieces of evidence in one request; each attestor asks for one."""
EVIDENCE_TEXT_LIMIT = 8192
"""Characters of one piece."""


@dataclass(frozen=True)
class EnrolRequest:
    """What an agent sends, and from where. Nothing of it is believed yet."""

    token: str
    csr_der: bytes
    job_id: str
    node: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    peer_address: str = ""


@dataclass(frozen=True)
class WaitingSession:
    """What the gateway's books say of a session that waits for its agent. ``ends_at``: Unix seconds."""

    id: str
    user: str
    server: str
    uid: int
    job_id: str
    ends_at: int


@dataclass(frozen=True)
class Checked:
    """An enrolment that passed steps 1 to 6; made by :meth:`Enroller.check` only."""

    claims: JobClaims
    subject: JobSubject
    node: str
    csr_der: bytes
    ends_at: int


@dataclass(frozen=True)
class Issued:
    """A certificate for an agent, and the authorities (DER, current one first) that it may meet gateways of."""

    certificate_der: bytes
    serial: str
    not_after: int
    authority_ders: tuple[bytes, ...]


class Enroller:
    """Decides on enrolments and renewals of one deployment.

    Every one of ``attestors`` must agree; an empty list is refused, :class:`.UnsafeNoAttestor` says what it does.
    """

    def __init__(
        self, keyring: KeyRing, attestors: Sequence[Attestor], *, issuer: str, audience: str, trust_domain: str
    ) -> None:
        if not attestors:
            raise Malformed("no attestor is configured; the demonstration's is called none")
        self._keyring = keyring
        self._attestors = tuple(attestors)
        self._issuer = issuer
        self._audience = audience
        self._trust_domain = check_trust_domain(trust_domain)

    @property
    def attestors(self) -> tuple[str, ...]:
        """The names of the attestors, for status and log."""
        return tuple(attestor.name for attestor in self._attestors)

    def claims(self, token: str, now: int) -> JobClaims:
        """Step 1, on its own: the caller needs the session and the ``jti`` to look up what :meth:`check` asks for."""
        return verify(
            token, self._keyring.verification_keys(now), issuer=self._issuer, audience=self._audience, now=now
        )

    async def check(
        self, request: EnrolRequest, session: WaitingSession | None, *, jti_used: bool, now: int
    ) -> Checked:
        """Steps 1 to 6. ``session``: the waiting session that the token names, None where there is none.

        Raises :class:`Refused`, :class:`Malformed` or :class:`Unavailable`; whichever it is, the token stays unused.
        The caller still owes step 7, and must not call :meth:`issue` where it lost that race.
        """
        claims = self.claims(request.token, now)
        if jti_used:
            raise Refused("enrol.token-used", "the token has been used; start the server again")
        if session is None or session.id != claims.session:
            raise Refused("enrol.session", "no session waits for this token; start the server again")
        _check_shape(request)
        if not session.job_id:
            raise Refused("enrol.job-unbound", "the session's job is not known yet; try again")
        if request.job_id != session.job_id:
            raise Refused("enrol.other-job", "the session waits for another job")
        spki = spki_sha256(check_request(request.csr_der))
        claim = AttestationClaim(
            session.id, session.uid, session.job_id, request.node, request.peer_address, spki, request.evidence
        )
        ends = [await attestor.attest(claim) for attestor in self._attestors]
        ends_at = min([session.ends_at, *(end for end in ends if end is not None)])
        subject = JobSubject(self._trust_domain, session.user, session.server, session.job_id, session.id)
        return Checked(claims, subject, request.node, request.csr_der, ends_at)

    def issue(self, checked: Checked, now: int) -> Issued:
        """Step 8: a certificate that ends with the session, or after an hour."""
        return self._issue(checked.csr_der, checked.subject, not_after=checked.ends_at, now=now)

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> int | None:
        """Ask every attestor for the end of a job that enrolled before; the earliest, None where none knows one.

        Raises what any of them raises: an extension needs every attestor's word, as an enrolment does.
        """
        ends = [await attestor.ends_at(uid=uid, job_id=job_id, node=node) for attestor in self._attestors]
        return min((end for end in ends if end is not None), default=None)

    def renew(self, identity: ClientIdentity, csr_der: bytes, *, session_ends: int, now: int) -> Issued:
        """Issue the next certificate to the agent that ``identity`` was read from, for the same subject.

        ``identity`` is the control connection's, verified by its handshake. The caller still owes that the session
        is not revoked. Raises :class:`Refused` where the certificate has run out meanwhile or the session is over.
        """
        # A connection can outlive its certificate; a renewal must not.
        if identity.not_after <= now:
            raise Refused("renew.expired", "the agent's certificate has expired; it can't be renewed any more")
        if identity.subject.trust_domain != self._trust_domain:
            raise Refused("renew.trust-domain", "the agent belongs to another deployment")
        return self._issue(csr_der, identity.subject, not_after=session_ends, now=now)

    def _issue(self, csr_der: bytes, subject: JobSubject, *, not_after: int, now: int) -> Issued:
        certificate = self._keyring.authority().issue_client(csr_der, subject, now=now, not_after=not_after)
        identity = parse_client(certificate)
        authorities = tuple(authority.certificate_der for authority in self._keyring.authorities(now))
        return Issued(certificate, identity.serial_hex, identity.not_after, authorities)


def _check_shape(request: EnrolRequest) -> None:
    """Refuse what no honest agent sends, before any of it reaches a command."""
    if not JOB_ID.fullmatch(request.job_id):
        raise Refused("enrol.form", "the job id is not one")
    if not NODE.fullmatch(request.node):
        raise Refused("enrol.form", "the node's name is not one")
    if len(request.evidence) > EVIDENCE_LIMIT:
        raise Refused("enrol.form", f"an enrolment carries at most {EVIDENCE_LIMIT} pieces of evidence")
    if any(len(name) > 64 or len(text) > EVIDENCE_TEXT_LIMIT for name, text in request.evidence.items()):
        raise Refused("enrol.form", f"a piece of evidence has at most {EVIDENCE_TEXT_LIMIT} characters")
