"""The syslog sink: RFC 5424 over TLS (RFC 5425), and what can be known of its having arrived.

Syslog acknowledges nothing. So the cursor trails: events count as delivered when the connection that carried them was
ended in good order, that is: our close_notify and FIN were answered by the receiver's FIN and by no reset. Linux resets
a connection that is closed with bytes unread, so that a receiver that stopped or was killed before it had read all is
seen, and all since the cursor is sent again. What the receiver loses after it has read it is its own.
"""

import asyncio
import contextlib
import select
import socket
import ssl
import time
from collections.abc import Sequence

from jupyter_hpcsec.audit.sinks import rfc5424
from jupyter_hpcsec.audit.sinks.items import Item, Rejected
from jupyter_hpcsec.audit.sinks.tls import context
from jupyter_hpcsec.config_forward import SyslogSink
from jupyter_hpcsec.errors import Unavailable

_TCP_CLOSE = 7
_LOOK_S = 0.02


class SyslogTarget:
    """Sends to ``settings.host``."""

    def __init__(self, settings: SyslogSink) -> None:
        self._settings = settings
        self.window, self.settle_s = settings.window, settings.settle_s
        self._where = f"{settings.host}:{settings.port}"
        self._hostname = socket.gethostname()
        self._connection: ssl.SSLSocket | None = None

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Hand them to the connection."""
        settings = self._settings
        data = b"".join(
            rfc5424.framed(
                rfc5424.message(
                    item,
                    form=settings.format,
                    facility=settings.facility,
                    enterprise=settings.enterprise,
                    hostname=self._hostname,
                )
            )
            for item in items
        )
        await asyncio.to_thread(self._send, data)
        return []

    async def confirm(self) -> None:
        """End the connection in good order; the next ``send`` makes a new one."""
        await asyncio.to_thread(self._finish)

    async def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, data: bytes) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.sendall(data)
        except OSError as error:
            raise Unavailable(f"{self._where}: {_said(error)}") from error

    def _connect(self) -> ssl.SSLSocket:
        settings = self._settings
        tls = context(settings)
        raw = socket.create_connection((settings.host, settings.port), settings.timeout_s)
        try:
            return tls.wrap_socket(raw, server_hostname=settings.server_name or settings.host)
        except BaseException:
            raw.close()
            raise

    def _finish(self) -> None:
        """Steps: 1 close_notify; 2 FIN; 3 the receiver's FIN; 4 that no reset came for what we sent."""
        connection, self._connection = self._connection, None
        if connection is None:
            raise Unavailable(f"{self._where}: the connection is gone")
        deadline = time.monotonic() + self._settings.timeout_s
        try:
            raw = _notified(connection, self._settings.timeout_s)  # 1
        except OSError as error:
            connection.close()
            raise Unavailable(f"{self._where}: {_said(error)}; what was sent is sent again") from error
        with contextlib.closing(raw):
            try:
                raw.settimeout(self._settings.timeout_s)
                raw.shutdown(socket.SHUT_WR)  # 2
                while raw.recv(16384):  # 3
                    pass
                while raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_CLOSE:  # 4
                    if time.monotonic() > deadline:
                        raise TimeoutError("the receiver does not end the connection")
                    time.sleep(_LOOK_S)
                reset = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            except OSError as error:
                raise Unavailable(f"{self._where}: {_said(error)}; what was sent is sent again") from error
        if reset:
            raise Unavailable(f"{self._where}: the receiver has not read all that was sent; it is sent again")


def _notified(connection: ssl.SSLSocket, timeout_s: float) -> socket.socket:
    """Send close_notify without waiting for the receiver's: few send one. The plain socket that is left."""
    connection.settimeout(0)
    while True:
        try:
            return connection.unwrap()
        except ssl.SSLWantWriteError:
            if not select.select([], [connection], [], timeout_s)[1]:
                raise TimeoutError("the receiver takes nothing") from None
        except ssl.SSLWantReadError:
            return socket.socket(fileno=connection.detach())


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
