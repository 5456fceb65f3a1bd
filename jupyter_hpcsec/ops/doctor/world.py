"""Everything that the doctor asks of the outside: commands, files, sockets, system calls, clocks.

The checks take a ``World`` so that tests can hand them a broken one. Nothing here judges what it sees, nothing
is changed, and whatever a peer or a command sends is cut at a size.
"""

import ctypes
import http.client
import os
import pwd
import shutil
import socket
import ssl
import stat
import subprocess
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jupyter_hpcsec.access import landlock, mounts
from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake, shake_hands
from jupyter_hpcsec.tunnel.peer import PeerCredentials, peer_credentials

OUTPUT_LIMIT = 1 << 20
"""Bytes kept of a file or of a command's output; ``scontrol show config`` prints about 10 KiB."""

_STA_UNSYNC = 0x0040
"""adjtimex(2): the clock is not synchronised."""


@dataclass(frozen=True)
class Ran:
    """A command that ran to its end. ``out`` and ``err`` are text, cut at ``OUTPUT_LIMIT``."""

    rc: int
    out: str
    err: str


@dataclass(frozen=True)
class FileFact:
    """What stat(2) says of a path. ``mode`` holds the permission bits only."""

    mode: int
    uid: int
    kind: str
    """``directory``, ``socket``, ``file`` or ``other``."""


@dataclass(frozen=True)
class HttpAnswer:
    """The head of an HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class ClockState:
    """What the kernel says of its clock (adjtimex(2)): whether it is held to a reference, and within how much."""

    synchronised: bool
    max_error_s: float


class World(Protocol):
    """The outside as the checks see it. Methods raise OSError where a question can't be asked."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def environ(self) -> Mapping[str, str]:
        """This process's environment."""
        ...

    def uid(self) -> int:
        """The effective user id."""
        ...

    def user_name(self, uid: int) -> str:
        """The login name of a uid, or the number where there is none."""
        ...

    def run(self, argv: Sequence[str], stdin: str = "") -> Ran | None:
        """Run a command to its end; None when there is no such command; TimeoutError when it does not end."""
        ...

    def has_command(self, name: str) -> bool:
        """True when the command is in the PATH."""
        ...

    def stat(self, path: Path) -> FileFact | None:
        """None when nothing is there."""
        ...

    def owner_of_socket(self, path: Path) -> PeerCredentials:
        """The process that listens on a unix socket, by the kernel's word."""
        ...

    def read(self, path: Path) -> str:
        """A text file's beginning."""
        ...

    def listdir(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def shake_hands(
        self, endpoint: Endpoint, *, server_name: str, alpn: str, ca: bytes | None, old: bool = False
    ) -> Handshake:
        """One TLS handshake, then what the peer did next. ``old`` offers TLS 1.2 only."""
        ...

    def http(self, url: str, unix: Path | None = None, body: bytes | None = None) -> HttpAnswer:
        """The head of the answer to a GET, or to a POST of a form's ``body``; redirects are not followed.

        Over a unix socket where ``unix`` is given, or by JupyterHub's ``http+unix://%2Fpath/...``.
        """
        ...

    def landlock_abi(self) -> int:
        """The kernel's Landlock ABI; 0 where it has none or it is turned off."""
        ...

    def why_no_namespaces(self) -> str:
        """Why this user can't have a user and mount namespace; empty when that works."""
        ...

    def clock(self) -> ClockState:
        """Whether the system clock is synchronised."""
        ...


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2) up to the fields that are read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class RealWorld:
    """The real thing. ``timeout_s`` bounds each question."""

    def __init__(self, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s

    def now(self) -> float:
        """See ``World``."""
        return time.time()

    def environ(self) -> Mapping[str, str]:
        """See ``World``."""
        return os.environ

    def uid(self) -> int:
        """See ``World``."""
        return os.geteuid()

    def user_name(self, uid: int) -> str:
        """See ``World``."""
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def run(self, argv: Sequence[str], stdin: str = "") -> Ran | None:
        """See ``World``."""
        try:
            done = subprocess.run(argv, input=stdin.encode(), capture_output=True, timeout=self._timeout_s, check=False)
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"{argv[0]} did not end within {self._timeout_s:g} s") from exc
        return Ran(done.returncode, _text(done.stdout), _text(done.stderr))

    def has_command(self, name: str) -> bool:
        """See ``World``."""
        return shutil.which(name) is not None

    def stat(self, path: Path) -> FileFact | None:
        """See ``World``."""
        try:
            found = path.stat(follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kinds = {stat.S_IFDIR: "directory", stat.S_IFSOCK: "socket", stat.S_IFREG: "file"}
        return FileFact(stat.S_IMODE(found.st_mode), found.st_uid, kinds.get(stat.S_IFMT(found.st_mode), "other"))

    def owner_of_socket(self, path: Path) -> PeerCredentials:
        """See ``World``."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(self._timeout_s)
            sock.connect(str(path))
            return peer_credentials(sock)

    def read(self, path: Path) -> str:
        """See ``World``."""
        with path.open("rb") as file:
            return _text(file.read(OUTPUT_LIMIT))

    def listdir(self, path: Path) -> list[str]:
        """See ``World``."""
        return sorted(entry.name for entry in path.iterdir())

    def shake_hands(
        self, endpoint: Endpoint, *, server_name: str, alpn: str, ca: bytes | None, old: bool = False
    ) -> Handshake:
        """See ``World``."""
        return shake_hands(endpoint, server_name=server_name, alpn=alpn, ca=ca, old=old, timeout_s=self._timeout_s)

    def http(self, url: str, unix: Path | None = None, body: bytes | None = None) -> HttpAnswer:
        """See ``World``."""
        return _http(url, unix, body, self._timeout_s)

    def landlock_abi(self) -> int:
        """See ``World``."""
        return landlock.abi()

    def why_no_namespaces(self) -> str:
        """See ``World``."""
        return mounts.probe()

    def clock(self) -> ClockState:
        """See ``World``; adjtimex(2) with no mode set asks and changes nothing."""
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        if libc.adjtimex(ctypes.byref(timex)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return ClockState(not timex.status & _STA_UNSYNC, timex.maxerror / 1e6)


def _text(data: bytes) -> str:
    return data[:OUTPUT_LIMIT].decode("utf-8", "replace")


def _http(url: str, unix: Path | None, body: bytes | None, timeout_s: float) -> HttpAnswer:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http+unix":  # JupyterHub's spelling: the socket's path, percent-encoded, as the host
        unix, parts = Path(urllib.parse.unquote(parts.netloc)), parts._replace(scheme="http", netloc="localhost")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise OSError(f"{url} is not an http, https or http+unix URL")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    if unix is not None:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout_s)
        connection.sock.connect(str(unix))
    elif parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=context)
    try:
        headers = {"Accept": "*/*", "Connection": "close"}
        if body is None:
            connection.request("GET", parts.path or "/", headers=headers)
        else:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", parts.path or "/", body, headers | form)
        answer = connection.getresponse()
        return HttpAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()})
    except http.client.HTTPException as exc:
        raise OSError(f"the answer is not HTTP: {exc!r}") from exc
    finally:
        connection.close()
