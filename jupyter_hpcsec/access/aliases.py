"""The other paths at which a place, or a part of it, is seen on a node: by bind mounts, and by file systems that are
mounted more than once. Pure: it is given the mount table.

Two mounts are of one file system if the kernel gives them one device. A shared file system that is mounted twice may
have two; it is told by what it was mounted from. What can't be told apart that way counts as the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jupyter_hpcsec.access.mountinfo import SHARED, Mount, holder, joined
from jupyter_hpcsec.access.prefixes import is_below

KERNELS_OWN = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "autofs", "debugfs", "tracefs", "bpf"),
        *("securityfs", "selinuxfs", "configfs", "fusectl", "efivarfs", "pstore", "binfmt_misc", "rpc_pipefs", "nsfs"),
        *("hugetlbfs",),
    )
)
"""File systems that hold nobody's data: what is mounted of them below a denied place closes none of their others."""

_WITH_PATH = frozenset(("nfs", "lustre", "ceph", "fuse.glusterfs", "fuse.sshfs", "panfs"))
"""Kinds whose source ends in the path inside the file system, behind the server's names."""

_TAGS = frozenset(("gpfs", "beegfs", "9p", "virtiofs", "wekafs", "dvs"))
"""Kinds whose source is a mere word that names one file system."""


@dataclass(frozen=True)
class _Place:
    """One directory of one file system. ``keys`` name the file system; two that share one are the same."""

    keys: frozenset[tuple[str, str]]
    inside: str


def _place(mount: Mount) -> _Place:
    """The directory that is seen at a mount's point.

    NFS writes ``/`` for each mount's root and the whole path into its source, also for a bind mount of a subdirectory
    (``nfs_show_path``, ``nfs_show_devname`` in fs/nfs/super.c); others write the path below what was mounted.
    """
    kind = "nfs" if mount.kind == "nfs4" else mount.kind
    keys = {("device", mount.device)}
    options = dict(option.partition("=")[::2] for option in mount.options)
    by_source = kind in SHARED or kind.startswith("fuse.")
    if mount.kind.startswith("fuse") and options.get("user_id", "0") != "0":
        by_source = False  # a user's own mount: its source is what the user wrote there
    if not by_source or not mount.source:
        return _Place(frozenset(keys), mount.root)
    servers, path = _source(kind, mount.source)
    if kind == "nfs" and options.get("addr"):
        servers |= {options["addr"]}
    if kind == "beegfs":  # the word is the same for all of them
        servers = {options.get("cfgFile", mount.source)}
    return _Place(frozenset(keys | {(kind, server) for server in servers}), joined(path, mount.root))


def _source(kind: str, source: str) -> tuple[set[str], str]:
    """The names of the servers (for any other kind: of the file system), and the path that they give."""
    if kind == "ceph" and "=" in source:  # user@fsid.name=/path
        name, _, path = source.partition("=")
        return {name.partition("@")[2] or name}, path or "/"
    if kind in _WITH_PATH:
        servers, colon, path = source.rpartition(":/")
        if not colon:
            return {source}, "/"
        # Lustre puts "," and ":" between servers. Ceph's have ports, and addresses in brackets stay whole
        whole = kind == "ceph" or "[" in servers
        names = set((servers if whole else servers.replace(":", ",")).split(","))
        return {name.lower() for name in names if name}, f"/{path}".rstrip("/") or "/"
    if kind == "gpfs":
        return {source.removeprefix("/dev/")}, "/"
    # a word such as "cvmfs2" says which program mounted it, not what
    return ({source} if kind in _TAGS or ":" in source or "/" in source else set()), "/"


class Aliases:
    """Answers for one mount table."""

    def __init__(self, mounts: tuple[Mount, ...]) -> None:
        self._mounts = mounts
        self._places = [(mount, _place(mount)) for mount in mounts]
        self._by_key: dict[tuple[str, str], list[tuple[Mount, _Place]]] = defaultdict(list)
        for mount, place in self._places:
            for key in place.keys:
                self._by_key[key].append((mount, place))

    def of(self, path: str, counts: Callable[[str], bool] = lambda point: True) -> tuple[str, ...]:
        """Every other path at which the place, or a part of it, is seen; what lies below ``path`` itself is left out.

        Also of what is mounted below the place, where ``counts`` says so of a mount's point.
        """
        own = holder(path, self._mounts)
        if own is None:
            return ()
        found = dict.fromkeys(self._seen(own, path))
        for mount, _ in self._places:
            below = mount.point != path and is_below(mount.point, path)
            if below and mount.kind not in KERNELS_OWN and counts(mount.point):
                found |= dict.fromkeys(self._seen(mount, mount.point))
        return tuple(alias for alias in found if not is_below(alias, path))

    def _seen(self, own: Mount, path: str) -> Iterator[str]:
        """Where else a place on one mount is seen: as a whole, or a part of it by a mount of that part."""
        for other, alias in self.on(own, path):
            if holder(alias, self._mounts) is other:
                yield alias

    def on(self, own: Mount, path: str, *, parts: bool = True) -> Iterator[tuple[Mount, str]]:
        """The other mounts that have what lies at a path on one mount, and at which path, be that covered or not."""
        place = _place(own)
        inside = joined(place.inside, path[len(own.point.rstrip("/")) :])
        for other, there in self._others(place):
            if other is own:
                continue
            if is_below(inside, there.inside):
                yield other, joined(other.point, inside[len(there.inside.rstrip("/")) :])
            elif parts and is_below(there.inside, inside):
                yield other, other.point

    def _others(self, place: _Place) -> Iterable[tuple[Mount, _Place]]:
        return {id(entry[0]): entry for key in sorted(place.keys) for entry in self._by_key[key]}.values()
