"""The broker: identity's answers to the gateway's questions, composed with the store's memory.

It is the one place where job tokens, certificates and attestors meet the session database. The steps of an enrolment
stand in ``identity.enrolment``; what the broker adds is step 7, the transaction that only one of two can win.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec

from jupyter_hpcsec.access.values import Code, Subject
from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.hub.policies import Policies, meaning
from jupyter_hpcsec.hub.recordings import Recordings
from jupyter_hpcsec.hub.revision import encode_subject
from jupyter_hpcsec.identity.authority import parse_client, server_name
from jupyter_hpcsec.identity.enrolment import Enroller, EnrolRequest, WaitingSession
from jupyter_hpcsec.identity.keys import KINDS, KeyRing
from jupyter_hpcsec.identity.nodes import NodeEnroller
from jupyter_hpcsec.identity.tokens import JobClaims, mint
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.broker import NoAccess, NodePeer, Peer
from jupyter_hpcsec.tunnel.session import Session, State
from jupyter_hpcsec.tunnel.store import Store
from jupyter_hpcsec.tunnel.tls import server_context

AUDIENCE = "hpcsec-enrolment"
ROOTS_ALONE = Code()
"""Whose the nodes' code may be, unless the site says more."""
BINDING_S = 15.0
"""How long an enrolment waits for the spawner to say which job it submitted: a job may start before sbatch returns."""
CONTEXT_LIFE_S = 12 * 3600
"""After so long the gateway's own certificate is made anew; it is valid for longer than that."""


