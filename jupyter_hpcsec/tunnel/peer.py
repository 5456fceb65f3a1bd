"""Unix sockets that only known processes of this computer may use: bound privately, and asked who is at the other end.

The mode of the socket's file is the first wall, the kernel's word on the peer (``SO_PEERCRED``) the second. Nothing
here reads or writes what the peers say.
"""

import contextlib
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.errors import Refused, Unavailable

PATH_LIMIT = 107
"""Bytes: ``sun_path`` of ``unix(7)`` without its closing NUL."""

_UCRED = struct.Struct("=iII")
"""``struct ucred`` of ``unix(7)``: pid, uid, gid."""


@dataclass(frozen=True)
class PeerCredentials:
    """Who connected, as the kernel noted at ``connect()``. The pid may have ended and been given away since."""

    pid: int
    uid: int
    gid: int

    @property
    def account(self) -> str:
        """The system's account, as events name it."""
        return f"uid {self.uid}"


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """The process at the other end of a connected unix socket; ``Unavailable`` when the kernel won't say."""
    if sock.family != socket.AF_UNIX:
        raise ValueError("BUG: peer credentials of a socket that is no unix socket")
    try:
        return PeerCredentials(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
    except OSError as exc:
        raise Unavailable(f"The peer of a unix socket is not known: {exc.strerror}.") from exc


def bind_unix(
    path: Path,
    mode: int = 0o600,
    group: int | None = None,
    *,
    backlog: int = 128,
    kind: int = socket.SOCK_STREAM,
) -> socket.socket:
    """A listening, non-blocking unix socket, at no time open to more than ``mode`` and ``group`` (a gid) say.

    The socket that a dead process left is replaced. Raises ``Refused`` with rule ``socket.…`` when a living process
    listens there, when something else than a socket is there, when the directory is not safe or ``mode`` too wide;
    ``Unavailable`` when the system does not let it.
    """
    # 1. The path fits; nobody but us (or root) can put another socket in its place.
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise Refused("socket.path", f"{path} is longer than {PATH_LIMIT} bytes; choose a shorter directory.")
    if mode & ~0o660 or (mode & 0o060 and group is None):
        raise Refused("socket.mode", f"A socket of mode {mode:04o} is open to more than its owner and a named group.")
    with _directory_lock(path.parent), _translated(path):
        # 2. A socket that nobody listens on any more goes; anything else stays, and we stop.
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            _bind(sock, path, mode, group)
            # 5. Listening before the lock is released: whoever comes next sees a living socket.
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    return sock


def _bind(sock: socket.socket, path: Path, mode: int, group: int | None) -> None:
    # 3. Linux makes the file with the mode of the unbound socket less the umask: 0600 from its first moment, without
    #    changing the umask of the whole process. Checked, since other systems don't.
    os.fchmod(sock.fileno(), 0o600)
    sock.bind(os.fspath(path))
    with contextlib.ExitStack() as undo:
        undo.callback(path.unlink)
        if stat.S_IMODE(path.lstat().st_mode) & ~0o600:
            raise Refused("socket.mode", f"This system made {path} open to others; it was closed again.")
        # 4. The group first and the wider mode last.
        if group is not None:
            os.chown(path, -1, group, follow_symlinks=False)
        path.chmod(mode)
        undo.pop_all()


def _remove_stale(path: Path) -> None:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise Refused("socket.kind", f"{path} exists and is no socket; move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            # Its queue of connections is full: busy is alive, and the kernel tells nothing of the owner.
            raise Refused("socket.in-use", f"Another process listens on {path}; stop it first.") from None
        owner = peer_credentials(probe)
    raise Refused("socket.in-use", f"Process {owner.pid} of uid {owner.uid} listens on {path}; stop it first.")


@contextlib.contextmanager
def _directory_lock(directory: Path) -> Iterator[None]:
    """Hold the directory, having checked it, so that two starts at once do not both find a stale socket."""
    with _translated(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid not in (0, os.geteuid()) or stat.S_IMODE(facts.st_mode) & 0o022:
            raise Refused(
                "socket.directory",
                f"Others may write to {directory} (owner {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}): "
                f"run `chown {os.geteuid()} {directory}; chmod go-w {directory}`.",
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"No socket can be made at {path}: {exc.strerror or exc}.") from exc


def connect_unix(path: Path) -> socket.socket:
    """A non-blocking connection to a unix socket; ``BlockingIOError`` at once when its queue is full (OSError)."""
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.setblocking(False)
        plain.connect(str(path))
    except OSError:
        plain.close()
        raise
    return plain
