"""TLS 1.3 for the tunnel: contexts, non-blocking handshakes, and typed messages over a connection.

Not asyncio's TLS transports: each holds a buffer of 256 KiB, which an idle connection never needs. Keys reach OpenSSL
through an anonymous file in memory, never through a disk.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.buffers import RECORD
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.messages import PREFIX, PROTOCOLS, FromAgent, FromGateway, FromNode, body_length, encode

HANDSHAKE_S = 10.0
"""Seconds that a handshake may take, by default."""
SEND_S = 20.0
"""Seconds in which the peer has to take a message: one that reads nothing must not hold its sender for ever."""

_plaintext = memoryview(bytearray(4 * RECORD))
"""Plaintext on its way into a message; never kept, so that all streams share it."""


@contextlib.contextmanager
def _in_memory_file(content: bytes) -> Iterator[str]:
    """A path to ``content`` that exists only in this process: ``ssl`` loads keys from paths alone."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET


def _load(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    with _in_memory_file(chain_pem + key_pem) as path:
        context.load_cert_chain(path)


def _to_pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


def server_context(chain_pem: bytes, key_pem: bytes, client_authorities: Sequence[bytes]) -> ssl.SSLContext:
    """The gateway's context: a client certificate is asked for; who must have one is checked after the handshake.

    ``client_authorities`` are DER. No session tickets: a resumed session would skip the certificate's check.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(list(PROTOCOLS))
    _load(context, chain_pem, key_pem)
    context.load_verify_locations(cadata="".join(map(_to_pem, client_authorities)))
    return context


def client_context(protocol: str, authority: bytes, certificate: tuple[bytes, bytes] | None = None) -> ssl.SSLContext:
    """The agent's context: trusts only the authority (DER) that came with the job; shows ``(chain, key)`` PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([protocol])
    context.load_verify_locations(cadata=_to_pem(authority))
    if certificate:
        _load(context, *certificate)
    return context


def tune(sock: socket.socket, dead_after_s: int) -> None:
    """No delayed small writes, and a peer that is gone is noticed after ``dead_after_s`` seconds."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, dead_after_s // 2))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, dead_after_s // 6))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_after_s * 1000)


async def _ready(descriptor: int, *, to_write: bool, waiters: "set[asyncio.Future[None]] | None" = None) -> None:
    """Wait until the socket is ready. The future stands in ``waiters`` meanwhile, so that a close can end the wait."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if to_write else loop.add_reader)(descriptor, wake)
    waiting = set() if waiters is None else waiters
    waiting.add(future)
    try:
        await future
    finally:
        if future in waiting:  # else a close has done this, and the number may be another socket's by now
            waiting.discard(future)
            (loop.remove_writer if to_write else loop.remove_reader)(descriptor)


async def handshake(tls: TlsConnection, timeout_s: float) -> None:
    """Finish the handshake; ``Refused`` names what was wrong, ``Unavailable`` a cut."""
    try:
        async with asyncio.timeout(timeout_s):
            while not tls.handshake():
                await _ready(tls.fileno(), to_write=False)
            while not tls.flush():
                await _ready(tls.fileno(), to_write=True)
    except TimeoutError as exc:
        raise Refused("tls.timeout", f"the TLS handshake was not finished within {timeout_s:g} s") from exc
    except ssl.SSLCertVerificationError as exc:
        raise Refused("tls.certificate", f"the peer's certificate was not accepted: {exc.verify_message}") from exc
    except ssl.SSLError as exc:
        raise Refused("tls.handshake", f"the TLS handshake failed: {exc.reason or exc}") from exc
    except OSError as exc:
        raise Unavailable(f"the connection was cut during the TLS handshake: {exc.strerror or exc}") from exc


async def dial(
    endpoint: tuple[str, int], context: ssl.SSLContext, server_name: str, *, timeout_s: float, dead_after_s: int
) -> TlsConnection:
    """Connect to the gateway and finish the handshake. ``endpoint`` is a host name or IPv4/IPv6 address and a port."""
    loop = asyncio.get_running_loop()
    host, port = endpoint
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            raw = await _connect_any([(family, address) for family, _, _, _, address in found])
    except TimeoutError as exc:
        raise Unavailable(f"{host} port {port} did not answer within {timeout_s:g} s") from exc
    except (OSError, UnicodeError) as exc:  # UnicodeError: a name that no resolver can be asked for (RFC 3490)
        raise Unavailable(f"{host} port {port} can't be reached: {getattr(exc, 'strerror', None) or exc}") from exc
    tune(raw, dead_after_s)
    tls = TlsConnection(raw, context, server_name=server_name)
    try:
        await handshake(tls, timeout_s)
    except BaseException:
        tls.close()
        raise
    return tls


async def _connect_any(addresses: Sequence[tuple[int, Any]]) -> socket.socket:
    """The first address that takes the connection, in the resolver's order (RFC 6724)."""
    error: OSError = OSError("the name has no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as exc:
            sock.close()
            error = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


class MessageStream:
    """Typed messages over a handshaken connection, which it owns. One reader and many writers."""

    def __init__(self, tls: TlsConnection) -> None:
        self._tls = tls
        self._writing = asyncio.Lock()
        self._buffer = bytearray()
        self._waiters: set[asyncio.Future[None]] = set()
        self.is_closed = False

    async def send(self, message: FromAgent | FromNode | FromGateway, timeout_s: float = SEND_S) -> None:
        """Send one message; ``Unavailable`` when the connection is gone or its peer takes nothing, which closes it."""
        data = encode(message)
        try:
            async with asyncio.timeout(timeout_s), self._writing:
                await self._write(data)
        except TimeoutError as exc:
            self.close()
            raise Unavailable(f"the peer took no message for {timeout_s:g} s") from exc
        except OSError as exc:
            raise Unavailable(f"the connection broke: {exc.strerror or exc}") from exc

    async def _write(self, data: bytes) -> None:
        self._check_open()
        is_sent = self._tls.write(data)
        while not is_sent:
            await _ready(self._tls.fileno(), to_write=True, waiters=self._waiters)
            self._check_open()
            is_sent = self._tls.flush()

    async def receive(self, most: int) -> bytes:
        """The body of the next message, at most ``most`` bytes; ``Unavailable`` at the end of the connection."""
        length = body_length(await self._exactly(PREFIX), most)
        return await self._exactly(length)

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._check_open()
            try:
                count = self._tls.read_into(_plaintext)
            except OSError as exc:
                raise Unavailable(f"the connection broke: {exc.strerror or exc}") from exc
            if count:
                self._buffer += _plaintext[:count]
            else:
                await _ready(self._tls.fileno(), to_write=False, waiters=self._waiters)
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return body

    def _check_open(self) -> None:
        if self.is_closed:
            raise Unavailable("the connection was closed at this end")

    def close(self) -> None:
        """Cut the connection; whoever waits on it gets ``Unavailable``."""
        if self.is_closed:
            return
        self.is_closed = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._tls.fileno())
        loop.remove_writer(self._tls.fileno())
        self._tls.close()
        waiters = list(self._waiters)
        self._waiters.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def parse_endpoint(text: str) -> tuple[str, int]:
    """``host:port`` or ``[address]:port`` -> host and port; ``Malformed`` says what was wrong."""
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or (":" in host and not bracketed):
        raise Malformed(f"{text!r} is not host:port ([address]:port for IPv6)")
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise Malformed(f"the port of {text!r} is not a number from 0 to 65535")
    return host.strip("[]") if bracketed else host, int(port)
