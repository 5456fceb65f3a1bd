"""Whether whoever a session is for could change the code that closes it in. It looks and changes nothing.

This finds an installation that is open before anybody uses it. It is no proof: whoever could change the code could
change this answer, too; so what it finds is mended, not watched.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jupyter_hpcsec
from jupyter_hpcsec.access.values import Enforcement, Plan
from jupyter_hpcsec.errors import Unavailable

ROOTS = "root's"
"""What the receipt says of code that root alone can change."""


@dataclass(frozen=True)
class Finding:
    """A place that the session's user, or somebody whom the site does not name, could change, and by what right."""

    place: str
    right: str


def find(
    uid: int,
    owners: tuple[int, ...],
    *,
    look: Callable[[str], os.stat_result] = os.stat,
    may_write: Callable[[str], bool] = lambda place: os.access(place, os.W_OK),
) -> Finding | None:
    """The first such place. ``uid`` is the session's user, ``owners`` are those beside root who may own code.

    Each place is root's or an owner's, who is not the user, and the user may not write to it. In a sticky directory
    nobody can exchange what is another's. Asked while users have their numbers: not in a user namespace.
    """
    trusted = {0, *owners} - ({uid} if uid else set())
    for place in places():
        try:
            found = look(place)
        except FileNotFoundError:  # a name on Python's path that is not there, or a module inside an archive
            continue
        except OSError as error:
            return Finding(place, f"can't be looked at: {error.strerror}")
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_uid not in trusted:
            return Finding(place, f"belongs to uid {found.st_uid}")
        if found.st_mode & stat.S_IWOTH and not sticky:
            return Finding(place, "can be written to by everybody")
        if uid != 0 and not sticky and may_write(place):
            return Finding(place, f"can be written to by uid {uid}")
    return None


def places() -> Iterator[str]:
    """What this process runs: this package, Python, its path and its modules, and the directories above all of them."""
    package = Path(jupyter_hpcsec.__file__).parent
    executable = Path(sys.executable)
    paths = [Path(place) for place in sys.path if place]
    modules = [Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    starts = [each for path in paths for each in (*path.glob("*.pth"), *path.glob("*._pth"))]
    tops = [package, executable, executable.resolve(), *paths, *modules, *starts]
    prefixes = dict.fromkeys([sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix])
    tops += [Path(prefix, "pyvenv.cfg") for prefix in prefixes]
    code = [Path(above, name) for above, inner, names in os.walk(package) for name in (*inner, *names)]
    yield from dict.fromkeys(map(str, [*code, *tops, *(above for top in tops for above in top.parents)]))


def check(plan: Plan, *, uid: int | None = None, seek: Callable[..., Finding | None] = find) -> str:
    """What the receipt says of the code; ``Unavailable`` where the plan's rules need it to be closed and it is not."""
    found = seek(os.geteuid() if uid is None else uid, plan.code.owners)
    if found is None:
        others = ", ".join(map(str, plan.code.owners))
        return f"{ROOTS}, or that of uid {others}" if others else ROOTS
    said = f"{found.place} {found.right}"
    if plan.enforcement is Enforcement.REQUIRED and not plan.code.unsafe_any:
        raise Unavailable(
            f"The code that would close this session in is not safe from its user: {said}. Administrators: install "
            "jupyter-hpcsec and its Python on the nodes as root, for nobody else to write, or name its owner in "
            "c.HpcsecGateway.code_owners."
        )
    return f"NOT root's alone to write: {said}"
