"""Who is at the other end of a TCP connection on this host: the uid, by the kernel's word.

JupyterHub routes services to TCP ports alone, which every process of the host may dial. So the console asks the kernel
(``sock_diag(7)``) whose socket it is, before it reads a byte.
"""

import socket
import struct

from jupyter_hpcsec.errors import Unavailable

_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NETLINK_SOCK_DIAG = 4
_HEADER = struct.Struct("=IHHII")
"""``struct nlmsghdr`` of ``netlink(7)``: length, type, flags, sequence, port."""
_REQUEST = struct.Struct("=BBBBI")
"""The head of ``struct inet_diag_req_v2``: family, protocol, extensions, padding, states."""
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_OWNER = struct.Struct("=II")
_OWNER_AT = 64
"""In ``struct inet_diag_msg``: family to retransmits (4), socket id (48), expires, read and write queue (12); then the
uid and the inode."""

Address = tuple[str, int]


def _padded(address: str) -> bytes:
    return socket.inet_aton(address).ljust(16, b"\0")


def uid_of(peer: Address, ours: Address) -> int:
    """The user whose socket is connected from ``peer`` to ``ours`` (IPv4, this host); ``Unavailable``.

    A socket that was closed already has no inode, and belongs to uid 0 by then, whoever opened it: nobody waits for an
    answer there, so that it is nobody's.
    """
    socket_id = struct.pack(">HH", peer[1], ours[1]) + _padded(peer[0]) + _padded(ours[0]) + _NO_COOKIE
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + socket_id
    head = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1)
            kernel.send(head + request)
            answer = kernel.recv(4096)
    except OSError as exc:
        raise Unavailable(f"the kernel does not say whose connection it is: {exc}") from exc
    if len(answer) < _HEADER.size + _OWNER_AT + _OWNER.size or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        raise Unavailable("the kernel does not know the connection any more")
    uid, inode = _OWNER.unpack_from(answer, _HEADER.size + _OWNER_AT)
    if not inode:
        raise Unavailable("the connection was closed by who opened it, so that the kernel does not say who that was")
    return int(uid)
