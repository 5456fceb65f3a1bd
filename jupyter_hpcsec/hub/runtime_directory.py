"""The job's private directory on the node: sockets, Jupyter's runtime files. Made, checked, and removed at the end.

Unix sockets need a short path (107 bytes, unix(7)), and a file system of this computer alone: on a shared one another
node sees the files, and some refuse sockets.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.access.mountinfo import SHARED, parse, read
from jupyter_hpcsec.errors import Unavailable

SOCKET_PATH_LIMIT = 107
"""Bytes of a unix socket's path (sizeof sun_path, less the final zero)."""

LONGEST_SOCKET = "/hpcsec-12345678/j/kernel-12345678-1234-1234-1234-123456789012-ipc-99999"
"""The longest path that a kernel's ipc transport makes below the directory in which ours is."""

PREFIX, LOCK = "hpcsec-", "agent.lock"

ROOM = 1 << 20
"""Bytes that have to be free: what agent and server write about a session takes far less."""


@dataclass(frozen=True)
class RuntimeDirectory:
    """Where everything of one session lies on the node."""

    path: Path

    @property
    def server_socket(self) -> Path:
        """The single-user server listens here; the agent's ``server`` target."""
        return self.path / "server.sock"

    @property
    def hub_socket(self) -> Path:
        """The agent listens here for the single-user server's calls to the Hub API."""
        return self.path / "hub.sock"

    @property
    def events_socket(self) -> Path:
        """The agent listens here for what the server tells of itself (``hub.serverchannel``)."""
        return self.path / "events.sock"

    @property
    def jupyter(self) -> Path:
        """``JUPYTER_RUNTIME_DIR``: connection files and the kernels' sockets. Its name is short on purpose."""
        return self.path / "j"

    @property
    def temporary(self) -> Path:
        """What the session sees as ``/tmp`` (``access.system``)."""
        return self.path / "t"

    @property
    def session_file(self) -> Path:
        """What the server extension tells the user about the session."""
        return self.path / "session.json"

    @property
    def access_file(self) -> Path:
        """The user's rules, and what of them is enforced, for the server extension."""
        return self.path / "access.json"

    @property
    def certificate_file(self) -> Path:
        """Until when the certificate is good, and the session's end where the job was given more time."""
        return self.path / "certificate.json"

    @property
    def stale_file(self) -> Path:
        """Until when the session goes on under rules that have changed; absent while they have not."""
        return self.path / "stale.json"


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """Where to look for room, best first.

    ``/var/tmp``, since programs seldom write there: what encloses ours is closed to kernels (``access.nested``)
    unless it is moved out of there (``access.system``). Then what a session gets anew, then the job's scratch.
    """
    named = [Path(value) for name in ("TMPDIR",) if (value := environment.get(name)) and value.startswith("/")]
    return [Path("/var/tmp"), Path("/tmp"), Path("/dev/shm"), *named]  # noqa: S108 - checked below; a name of its own


def why_not(base: Path, mounts: Mapping[Path, str], *, uid: int) -> str | None:
    """Why ``base`` can't hold the directory; None when it can. ``mounts`` gives file system types by mount point."""
    try:
        facts = base.stat()
    except OSError as error:
        return f"{error.strerror}"
    kind = file_system(base.resolve(), mounts)
    open_to_others = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX
    reasons = {
        "its path is too long for sockets": len(os.fsencode(base)) + len(LONGEST_SOCKET) > SOCKET_PATH_LIMIT,
        "it is not a directory": not stat.S_ISDIR(facts.st_mode),
        "it belongs to another user": facts.st_uid not in {0, uid},
        "others may rename what is in it": bool(open_to_others),
        "it is not writable": not os.access(base, os.W_OK | os.X_OK),
        f"it is on a shared file system ({kind})": kind in SHARED,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def mount_table(mountinfo: str) -> dict[Path, str]:
    """File system types by mount point, the later mount winning."""
    return {Path(mount.point): mount.kind for mount in parse(mountinfo)}


def file_system(path: Path, mounts: Mapping[Path, str]) -> str:
    """The type of the file system that holds a resolved path; empty when nothing is known."""
    return next((mounts[above] for above in (path, *path.parents) if above in mounts), "")


@contextlib.contextmanager
def runtime_directory(environment: Mapping[str, str]) -> Iterator[RuntimeDirectory]:
    """Make the directory (0700, a name of its own), and remove it with all that is in it at the end.

    What agents of this user left that were killed is removed first. ``Unavailable`` when no place on this node will
    do, with the reason for each.
    """
    mounts = mount_table(read())
    reasons = []
    for base in candidates(environment):
        reason = why_not(base, mounts, uid=os.geteuid())
        if reason is None:
            sweep(base)
            try:
                directory, held = _make(base)
            except OSError as error:  # full, or over a quota
                reason = error.strerror or "it can't be written to"
            else:
                try:
                    yield directory
                finally:
                    shutil.rmtree(directory.path, ignore_errors=True)
                    os.close(held)
                return
        reasons.append(f"{base}: {reason}")
    raise Unavailable(
        f"No place for sockets on this node. {'; '.join(reasons)}. Set TMPDIR to a short local directory."
    )


def _make(base: Path) -> tuple[RuntimeDirectory, int]:
    """The directory, held, with room in it; OSError and nothing left when the file system has none."""
    directory = RuntimeDirectory(Path(tempfile.mkdtemp(prefix=PREFIX, dir=base.resolve())))
    try:
        held = hold(directory.path)
        try:
            os.posix_fallocate(held, 0, ROOM)
            os.ftruncate(held, 0)
            directory.jupyter.mkdir(mode=0o700)
            directory.temporary.mkdir(mode=0o700)
        except OSError:
            os.close(held)
            raise
    except OSError:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise
    return directory, held


def hold(directory: Path) -> int:
    """Mark a directory as in use for as long as this process lives: a lock that the kernel lets go of at its end."""
    descriptor = os.open(directory / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (directory / "new").rename(directory / LOCK)  # nobody ever sees the lock's file without the lock
    return descriptor


def sweep(base: Path) -> None:
    """Remove the directories of this user's killed agents: ours by owner and mode, and no longer held."""
    for path in base.glob(f"{PREFIX}*"):
        try:
            facts = path.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) != 0o700:
                continue
            descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # not one of them, or removed meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
