"""From what a policy grants one user to what the kernel enforces on one node: roots, masks, links, ports. Pure.

``system`` looked at the node; ``sandbox`` applies the plan. What can't be enforced is refused here, never thinned out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from jupyter_hpcsec.access.aliases import Aliases
from jupyter_hpcsec.access.mountinfo import holder
from jupyter_hpcsec.access.places import Kind, Place, State, nearest
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.system import System
from jupyter_hpcsec.access.values import (
    Bind,
    Enforcement,
    Entry,
    Link,
    Make,
    Mask,
    Masked,
    Network,
    Plan,
    Resolved,
    Right,
    Root,
    digest,
)
from jupyter_hpcsec.errors import Unavailable

DNS = 53
KERNEL_PLACES = ("/proc", "/sys", "/dev")


def compile(resolved: Resolved, system: System) -> Plan:
    """The plan of one session on one node; ``Unavailable`` with one sentence when it could not be held here.

    Nobody can work without a home: one that a rule names counts as required.

    1. Denied paths, every other path at which the same place or a part of it is seen, and snapshots that show it as it
    was. 2. Allowed paths that are here. 3. What software needs. Nothing of either at or below a denied path.
    4. What may only be read is not written by another of its paths. 5. A root inside another counts only where it
    changes something. 6. A denied path inside a root is masked or, where that can't be, the root is given out
    around it.
    """
    work = _Compilation(resolved, system)
    if resolved.network.bind is Bind.PRIVATE and not system.namespaces:
        raise Unavailable(
            "The policy wants a network of the session's own, and this node gives its users no namespaces."
        )
    if resolved.enforcement is Enforcement.ADVISORY:
        work.notes.append("The policy is advisory: its file rules are shown, not enforced.")
    work.deny()
    work.allow()
    work.need()
    work.keep_read_only()
    work.nest()
    work.mask()
    return Plan(
        user=resolved.subject.user,
        policy=resolved.policy,
        enforcement=resolved.enforcement,
        minimum_abi=resolved.minimum_abi,
        network=_network(resolved.network),
        roots=tuple(work.roots[path] for path in sorted(work.roots)),
        masks=tuple(work.masks[path] for path in sorted(work.masks)),
        links=tuple(_links(work, system)),
        code=resolved.code,
        namespaces=system.namespaces,
        temporary="" if system.namespaces else next((r.source for r in system.needed if r.path == "/tmp"), ""),  # noqa: S108
        notes=tuple(work.notes),
    )


def unrestricted(user: str, bind: Bind) -> Plan:
    """The plan where an admin did without a policy: of all of this, only what may listen."""
    return Plan(
        user=user,
        policy="none",
        enforcement=Enforcement.ADVISORY,
        minimum_abi=1,
        network=Network(bind=bind),
        roots=(),
        notes=("There is no policy: files and connections are not restricted.",),
    )


def _network(network: Network) -> Network:
    """Names must resolve where anything may be reached: port 53, by TCP (``sandbox.environment``)."""
    ports = {*network.connect, DNS} if network.connect else set()
    return Network(bind=network.bind, connect=tuple(sorted(ports)))


@dataclass
class _Compilation:
    resolved: Resolved
    system: System
    denied: dict[str, Entry] = field(default_factory=dict)
    roots: dict[str, Root] = field(default_factory=dict)
    masks: dict[str, Masked] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ways: dict[str, str] = field(default_factory=dict)
    absent: dict[str, Entry] = field(default_factory=dict)
    aliases: Aliases = field(init=False)

    def __post_init__(self) -> None:
        self.aliases = Aliases(self.system.mounts)

    def deny(self) -> None:
        """Where the denied places are: the resolved path, its aliases, and the snapshots of directories above it."""
        for entry in self.resolved.entries:
            if entry.right is not Right.NONE:
                continue
            place = self.system.places[entry.path]
            if place.state is State.UNTRUSTED:
                raise Unavailable(
                    f"{_who(entry)} denies {entry.path}, which is reached by a symbolic link that others than root "
                    f"could exchange ({place.links[-1][0]}): replace the link by what it stands for, then start again."
                )
            for path in (place.real, *self.system.snapshots.get(place.real, ())):
                for alias in (path, *self.aliases.of(path)):
                    self._spare_the_vital(alias, entry, place)
                    self.denied.setdefault(alias, entry)

    def _spare_the_vital(self, path: str, entry: Entry, place: Place) -> None:
        also = "" if path == place.real else f", which is seen at {path}, too"
        for vital in self.system.vital:
            if is_below(vital, path):
                raise Unavailable(
                    f"{_who(entry)} denies {entry.path}{also}, but no session starts without {vital}. "
                    "The policy has to leave that to it."
                )

    def allow(self) -> None:
        """Where the allowed places are; longer paths and stronger rights win by ``nest``."""
        for entry in self.resolved.entries:
            if entry.right is Right.NONE:
                continue
            place = self.system.places[entry.path]
            is_home = entry.path == self.resolved.subject.home
            if (why := _why_not(place)) is not None:
                if entry.required or is_home:
                    raise Unavailable(f"{_who(entry)} requires {entry.path}, which {why} on this node.")
                self._without(entry, place, why)
                continue
            if entry.right is Right.WRITE and self._is_read_only(place.real):
                if entry.required or is_home:
                    raise Unavailable(
                        f"{_who(entry)} lets you write to {entry.path}, whose file system is read-only on this node."
                    )
                self.notes.append(f"The file system of {entry.path} is read-only on this node ({_who(entry)}).")
            if (denial := self._denial(place.real)) is not None:
                by = f"{_who(denial)} denies{self._other_name(place.real, denial)}"
                if entry.required or is_home:
                    raise Unavailable(f"{_who(entry)} requires {entry.path}, which {by}.")
                if self._other_name(place.real, denial):
                    self.notes.append(f"{entry.path} is not given ({_who(entry)}): {by}.")
                continue
            self.ways.update(place.links)
            root = Root(path=place.real, right=entry.right, origin=_who(entry), required=entry.required)
            for part in [root] if place.real != "/" else self._parts_of_everything(root):
                self._add(part)

    def _is_read_only(self, path: str) -> bool:
        mount = holder(path, self.system.mounts)
        return mount is not None and mount.read_only

    def _parts_of_everything(self, root: Root) -> Iterable[Root]:
        """All of the node is what is in its root directory now, but for the kernel's own: that is given as needed."""
        for name in self.system.children.get("/", ()):
            if f"/{name}" not in KERNEL_PLACES and self._denial(f"/{name}") is None:
                yield replace_path(root, f"/{name}")

    def _without(self, entry: Entry, place: Place, why: str) -> None:
        """An allowed path that is not there. One that may only be read still counts inside what may be written."""
        if entry.right is Right.READ:
            at = place.links[-1][0] if place.state is State.UNTRUSTED else place.real
            self.absent[at] = entry
        self.notes.append(f"{entry.path} {why} on this node ({_who(entry)}).")

    def need(self) -> None:
        """What software needs, unless it is denied."""
        for needed in self.system.needed:
            root = needed if self.system.namespaces else self._plain(needed)
            if root is not None and self._denial(root.path) is None:
                self._add(root)

    @staticmethod
    def _plain(root: Root) -> Root | None:
        """Without a mount namespace there is nothing of one's own: the node's, but for ``/tmp`` (``sandbox``)."""
        if root.make is Make.MEMORY and root.path == "/tmp":  # noqa: S108
            return None
        return msgspec.structs.replace(root, make=Make.PLACE, path=root.source or root.path, source="")

    def _add(self, root: Root) -> None:
        """Of two at one path the one that allows more; where both may be written, the policy's over one made anew."""
        there = self.roots.get(root.path)
        if there is None or (there.right is Right.READ and not _is_place(root)):
            self.roots[root.path] = root
        elif root.make is Make.PLACE and not root.source:
            stronger = root if (there.right, root.right) == (Right.READ, Right.WRITE) else there
            self.roots[root.path] = msgspec.structs.replace(
                stronger, devices=root.devices or there.devices, required=root.required or there.required
            )

    def _denial(self, path: str) -> Entry | None:
        denied = nearest(path, self.denied)
        return None if denied is None else self.denied[denied]

    def _other_name(self, path: str, denial: Entry) -> str:
        """Behind "denies": by which other path, where the rule does not name the place itself."""
        real = self.system.places[denial.path].real
        return "" if is_below(path, real) else f" by another of its paths, {denial.path}"

    def nest(self) -> None:
        """Drop a root inside a like one. One that may only be read inside one that may be written becomes a mask."""
        for path in sorted(self.roots, key=len, reverse=True):
            root = self.roots[path]
            above = nearest(path, set(self.roots) - {path})
            if above is None or not _is_place(root):
                continue
            outer = self.roots[above]
            if not _is_place(outer):  # what is made anew does not hold it
                continue
            if root.right is Right.READ and outer.right is Right.WRITE:
                del self.roots[path]
                if not root.origin.startswith("system:"):
                    self.masks[path] = Masked(path=path, mask=Mask.READ_ONLY, origin=root.origin)
            elif root.right is outer.right and root.devices is outer.devices:
                del self.roots[path]
        for path, entry in self.absent.items():
            above = nearest(path, self.roots)
            if above is None or self.roots[above].right is Right.READ or not _is_place(self.roots[above]):
                continue
            if self.system.places[entry.path].state is State.UNTRUSTED:
                raise Unavailable(
                    f"{_who(entry)} makes {entry.path} read-only, which is reached by a symbolic link that others than "
                    f"root could exchange ({path}): replace the link by what it stands for, then start again."
                )
            if self._denial(path) is None:
                self.masks[path] = Masked(path=path, mask=Mask.READ_ONLY, origin=_who(entry))

    def keep_read_only(self) -> None:
        """What may only be read may not be written by another of its paths, inside what may be written.

        Not where a rule that lets write speaks of that very place, or of one inside of it, by whichever path. Of what
        is mounted below, only what no other rule speaks of. A rule about ``/`` is one about all that is not ruled.
        """
        places = self.system.places
        reals = {e.path: places[e.path].real for e in self.resolved.entries if e.right is not Right.NONE}
        written = {reals[e.path] for e in self.resolved.entries if e.right is Right.WRITE}
        for entry in self.resolved.entries:
            real = reals.get(entry.path, "/")
            if entry.right is not Right.READ or real == "/" or places[entry.path].state is not State.THERE:
                continue
            others = self.aliases.of(real, partial(_is_ruled_by, real, frozenset(reals.values())))
            for alias in others:
                above, meant = nearest(alias, self.roots), nearest(alias, written)
                if above is None or self.roots[above].right is Right.READ or not _is_place(self.roots[above]):
                    continue
                if meant is not None and any(is_below(meant, name) for name in (real, *others)):
                    continue
                if self._denial(alias) is None:
                    root = Root(path=alias, right=Right.READ, origin=f"{_who(entry)}, for {entry.path}")
                    self.roots.setdefault(alias, root)  # a mask, after ``nest``

    def mask(self) -> None:
        """Take denied places back from the roots that hold them."""
        taken: list[str] = []
        for path in sorted(self.denied):
            # what is in a hidden place is hidden, also when the outer one is to be left out of what is given
            if nearest(path, taken) is None and (root := nearest(path, self.roots)) is not None:
                taken.append(path)
                self._leave_out(path, self.denied[path], self.roots[root])
        for path in taken:
            if nearest(path, self.roots) is not None:
                self._hold(Masked(path=path, mask=Mask.HIDDEN, origin=_who(self.denied[path])))
        for path, masked in list(self.masks.items()):
            if nearest(path, taken) not in {None, path}:
                del self.masks[path]
            elif masked.mask is Mask.READ_ONLY:
                self._hold(masked)

    def _leave_out(self, path: str, entry: Entry, root: Root) -> None:
        """Where a place can't be masked but may only be read: give out what is around it instead."""
        can_mask = self.system.namespaces and self.system.places[entry.path].state is not State.MISSING
        masked = Masked(path=path, mask=Mask.HIDDEN, origin=_who(entry))
        if root.right is Right.READ and not can_mask and not self._is_prepared(masked):
            self._give_out_around(path, entry, root)

    def _is_prepared(self, masked: Masked) -> bool:
        """Whether the node's root has mounted something over the place that only root can take away."""
        mount = holder(masked.path, self.system.mounts)
        if mount is None or not mount.read_only:
            return False
        return masked.mask is Mask.READ_ONLY or (mount.point == masked.path and mount.kind == "tmpfs")

    def _hold(self, masked: Masked) -> None:
        """Add a mask: made by the session itself, or found."""
        if not self.system.namespaces and not self._is_prepared(masked):
            wish = "hidden" if masked.mask is Mask.HIDDEN else "made read-only"
            raise Unavailable(
                f"{masked.origin} wants {masked.path} {wish} inside a place that may be written, which takes user "
                "namespaces or masks that the node's prolog prepares; this node has neither."
            )
        self.masks[masked.path] = masked

    def _give_out_around(self, path: str, entry: Entry, root: Root) -> None:
        """Instead of a root, everything in it that is not on the way to the denied path."""
        del self.roots[root.path]
        directory = root.path
        for part in path[len(root.path.rstrip("/")) + 1 :].split("/"):
            names = self.system.children.get(directory)
            if names is None:
                raise Unavailable(
                    f"{_who(entry)} denies {path}, which can be neither masked here nor left out of {root.path}: "
                    f"{directory} can't be listed or holds too much."
                )
            base = directory.rstrip("/")
            for name in names:
                if name != part and self._denial(f"{base}/{name}") is None:
                    around = replace_path(root, f"{base}/{name}")
                    self.roots.setdefault(around.path, around)
            directory = f"{base}/{part}"


