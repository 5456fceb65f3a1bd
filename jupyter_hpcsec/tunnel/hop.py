"""The one header of a request that belongs to a hop and not to the browser: ``Connection`` (RFC 9110, 7.6.1).

JupyterHub's proxy makes a new connection for each request to a unix socket and says ``Connection: close``; the server's
answer then says ``close`` as well, which the proxy hands on to the browser, and an answer without a length ends where
the connection does, so that one cut short looks whole. The gateway is the next hop and asks the server to keep the
connection: the answer then has a length or chunks, and the proxy closes its own connection as before.

Pure: bytes in a buffer. Only a complete head of an HTTP/1.1 request that says exactly that is touched; what is anything
else, an upgrade above all, passes as it came.
"""

import re

HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head that are looked at; a longer one passes as it came."""

_CLOSE = re.compile(rb"(?i)\A[^\r\n]{1,8192} HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?(connection:[ \t]*close[ \t]*)\r\n")
_KEEP = b"Connection: keep-alive"


def keep_connection(view: memoryview, size: int) -> int:
    """Change the head in the first ``size`` bytes of ``view`` in place; the size afterwards.

    ``view`` has room behind ``size``; where that is not enough, nothing is changed.
    """
    head = bytes(view[: min(size, HEAD_LIMIT)])
    length = head.find(b"\r\n\r\n")
    if length < 0:
        return size
    found = _CLOSE.match(head, 0, length + 2)
    if found is None:
        return size
    first, last = found.span(1)
    grown = size + len(_KEEP) - (last - first)
    if grown > len(view):
        return size
    view[first:grown] = _KEEP + bytes(view[last:size])
    return grown
