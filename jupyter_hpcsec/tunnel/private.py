"""Files and directories that only their owner may touch: made so, and refused where they are not so.

And the one kind that others may pass, for the sockets in it.

It repairs nothing: a wrong owner or mode may mean that a secret was read already, and that is for a person to judge.
"""

import contextlib
import os
import stat
from pathlib import Path

from jupyter_hpcsec.errors import Refused, Unavailable


def private_directory(path: Path, *, rule: str) -> None:
    """Make the directory (0700; its parent has to exist), or check that it is ours and nobody else may enter.

    Raises ``Refused`` with rule ``RULE.owner`` or ``RULE.mode``, ``Unavailable`` where it can't be made.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        facts = path.lstat()
    except OSError as exc:
        raise Unavailable(f"Directory {path} can't be made: {exc.strerror}.") from exc
    if not stat.S_ISDIR(facts.st_mode):
        raise Refused(f"{rule}.kind", f"{path} is not a directory (a link to one is not followed); move it away.")
    _check(path, facts, rule=rule, mode=0o700)


def passable_directory(path: Path) -> None:
    """Make the directory (0755 whatever the umask is, with its parents), or leave one that is there as it is.

    The accounts of hub and proxy pass it to reach a socket; each socket says for itself who may connect.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return
    path.chmod(0o755)


def private_file(path: Path, *, rule: str) -> None:
    """Make the file (0600, empty), or check that it is a regular file of ours that nobody else may read or write."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Unavailable(f"File {path} can't be opened: {exc.strerror}.") from exc
    try:
        facts = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise Refused(f"{rule}.kind", f"{path} is not a regular file with one name; move it away.")
    _check(path, facts, rule=rule, mode=0o600)


def _check(path: Path, facts: os.stat_result, *, rule: str, mode: int) -> None:
    own = os.geteuid()
    if facts.st_uid != own:
        raise Refused(f"{rule}.owner", f"{path} belongs to uid {facts.st_uid}, not {own}: run `chown {own} {path}`.")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        found = stat.S_IMODE(facts.st_mode)
        raise Refused(
            f"{rule}.mode", f"{path} has mode {found:04o}, so others may reach it: run `chmod {mode:04o} {path}`."
        )
