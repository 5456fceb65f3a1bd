"""Masks made by the node's root, for sites that give their users no namespaces: run by the batch system's prolog.

``python -I -m jupyter_hpcsec.access.prepare USER FILE``, in the mount namespace that the job will have. Each line of
``FILE`` (root's alone) is ``hidden PATH`` or ``read-only PATH``; ``{user}`` and ``{home}`` stand for the job's user. It
follows no symbolic link and makes nothing on a disk: the user could turn either against others. What can't be masked
is said, and the exit status is 0 all the same: a session that misses its mask refuses to start by itself (``plan``),
other jobs of the node are none of this file's business.
"""

import os
import pwd
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.access import mounts
from jupyter_hpcsec.access.syscalls import open_place
from jupyter_hpcsec.access.values import Mask
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable

SIZE_LIMIT = 64 * 1024
NOTHING = Path("/run/hpcsec-nothing")
"""Holds the empty file that is laid over denied files, on a file system in memory as all of ``/run``."""


@dataclass(frozen=True)
class Line:
    """One line of the file, traits filled in."""

    mask: Mask
    path: str


def parse(text: str, *, user: str, home: str) -> tuple[Line, ...]:
    """The masks of one user; ``Malformed`` with the line's number for anything else."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, _, path = line.strip().partition(" ")
        filled = path.strip().replace("{user}", user).replace("{home}", home)
        parts = filled.split("/")
        if word not in set(Mask) or parts[0] or len(parts) < 2 or {"", ".", ".."} & set(parts[1:]) or "{" in filled:
            raise Malformed(f"line {number}: not 'hidden /path' or 'read-only /path' with {{user}} or {{home}} in it")
        lines.append(Line(Mask(word), filled))
    return tuple(lines)


def read(path: Path) -> str:
    """The file, if nobody but root could have written it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="strict") as file:
        facts = os.fstat(descriptor)
        if facts.st_uid != 0 or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or facts.st_size > SIZE_LIMIT:
            raise Unavailable(f"{path} has to be root's alone to write, and small: chown root, chmod go-w")
        return file.read(SIZE_LIMIT)


def apply(line: Line) -> None:
    """Make one mask; OSError where that can't be: nothing there, or a symbolic link on the way."""
    place = open_place(line.path)
    try:
        if line.mask is Mask.READ_ONLY:
            mounts.cover(place, mounts.clone(place), mounts.READ_ONLY)
        elif stat.S_ISDIR(os.fstat(place).st_mode):
            mounts.cover(place, mounts.nothing(), mounts.READ_ONLY)
        else:
            nothing = open_place(str(NOTHING / "file"))
            mounts.cover(place, mounts.clone(nothing), mounts.READ_ONLY | mounts.NO_EXECUTION)
            os.close(nothing)
    finally:
        os.close(place)


def _make_nothing() -> None:
    """The empty file, on a file system in memory that is told from the disks by its kind."""
    if not (NOTHING / "file").exists():
        NOTHING.mkdir(mode=0o755, exist_ok=True)
        place = open_place(str(NOTHING))
        mounts.cover(place, mounts.nothing(mode="0755"), 0)
        os.close(place)
        os.close(os.open(NOTHING / "file", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o000))


def main(argv: Sequence[str]) -> int:
    """Make the masks of one user."""
    if len(argv) != 2:
        print("hpcsec: prepare: expected USER FILE", file=sys.stderr)
        return 2
    try:
        account = pwd.getpwuid(int(argv[0])) if argv[0].isdigit() else pwd.getpwnam(argv[0])
        lines = parse(read(Path(argv[1])), user=account.pw_name, home=account.pw_dir)
        _make_nothing()
    except (HpcsecError, OSError, KeyError, UnicodeDecodeError) as error:
        print(f"hpcsec: no masks for {argv[0]}: {error}", file=sys.stderr)
        return 0
    for line in lines:
        try:
            apply(line)
        except OSError as error:
            print(f"hpcsec: {line.path} is not {line.mask}: {error.strerror}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