def replace_path(root: Root, path: str) -> Root:
    """The same rights at another path."""
    return msgspec.structs.replace(root, path=path, required=False)


def _is_ruled_by(path: str, ruled: frozenset[str], point: str) -> bool:
    return nearest(point, ruled) == path


def _is_place(root: Root) -> bool:
    return root.make is Make.PLACE and not root.source


def _who(entry: Entry) -> str:
    return f"rule {entry.rule} (line {entry.line}, {entry.who})"


def _why_not(place: Place) -> str | None:
    """Why nothing is granted at a place."""
    if place.state is State.UNTRUSTED:
        return f"is reached by a symbolic link that others than root could exchange ({place.links[-1][0]})"
    if place.state is State.MISSING:
        return "is missing"
    if place.state is State.UNREACHABLE:
        return f"can't be reached by the account (at {place.real})"
    if place.kind not in {Kind.DIRECTORY, Kind.FILE}:
        return "is neither a directory nor a file"
    return None


def _links(work: _Compilation, system: System) -> Iterable[Link]:
    """The links on the way to what stays; none at or below a denial, and none inside a root, where it is anyway.

    What a session gets anew is empty: links are made there, too.
    """
    if not system.namespaces:
        return
    for path, target in sorted({**system.links, **work.ways}.items()):
        root = nearest(path, work.roots)
        if (root is None or not _is_place(work.roots[root])) and nearest(path, work.denied) is None:
            yield Link(path=path, target=target)


def describe(plan: Plan) -> str:
    """The plan for people to read, one line a fact."""
    width = max((len(root.path) for root in plan.roots), default=0)
    lines = [
        f"plan {digest(plan)[:16]} for {plan.user}, policy {plan.policy[:16]}, {plan.enforcement}, "
        f"Landlock ABI >= {plan.minimum_abi}",
        f"network: bind {plan.network.bind}; connect to TCP ports {_list(plan.network.connect)}",
        "files: a root of its own, masks by mounts" if plan.namespaces else "files: the node's own root, Landlock",
    ]
    for root in plan.roots:
        shown = {Make.MEMORY: "in memory, its own", Make.TERMINALS: "its own"}.get(root.make, "")
        shown = f"its own, at {root.source}" if root.source else shown
        lines.append(f"  {root.right:<9} {root.path:<{width}}  {root.origin}{f' ({shown})' if shown else ''}")
    lines += [f"  {mask.mask:<9} {mask.path:<{width}}  {mask.origin}" for mask in plan.masks]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines)


def _list(ports: Iterable[int]) -> str:
    return ", ".join(map(str, ports)) or "none"