class IdentityBroker:
    """Answers the gateway (see ``tunnel.broker.Broker``) from a key ring, an enroller and the store."""

    def __init__(
        self,
        *,
        keyring: KeyRing,
        enroller: Enroller,
        store: Store,
        policies: Policies,
        recordings: Recordings,
        issuer: str,
        token_lifetime_s: int,
        certificate_lifetime_s: int,
        nodes: NodeEnroller | None = None,
        code: Code = ROOTS_ALONE,
        admit_project: Callable[[str, str, Sequence[str]], None] = lambda _project, _user, _groups: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keyring, self._enroller, self._store, self._issuer = keyring, enroller, store, issuer
        self._policies, self._code, self._recordings, self._nodes = policies, code, recordings, nodes
        self._token_lifetime_s, self._certificate_lifetime_s = token_lifetime_s, certificate_lifetime_s
        self._admit_project, self._clock = admit_project, clock
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._current = ""
        self._made_at = 0.0

    # TLS

    def context(self) -> ssl.SSLContext:
        """The context of the current authority; a client that trusts an older one gets that one's, by its SNI."""
        now = self._clock()
        if not self._contexts or not 0 <= now - self._made_at <= CONTEXT_LIFE_S:  # below 0: the clock was set back
            self._make_contexts(int(now))
        return self._contexts[self._current]

    def _make_contexts(self, now: int) -> None:
        authorities = self._keyring.authorities(now)
        trusted = [authority.certificate_der for authority in authorities]
        contexts = {server_name(a.id): server_context(*a.issue_server(now), trusted) for a in authorities}
        current = server_name(authorities[0].id)

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
            if name not in contexts:
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            connection.context = contexts[name]
            return None

        contexts[current].sni_callback = choose
        self._contexts, self._current, self._made_at = contexts, current, float(now)

    # Access

    async def admit(self, session: Session) -> None:
        """Whether the policy has anything for this user, by what the hub knows; the node's word comes later."""
        subject = Subject(
            user=session.user,
            uid=session.uid,
            gid=session.uid,  # no rule is chosen by it
            home=session.home,
            groups=session.groups,
            project=session.project,
        )
        (await self._policies.rules()).resolve(subject)

    def _subject(self, session: Session, account: m.Account | None) -> Subject:
        """Whom the session is for. Steps: 1 the node says; 2 the home is the hub's, for rules are made of it; 3 all
        groups together, since either side may know one that a rule denies something to.
        """
        if account is None:  # 1
            raise Refused("enrol.account", "The node's jupyter-hpcsec is older than the gateway's; update the nodes.")
        if account.home != session.home:  # 2
            raise Refused(
                "enrol.account",
                f"Your home directory is {session.home} for the hub and {account.home} on the node; rules about homes "
                "would mean two things. Ask your administrators.",
            )
        return Subject(
            user=session.user,
            uid=session.uid,
            gid=account.gid,
            home=account.home,
            groups=tuple(sorted({*session.groups, *account.groups})),  # 3
            project=session.project,
        )

    # Tokens and certificates

    def token(self, session: Session, now: int) -> str:
        """A job token for one session: good once, and not after the longest wait in the queue."""
        kid, key = self._keyring.signing_key()
        claims = JobClaims(
            issuer=self._issuer,
            audience=AUDIENCE,
            session=session.id,
            jti=secrets.token_hex(16),
            not_before=now,
            expires=min(now + self._token_lifetime_s, session.ends_at),
        )
        return mint(key, kid, claims)

    def authority(self) -> bytes:
        """The DER of the authority that new jobs trust."""
        return self._keyring.authority().certificate_der

    def identify(self, certificate: bytes, now: int) -> Peer:
        """Whose certificate this is. TLS has checked its chain and dates; its names are checked here."""
        identity = parse_client(certificate)
        if identity.subject.trust_domain != self._keyring.trust_domain:
            raise Refused("certificate.trust-domain", "the certificate belongs to another deployment")
        if identity.not_after <= now:
            raise Refused("certificate.expired", "the certificate has expired")
        return Peer(identity.subject.session, identity.serial_hex, identity.not_after, certificate)

    async def enrol(self, message: m.Enrol, address: str, now: int) -> m.Enrolled:
        """The steps of ``identity.enrolment``; whichever fails, the token stays unused and nothing has changed."""
        claims = self._enroller.claims(message.token, now)
        session = await self._bound(claims.session)
        request = EnrolRequest(
            token=message.token,
            csr_der=message.request,
            job_id=message.job_id,
            node=message.node,
            evidence=message.evidence,
            peer_address=address,
        )
        waiting = None
        if session and session.state is State.WAITING:
            waiting = WaitingSession(
                session.id, session.user, session.server, session.uid, session.job_id, session.ends_at
            )
        jti_used = self._store.jti_used(claims.jti)
        checked = await self._enroller.check(request, waiting, jti_used=jti_used, now=now)
        if session is None:
            raise AssertionError("BUG: an enrolment without a session passed its checks")
        try:
            rules = await self._policies.rules()
            # from here to the claim nothing is awaited: a policy that changes meanwhile finds the session in the store,
            # and the project is as open as when the job was registered, however long it has waited in the queue
            self._admit_project(session.project, session.user, session.groups)
            subject = self._subject(session, message.account)
            resolved = rules.resolve(subject)
        except Refused as error:
            raise NoAccess(session.id, error.rule, error.reason) from error
        bounded = replace(checked, ends_at=min(checked.ends_at, now + self._certificate_lifetime_s))
        issued = self._enroller.issue(bounded, now)  # issued before step 7, handed out only after it
        enrolled, launch = self._store.claim(
            claims.jti,
            session_id=claims.session,
            serial=issued.serial,
            node=message.node,
            ends_at=checked.ends_at,
            token_expires=claims.expires,
            now=now,
            subject=encode_subject(subject),
            access=meaning(resolved),
        )
        return m.Enrolled(
            certificate=issued.certificate_der,
            authorities=list(issued.authority_ders),
            session=enrolled.id,
            user=enrolled.user,
            server=enrolled.server,
            launch={
                **launch,
                "access": msgspec.to_builtins(msgspec.structs.replace(resolved, code=self._code)),
                "recording": self._recordings.told(session.groups),
            },
            now=now,
            not_after=issued.not_after,
            ends_at=enrolled.ends_at,
        )

    async def enrol_node(self, message: m.NodeEnrol, address: str, now: int) -> m.NodeEnrolled:
        """A certificate for root's helper on a node (``identity.nodes``)."""
        issued = await self._node_enroller.enrol(
            node=message.node,
            csr_der=message.request,
            credential=message.evidence.get("munge", ""),
            peer_address=address,
            now=now,
            life_s=self._certificate_lifetime_s,
        )
        authorities = list(issued.authority_ders)
        return m.NodeEnrolled(
            certificate=issued.certificate_der, authorities=authorities, now=now, not_after=issued.not_after
        )

    def identify_node(self, certificate: bytes, now: int) -> NodePeer:
        """Which node's helper this is."""
        identity = self._node_enroller.identify(certificate, now)
        return NodePeer(identity.subject.node, identity.not_after)

    @property
    def _node_enroller(self) -> NodeEnroller:
        if self._nodes is None:
            raise Refused("node.off", "this gateway hears no nodes' helpers: set c.HpcsecGateway.node_helpers = True")
        return self._nodes

    async def _bound(self, session_id: str) -> Session | None:
        """The session, once the spawner has said which job is its; a job may enrol before that is known."""
        deadline = asyncio.get_running_loop().time() + BINDING_S
        while True:
            session = self._store.get(session_id)
            waits = session is not None and session.state is State.WAITING and not session.job_id
            if not waits or asyncio.get_running_loop().time() >= deadline:
                return session
            await asyncio.sleep(0.05)

    async def ends_at(self, session: Session) -> int:
        """The batch system's word on the job's end, and not before what was agreed; that, where it gives none."""
        end = await self._enroller.ends_at(uid=session.uid, job_id=session.job_id, node=session.node)
        return max(session.ends_at, end or 0)

    def renew(self, peer: Peer, session: Session, request: bytes, now: int) -> m.Renewed:
        """The next certificate for the same subject, never past the session's end."""
        ends = min(session.ends_at, now + self._certificate_lifetime_s)
        issued = self._enroller.renew(parse_client(peer.certificate), request, session_ends=ends, now=now)
        self._store.renewed(session.id, issued.serial)
        return m.Renewed(
            certificate=issued.certificate_der,
            authorities=list(issued.authority_ders),
            not_after=issued.not_after,
            ends_at=session.ends_at,
        )

    # For people

    def keys(self, now: int) -> list[dict[str, Any]]:
        """The keys, without their secrets."""
        return [asdict(info) for info in self._keyring.list(now)]

    def rotate(self, kind: str, now: int) -> list[dict[str, Any]]:
        """A new current key of ``kind`` ('token', 'authority' or 'all'); sessions go on under the old one."""
        if kind not in (*KINDS, "all"):
            raise Malformed(f"{kind!r} is not a kind of key; kinds are {', '.join(KINDS)} and all")
        for each in KINDS:
            if kind in (each, "all"):
                self._keyring.rotate(each, now)
        self._contexts = {}
        return self.keys(now)

    def drop_tokens(self, now: int) -> list[dict[str, Any]]:
        """A new token key, and no other; certificates and running sessions are of the authority and stay."""
        self._keyring.drop_tokens(now)
        return self.keys(now)

    def reload(self) -> None:
        """Read the keys anew, after a rotation by another process, and the policy."""
        self._policies.forget()
        self._keyring.reload()
        self._contexts = {}

    def status(self, now: int) -> dict[str, Any]:
        """What ``hpcsec doctor`` wants to know of identity."""
        authority = self._keyring.authority()
        return {
            "ca": authority.id,
            "ca_certificate": authority.certificate_der.hex(),
            "trust_domain": self._keyring.trust_domain,
            "attestors": list(self._enroller.attestors),
            "keys": self.keys(now),
            "revocations": len(self._store.revocations()),
            "policy": self._policies.status(),
            "recording": self._recordings.summary(),
            "code": msgspec.to_builtins(self._code),
        }
