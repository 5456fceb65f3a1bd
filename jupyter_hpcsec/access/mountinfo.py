"""The node's mount table as values: proc_pid_mountinfo(5). It reads, and knows which file systems are shared.

The one place that does so for sessions; which paths lead to one place is for ``aliases``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.errors import Malformed

SHARED = frozenset(
    (
        *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.ceph", "fuse.sshfs", "9p", "afs"),
        *("panfs", "dvs", "wekafs", "virtiofs", "ocfs2", "gfs2", "fuse.glusterfs", "fuse.juicefs", "fuse.quobyte"),
    )
)
"""File system types that several computers mount at once."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One mount. ``root`` is the part of the file system ``device`` that is seen at ``point``.

    ``number`` is the kernel's for this mount: no other that is there at the same time has it. ``source`` is what was
    mounted, as its file system writes it, and ``options`` are those of the file system, not of the mount.
    """

    point: str
    device: str
    root: str
    kind: str
    read_only: bool
    number: int = field(default=0, compare=False)
    source: str = field(default="", compare=False)
    options: tuple[str, ...] = field(default=(), compare=False)


def read(process: int | str = "self") -> str:
    """The table of a process's mount namespace, as text that ``parse`` takes; names are bytes of any kind."""
    return Path(f"/proc/{process}/mountinfo").read_bytes().decode("utf-8", "surrogateescape")


def parse(mountinfo: str) -> tuple[Mount, ...]:
    """All mounts, in the kernel's order: of two at one point the later one is seen; ``Malformed`` for another text."""
    mounts = []
    for line in filter(None, mountinfo.split("\n")):  # other line ends may stand in a name
        before, _, after = line.partition(" - ")
        fields, beyond = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(beyond) < 3 or not (fields[0].isascii() and fields[0].isdigit()):
            raise Malformed(f"a line of the mount table is not in proc(5)'s form: {line!r}")
        options = tuple(beyond[2].split(","))
        mounts.append(
            Mount(
                point=_unescaped(fields[4]),
                device=fields[2],
                root=_unescaped(fields[3]),
                kind=beyond[0],
                read_only="ro" in (*fields[5].split(","), *options),
                number=int(fields[0]),
                source=_unescaped(beyond[1]),
                options=options,
            )
        )
    return tuple(mounts)


def _unescaped(text: str) -> str:
    """Blanks and backslashes are written as octal numbers of bytes."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def holder(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a resolved path lies on."""
    best: Mount | None = None
    for mount in mounts:
        if is_below(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def joined(base: str, rest: str) -> str:
    """A path below another one, in its one spelling."""
    return f"{base.rstrip('/')}/{rest.strip('/')}".rstrip("/") or "/"
