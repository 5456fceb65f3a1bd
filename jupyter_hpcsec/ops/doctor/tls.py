"""Checks of the gateway's TLS port: reachable, TLS 1.3 only, the pinned authority, closed to strangers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.identity.authority import server_name
from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown, warn
from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake
from jupyter_hpcsec.ops.doctor.world import World
from jupyter_hpcsec.tunnel.messages import CONTROL, ENROL, LANE, PREFIX, Denied, decode_from_gateway

_CLOCK_WORDS = ("not yet valid", "expired")


@dataclass(frozen=True)
class Pin:
    """The authority that the gateway must show: the SHA-256 of its DER, and the DER itself where it is known."""

    sha256: str
    der: bytes | None = None

    @classmethod
    def of(cls, der: bytes) -> "Pin":
        """The pin of an authority whose certificate is at hand."""
        return cls(hashlib.sha256(der).hexdigest(), der)

    @property
    def server_name(self) -> str:
        """The name that the gateway answers to for this authority."""
        return server_name(self.sha256)


def examine(world: World, endpoints: Sequence[Endpoint], pin: Pin) -> list[Finding]:
    """All checks of every endpoint; the later ones only where the earlier ones give them something to stand on."""
    findings = []
    for endpoint in endpoints:
        first = world.shake_hands(endpoint, server_name=pin.server_name, alpn=ENROL, ca=pin.der)
        reach = judge_reach(endpoint, first)
        findings.append(reach)
        if first.connect_error:
            continue
        if pin.der is None:
            pin, first = _complete(world, endpoint, pin, first)
        findings.append(judge_authority(endpoint, first, pin))
        if not first.version or first.verify_error:
            continue
        findings.append(judge_protocol(endpoint, ENROL, first))
        for alpn in (CONTROL, LANE):
            shown = world.shake_hands(endpoint, server_name=pin.server_name, alpn=alpn, ca=pin.der)
            findings.append(judge_closed_to_strangers(endpoint, alpn, shown))
        old = world.shake_hands(endpoint, server_name=pin.server_name, alpn=ENROL, ca=None, old=True)
        findings.append(judge_old_version(endpoint, old))
    return findings


def _complete(world: World, endpoint: Endpoint, pin: Pin, first: Handshake) -> tuple[Pin, Handshake]:
    """With only the hash known, take the authority from the chain if its hash is the pin, and verify by it."""
    for der in first.chain:
        if hashlib.sha256(der).hexdigest() == pin.sha256:
            whole = Pin(pin.sha256, der)
            return whole, world.shake_hands(endpoint, server_name=pin.server_name, alpn=ENROL, ca=der)
    return pin, first


def judge_reach(endpoint: Endpoint, seen: Handshake) -> Finding:
    """Can a TCP connection be made?"""
    hop = "port"
    if seen.connect_error == "timeout":
        return bad(hop, f"{endpoint}: no answer", "a firewall drops it: let nodes connect to this host and port")
    if seen.connect_error == "refused":
        return bad(
            hop,
            f"{endpoint}: nothing listens there",
            "start the gateway (systemctl status hpcsec-gateway), or correct the endpoint that it announces",
        )
    if seen.connect_error:
        return bad(hop, f"{endpoint}: {seen.connect_error}", "check the address, the route and the name's resolution")
    return ok(hop, f"{endpoint}: reachable")


def judge_authority(endpoint: Endpoint, seen: Handshake, pin: Pin) -> Finding:
    """Does the certificate chain to the pinned authority?"""
    hop = "ca pin"
    if seen.verify_error:
        if any(words in seen.verify_error for words in _CLOCK_WORDS):
            return bad(
                hop,
                f"{endpoint}: {seen.verify_error} ({_validity(seen.chain)})",
                "compare the clocks of this machine and the gateway's host first, then restart the gateway",
            )
        return bad(
            hop,
            f"{endpoint}: not the gateway that was pinned ({seen.verify_error}); {_shown(seen.chain)}, "
            f"expected {pin.sha256[:16]}…",
            "someone in the middle answers, or TLS is inspected on the way, or the gateway has other keys than "
            "when this job was submitted: do not enrol; let this port pass untouched",
        )
    if seen.tls_error or not seen.version:
        return bad(
            hop,
            f"{endpoint}: the handshake failed ({seen.tls_error or 'no reason given'})",
            "something else answers there, or the gateway has other keys than the pinned one "
            f"({pin.sha256[:16]}…), after a rotation while a long session ran, say: compare with 'hpcsec keys list'",
        )
    if pin.der is None:
        return unknown(
            hop,
            f"{endpoint}: the pin {pin.sha256[:16]}… is not among the certificates shown; {_shown(seen.chain)}",
            "compare with 'hpcsec keys list' on the hub host; a gateway of this package shows its authority, too",
        )
    return ok(hop, f"{endpoint}: the certificate chains to {pin.sha256[:16]}…")


def judge_protocol(endpoint: Endpoint, alpn: str, seen: Handshake) -> Finding:
    """TLS 1.3 and the protocol that was asked for?"""
    if seen.version != "TLSv1.3":
        return bad(
            "tls", f"{endpoint}: {seen.version}", "only TLS 1.3 is spoken by the gateway: something else answers"
        )
    if seen.alpn != alpn:
        return bad(
            "tls",
            f"{endpoint}: asked for {alpn}, got {seen.alpn or 'no protocol'}",
            "a TLS proxy stands before the gateway, or the versions differ: let the port pass untouched",
        )
    return ok("tls", f"{endpoint}: {seen.version}, {seen.alpn}")


def judge_closed_to_strangers(endpoint: Endpoint, alpn: str, seen: Handshake) -> Finding:
    """A control connection or lane without a client certificate must be refused."""
    if seen.connect_error or seen.verify_error:
        return unknown(
            "tls",
            f"{endpoint}: {alpn} could not be tried ({seen.connect_error or seen.verify_error})",
            "run the doctor again; the gateway limits handshakes per second and address",
        )
    taken = seen.afterwards == "waits" or (seen.afterwards == "spoke" and not _is_denial(seen.said))
    if not seen.tls_error and taken:
        return bad(
            "tls",
            f"{endpoint}: {alpn} was accepted without a client certificate",
            "end all sessions and stop what answers there: a gateway of this package never does this",
        )
    return ok("tls", f"{endpoint}: {alpn} without a certificate is refused")


def _is_denial(said: bytes) -> bool:
    try:
        return isinstance(decode_from_gateway(said[PREFIX:]), Denied)
    except Malformed:
        return False


def judge_old_version(endpoint: Endpoint, seen: Handshake) -> Finding:
    """An offer of TLS 1.2 must fail in the handshake."""
    if seen.version:
        return bad(
            "tls", f"{endpoint}: {seen.version} was accepted", "something that is not this gateway answers there"
        )
    if seen.connect_error:
        return unknown("tls", f"{endpoint}: an offer of TLS 1.2 could not be tried", "run the doctor again")
    return ok("tls", f"{endpoint}: TLS 1.2 is refused")


def judge_endpoints(endpoints: Sequence[Endpoint]) -> Finding:
    """The announced endpoints must be such that a node can reach them."""
    if not endpoints:
        return bad("endpoints", "the gateway announces none", "set the gateway's public endpoints in its configuration")
    inward = [str(e) for e in endpoints if e.host in {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"}]  # noqa: S104
    if inward:
        return warn(
            "endpoints",
            f"{', '.join(inward)} can't be reached from another machine",
            "announce the hub host's address on the cluster's network (right as it is for hpcsec quickstart)",
        )
    return ok("endpoints", ", ".join(str(endpoint) for endpoint in endpoints))


def _shown(chain: Sequence[bytes]) -> str:
    if not chain:
        return "no certificate was shown"
    try:
        issuer = x509.load_der_x509_certificate(chain[0]).issuer.rfc4514_string()
    except ValueError:
        issuer = "unreadable"
    return f"shown: issuer {issuer[:80]!r}, sha256 {hashlib.sha256(chain[-1]).hexdigest()[:16]}…"


def _validity(chain: Sequence[bytes]) -> str:
    if not chain:
        return "no certificate was shown"
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
    except ValueError:
        return "unreadable certificate"
    return f"valid {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
