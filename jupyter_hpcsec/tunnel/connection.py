"""TLS over a non-blocking socket, with few and large system calls.

``ssl.SSLSocket`` reads each record of 16 KiB with two system calls and writes it with one; here the TLS engine works on
memory, and the socket is read and written in pieces of many records. It waits for nothing: who calls it watches the
socket (``tls.py`` for handshakes and messages, ``lane.py`` for streams).
"""

import socket
import ssl

from jupyter_hpcsec.tunnel.buffers import RECORD, aligned_buffer

_received = aligned_buffer(256 * 1024 + 8192)
"""Ciphertext on its way from a socket into its TLS engine; never kept, so that all connections share it."""


class TlsConnection:
    """One connection. Owns the socket, which must be non-blocking. Not for use by several threads."""

    __slots__ = ("_has_ended", "_incoming", "_outgoing", "_raw", "_tls", "_unsent")

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """A connection to be handshaken: the server's end, or the client's that expects ``server_name``."""
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._unsent: memoryview | None = None
        self._has_ended = False

    def fileno(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        return self._raw.fileno()

    @property
    def protocol(self) -> str | None:
        """The application protocol agreed on (ALPN, RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate (DER), verified by the handshake; None if it showed none."""
        return self._tls.getpeercert(binary_form=True)

    def close(self) -> None:
        """Cut the connection. Frames and messages carry their own ends, so that a cut can't pass for one."""
        self._raw.close()

    def handshake(self) -> bool:
        """Go on with the handshake as far as the socket allows; whether it is finished. ``OSError`` when it failed."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                if not self._fill():
                    return False
            except ssl.SSLError:
                self.flush()  # the alert that tells the peer why
                raise
            else:
                self.flush()
                return True

    def _fill(self) -> int:
        """Take ciphertext from the socket; its size in bytes, 0 if there is none now."""
        if self._has_ended:
            raise ConnectionResetError("the peer closed the connection")
        try:
            size = self._raw.recv_into(_received)
        except BlockingIOError:
            return 0
        if not size:
            self._has_ended = True
            self._incoming.write_eof()
            raise ConnectionResetError("the peer closed the connection")
        self._incoming.write(_received[:size])
        return size

    def read_into(self, view: memoryview) -> int:
        """Plaintext into ``view`` (at least ``RECORD`` bytes): its size, 0 if there is none now.

        What has come in is read to the end unless ``view`` is full; then more may be ready without the socket being so.
        ``ConnectionResetError`` at the end of the connection, once everything before it has been read.
        """
        size, read, is_drained = 0, self._tls.read, False
        while len(view) - size >= RECORD:
            try:
                count = read(len(view) - size, view[size:])
            except ssl.SSLWantReadError:
                if is_drained:
                    break
                try:
                    taken = self._fill()
                except ConnectionResetError:
                    if size:
                        break
                    raise
                if not taken:
                    break
                is_drained = taken < len(_received)
                continue
            if not count:
                self._has_ended = True
                if size:
                    break
                raise ConnectionResetError("the peer closed the connection")
            size += int(count)
        if self._outgoing.pending:
            self.flush()  # a key update is answered (RFC 8446, 4.6.3)
        return size

    def write(self, view: memoryview | bytes) -> bool:
        """Encrypt and send; whether all of it has left. What has not is kept and leaves with ``flush``."""
        view, position = memoryview(view), 0
        while position < len(view):
            position += self._tls.write(view[position : position + RECORD])
        return self.flush()

    def flush(self) -> bool:
        """Send what was kept; whether all of it has left."""
        while True:
            if self._unsent is None:
                if not self._outgoing.pending:
                    return True
                self._unsent = memoryview(self._outgoing.read())
            try:
                sent = self._raw.send(self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:] if sent < len(self._unsent) else None
