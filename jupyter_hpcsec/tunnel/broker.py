"""What the tunnel asks of identity, as an interface: ``hub.broker`` answers, and tests bring their own."""

import ssl
from dataclasses import dataclass
from typing import Any, Protocol

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.messages import Enrol, Enrolled, NodeEnrol, NodeEnrolled, Renewed
from jupyter_hpcsec.tunnel.session import Session


@dataclass(frozen=True)
class Peer:
    """Who a client certificate (DER) belongs to. ``not_after`` is in Unix seconds."""

    session: str
    serial: str
    not_after: int
    certificate: bytes


@dataclass(frozen=True)
class NodePeer:
    """The node whose helper shows a certificate, and until when that is good (Unix seconds)."""

    node: str
    not_after: int


class NoAccess(Refused):
    """The policy gives the user of ``session`` nothing that could be started, or its project is not open any more: the
    session is over."""

    def __init__(self, session: str, rule: str, reason: str) -> None:
        self.session = session
        super().__init__(rule, reason)


class Broker(Protocol):
    """Decides who is who. Every method that refuses raises ``Refused`` with the rule."""

    def context(self) -> ssl.SSLContext:
        """The TLS context for new connections."""

    async def admit(self, session: Session) -> None:
        """Whether a session may be registered for this user; ``Refused`` when the policy has nothing for them."""

    def token(self, session: Session, now: int) -> str:
        """The job token of a session that has just been registered."""

    def authority(self) -> bytes:
        """The DER of the authority that a new job is to trust."""

    def identify(self, certificate: bytes, now: int) -> Peer:
        """Whose certificate this is; ``Refused`` if it is not a certificate of this deployment."""

    async def enrol(self, message: Enrol, address: str, now: int) -> Enrolled:
        """Run the steps of an enrolment; ``Refused`` names the one that failed, and nothing has changed.

        ``NoAccess`` when it is the policy or the project that refuses: the caller ends the session.
        """

    async def enrol_node(self, message: NodeEnrol, address: str, now: int) -> NodeEnrolled:
        """Run the steps of a node's enrolment; ``Refused`` names the one that failed."""

    def identify_node(self, certificate: bytes, now: int) -> NodePeer:
        """Which node's helper this is; ``Refused`` for any other certificate."""

    async def ends_at(self, session: Session) -> int:
        """The end of an enrolled session's job as it is now, and not before ``session.ends_at``; errors as they come.

        Unix seconds; ``session.ends_at`` where nobody knows another.
        """

    def renew(self, peer: Peer, session: Session, request: bytes, now: int) -> Renewed:
        """The next certificate of an enrolled session."""

    def keys(self, now: int) -> list[dict[str, Any]]:
        """The keys, for people: no secret in it."""

    def rotate(self, kind: str, now: int) -> list[dict[str, Any]]:
        """Make a new current key of a kind, keep the old one for what it signed; the keys afterwards."""

    def drop_tokens(self, now: int) -> list[dict[str, Any]]:
        """Make a new token key and forget all others: every token of before is worthless; the keys afterwards."""

    def status(self, now: int) -> dict[str, Any]:
        """Facts about keys and attestors for ``hpcsec doctor``."""
