"""One TLS handshake with a gateway, and what the peer did next. It sends no request and presents no certificate.

Two handshakes may be made: first one that trusts nothing but the pinned authority, and, where that one fails on the
certificate, one that trusts anything, only to say whose certificate was shown. Nothing is sent over the second.
"""

import contextlib
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any

from jupyter_hpcsec.tunnel.tls import parse_endpoint

_SAID_LIMIT = 4096
_SETTLE_S = 1.0
"""Seconds. A TLS 1.3 server tells that it misses a certificate after the client is done (RFC 8446, 4.4.2.4)."""


@dataclass(frozen=True)
class Endpoint:
    """Host and port of a gateway; IPv6 hosts without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """``host:port`` or ``[v6]:port``; Malformed otherwise."""
        return cls(*parse_endpoint(text.strip()))


@dataclass(frozen=True)
class Handshake:
    """What came of it. Empty strings stand for "did not happen"."""

    connect_error: str = ""
    """Why no TCP connection came about: ``timeout``, ``refused`` or the system's own words."""
    tls_error: str = ""
    """Why the handshake failed, in OpenSSL's words; the certificate's case is ``verify_error``."""
    verify_error: str = ""
    version: str = ""
    alpn: str = ""
    chain: tuple[bytes, ...] = ()
    """The certificates that the peer showed, DER, its own first."""
    afterwards: str = ""
    """The peer's next act, no client certificate being given: ``alert: NAME``, ``closed``, ``spoke`` or ``waits``."""
    said: bytes = b""
    """The first bytes of a peer that spoke."""


def shake_hands(
    endpoint: Endpoint, *, server_name: str, alpn: str, ca: bytes | None, old: bool, timeout_s: float
) -> Handshake:
    """Connect and shake hands. ``ca`` is DER; with None nothing is verified and only the chain is told."""
    first = _attempt(endpoint, _context(ca, alpn, old=old), server_name, timeout_s)
    if not first.verify_error:
        return first
    shown = _attempt(endpoint, _context(None, alpn, old=old), server_name, timeout_s)
    return Handshake(verify_error=first.verify_error, version=shown.version, alpn=shown.alpn, chain=shown.chain)


def _context(ca: bytes | None, alpn: str, *, old: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if old else ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if old else ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([alpn])
    return context


def _attempt(endpoint: Endpoint, context: ssl.SSLContext, server_name: str, timeout_s: float) -> Handshake:
    try:
        plain = socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s)
    except TimeoutError:
        return Handshake(connect_error="timeout")
    except ConnectionRefusedError:
        return Handshake(connect_error="refused")
    except OSError as exc:
        return Handshake(connect_error=exc.strerror or str(exc))
    with contextlib.closing(plain):
        return _secure(plain, context, server_name)


def _secure(plain: socket.socket, context: ssl.SSLContext, server_name: str) -> Handshake:
    try:
        with context.wrap_socket(plain, server_hostname=server_name) as secured:
            # Before the peer's next act: an alert ends the connection, and with it what is known of it.
            made = Handshake(
                version=secured.version() or "", alpn=secured.selected_alpn_protocol() or "", chain=_chain(secured)
            )
            afterwards, said = _afterwards(secured)
            return replace(made, afterwards=afterwards, said=said)
    except ssl.SSLCertVerificationError as exc:
        return Handshake(verify_error=exc.verify_message)
    except ssl.SSLError as exc:
        return Handshake(tls_error=_words(exc))
    except TimeoutError:
        return Handshake(tls_error="no answer to the handshake")
    except OSError as exc:
        return Handshake(tls_error=exc.strerror or "the connection was closed during the handshake")


def _afterwards(secured: ssl.SSLSocket) -> tuple[str, bytes]:
    secured.settimeout(_SETTLE_S)
    try:
        said = secured.recv(_SAID_LIMIT)
    except TimeoutError:
        return "waits", b""
    except ssl.SSLError as exc:
        return f"alert: {_words(exc)}", b""
    except OSError:
        return "closed", b""
    return "spoke" if said else "closed", said


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _chain(secured: ssl.SSLSocket) -> tuple[bytes, ...]:
    """The chain as shown. Python has a public name for it from 3.13 on; before, only the object below has it."""
    public: Any = getattr(secured, "get_unverified_chain", None)
    if public is not None:
        return tuple(public())
    inner: Any = getattr(secured, "_sslobj", None)
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_unverified_chain())
