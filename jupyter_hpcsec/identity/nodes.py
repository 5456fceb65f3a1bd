"""A compute node's own helper: its name in a certificate, and how root on the node proves that it is root there.

A MUNGE credential of uid 0, written on the node, binds the node's name and the helper's public key. Only root on a
machine of the realm can write one; from which machine it came is compared with the address that the batch system has
for the node, so that root of one node can't speak for another. A job's certificate names a session and no node, a
node's certificate a node and no session: neither passes for the other.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.identity.authority import check_request, parse_named, spki_sha256
from jupyter_hpcsec.identity.enrolment import Issued
from jupyter_hpcsec.identity.jobs import NODE, NodeAddresses, UnsafeAnyAddress, check_peer
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.munge import MungeFacts, check_bound, munge_decode
from jupyter_hpcsec.identity.subject import check_trust_domain

ROOT = 0


@dataclass(frozen=True)
class NodeSubject:
    """Whose helper it is. :class:`Malformed` for what is no node's name."""

    trust_domain: str
    node: str

    def __post_init__(self) -> None:
        check_trust_domain(self.trust_domain)
        if not NODE.fullmatch(self.node):
            raise Malformed("that is not the name of a node")

    @property
    def uri(self) -> str:
        """The subject in its one spelling: names of nodes need no encoding."""
        return f"spiffe://{self.trust_domain}/node/{self.node}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read it back; a job's URI, or any other, is :class:`Malformed`."""
        words = uri.split("/")
        if len(words) != 5 or words[:2] != ["spiffe:", ""] or words[3] != "node":
            raise Malformed("that is not the URI of a node's helper")
        return cls(words[2], words[4])


@dataclass(frozen=True)
class NodeIdentity:
    """Who presented a node's certificate. ``not_after``: Unix seconds."""

    subject: NodeSubject
    serial_hex: str
    not_after: int


def parse_node(cert_der: bytes) -> NodeIdentity:
    """Read which node a certificate names; refuses as ``authority.parse_client`` does, and a job's certificate."""
    named = parse_named(cert_der)
    try:
        subject = NodeSubject.parse(named.uri)
    except Malformed as error:
        raise Refused("certificate.not-a-node", "the certificate is not that of a node's helper") from error
    return NodeIdentity(subject, named.serial_hex, named.not_after)


def node_payload(node: str, spki: bytes) -> bytes:
    """The bytes that bind node and key (``spki``: 32 bytes, SHA-256 of the SubjectPublicKeyInfo)."""
    if not NODE.fullmatch(node) or len(spki) != 32:
        raise Malformed("a credential binds a node's name and a SHA-256")
    return f"hpcsec-node/1\nnode={node}\nspki-sha256={spki.hex()}\n".encode()


class NodeEnroller:
    """Decides which helper is a node's. ``addresses`` has to know the nodes: without it a name would be a mere claim.

    ``compares_peer``: the connection has to come from the node's address, too (False behind address translation).
    ``command`` is ``unmunge`` with its options; ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        keyring: KeyRing,
        addresses: NodeAddresses,
        *,
        trust_domain: str,
        compares_peer: bool = True,
        command: Sequence[str] = ("unmunge",),
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(addresses, UnsafeAnyAddress):
            raise TypeError("BUG: a node's name that is compared with nothing")
        self._keyring, self._addresses, self._compares_peer = keyring, addresses, compares_peer
        self._trust_domain = check_trust_domain(trust_domain)
        self._command, self._env, self._clock = tuple(command), env, clock

    async def enrol(
        self, *, node: str, csr_der: bytes, credential: str, peer_address: str, now: int, life_s: int
    ) -> Issued:
        """A certificate for the helper of ``node``. Whichever step refuses, nothing was granted.

        Steps: 1 a node's name; 2 a request of the one form; 3 the batch system knows the node, and its address;
        4 the connection comes from there; 5 the credential: root's, of this node and key, fresh, seen for the first
        time, written there; 6 issue.
        """
        if not NODE.fullmatch(node):  # 1
            raise Refused("node.name", "that is not the name of a node")
        spki = spki_sha256(check_request(csr_der))  # 2
        hosts = await self._addresses.addresses(node)  # 3
        if not hosts:
            raise Refused("node.unknown", f"the batch system has no address for {node}")
        if self._compares_peer:  # 4
            check_peer(peer_address, hosts, node)
        if not credential:  # 5
            raise Refused("attest.munge-missing", "the helper sent no MUNGE credential; is munge running on the node?")
        facts: MungeFacts = await munge_decode(credential, command=self._command, env=self._env)
        check_bound(facts, uid=ROOT, payload=node_payload(node, spki), hosts=hosts, now=int(self._clock()))
        authority = self._keyring.authority()  # 6
        subject = NodeSubject(self._trust_domain, node)
        certificate = authority.issue_client(csr_der, subject, now=now, not_after=now + life_s)
        named = parse_node(certificate)
        others = tuple(each.certificate_der for each in self._keyring.authorities(now))
        return Issued(certificate, named.serial_hex, named.not_after, others)

    def identify(self, certificate: bytes, now: int) -> NodeIdentity:
        """Whose certificate this is. TLS has checked its chain; ``Refused`` for a job's, an old one, another site's."""
        identity = parse_node(certificate)
        if identity.subject.trust_domain != self._trust_domain:
            raise Refused("certificate.trust-domain", "the certificate belongs to another deployment")
        if identity.not_after <= now:
            raise Refused("certificate.expired", "the certificate has expired")
        return identity
