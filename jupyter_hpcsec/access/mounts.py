"""A root directory of the session's own: user and mount namespace, and in it what the plan names, nothing else.

What is not in the plan is absent; what may only be read can't be changed, its modes and times included; a denied place
is covered by something empty that can't be opened. It needs no privilege but user namespaces.

Source: mount_namespaces(7), user_namespaces(7), open_tree, move_mount, mount_setattr(2), fsopen, pivot_root(2); Linux
``include/uapi/linux/{mount,sched}.h``. The calls below have one number on every architecture.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from jupyter_hpcsec.access import mountinfo
from jupyter_hpcsec.access import probe as probing
from jupyter_hpcsec.access.places import nearest
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.syscalls import RESOLVE_IN_ROOT, call, open_place, system
from jupyter_hpcsec.access.values import Link, Make, Mask, Masked, Plan, Right, Root
from jupyter_hpcsec.errors import Unavailable

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x40000000

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 428, 429, 430, 431, 432
SYS_MOUNT_SETATTR = 442

OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
MOVE_FROM_EMPTY_PATH, MOVE_TO_EMPTY_PATH = 0x04, 0x40
FSCONFIG_SET_STRING, FSCONFIG_CREATE = 1, 6
DETACH = 2

READ_ONLY, NO_SUID, NO_DEVICES, NO_EXECUTION = 1, 2, 4, 8
"""``MOUNT_ATTR_*``."""
PRIVATE = 1 << 18
"""``MS_PRIVATE``: what is mounted there later on the node is not seen."""

PROBE_LIMIT_S = 60.0

NO_DIRECTORY, NO_FILE = ".no-directory", ".no-file"
"""What lies over denied places, by its names while the new root is built."""


def probe_command() -> list[str]:
    """What tells by its exit status whether this account can have a mount namespace here, and by its output why not."""
    return [sys.executable, "-I", "-S", probing.__file__]


def probe() -> str:
    """Why this account can't have a mount namespace here; empty when it can."""
    done = subprocess.run(probe_command(), env={}, capture_output=True, text=True, check=False, timeout=PROBE_LIMIT_S)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()[:200] or "the probe failed"


def enter(*, private_network: bool) -> None:
    """Leave the node's namespaces for good. User and group stay what they are, and are the only ones known by name.

    ``Unavailable`` when this account may not.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        call("unshare", ctypes.c_int(NEW_USER | NEW_MOUNTS | NEW_IPC | (NEW_NET if private_network else 0)))
        # A group list can't be given up: what was denied to a group stays denied to it.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        if private_network:
            _loopback_up()
    except OSError as error:
        raise Unavailable(
            f"This node gives its users no namespaces ({error.strerror}): set user.max_user_namespaces, or have the "
            "prolog prepare the masks."
        ) from error


def _loopback_up() -> None:
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = bytearray(struct.pack("16sH14x", b"lo", 0))
        fcntl.ioctl(any_socket, get_flags, request)
        (flags,) = struct.unpack_from("H", request, 16)
        struct.pack_into("H", request, 16, flags | up)
        fcntl.ioctl(any_socket, set_flags, request)


def no_more_namespaces() -> None:
    """Nobody inside gets a user namespace, with which everything could be tried again."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


class NewRoot:
    """The session's root, being built: ``build``, then ``become``. The process is in its namespaces (``enter``).

    ``made`` are the directories that had to be made on the node for a mask to lie on.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._writable = {root.path for root in plan.roots if root.right is Right.WRITE}
        self._lent = {root.path for root in plan.roots if root.make is Make.PLACE and not root.source}
        self._parts = {root.path for root in plan.roots} | {masked.path for masked in plan.masks}
        self._pinned: set[str] = set()
        table = mountinfo.parse(mountinfo.read())
        self._on_demand = {mount.point for mount in table if mount.kind == "autofs"}
        self._top = -1
        self.made: list[str] = []

    def build(self) -> None:
        """Put everything together beside the old root; ``Unavailable`` names the part that can't be had.

        What lies on the node is taken first, all of it: nothing that is built can be in its way.
        """
        taken = {}
        for root in self._plan.roots:
            if root.make is Make.PLACE:
                with _naming(root.path):
                    taken[root.path] = _take(root)
        self._begin()
        parts: list[Root | Masked] = sorted([*self._plan.roots, *self._plan.masks], key=lambda part: part.path)
        for part in parts:
            with _naming(part.path):
                self._pin_above(part.path)
                if isinstance(part, Root):
                    self._mount(part, taken.get(part.path, -1))
                elif part.mask is Mask.READ_ONLY:
                    self._make_read_only(part.path)
                else:
                    self._hide(part.path)
        for link in self._plan.links:
            with _naming(link.path):
                self._link(link)
        os.rmdir(NO_DIRECTORY, dir_fd=self._top)
        os.unlink(NO_FILE, dir_fd=self._top)

    def become(self) -> None:
        """Make it this process's root; the old one is gone from here."""
        _set_attributes(self._top, READ_ONLY | NO_SUID | NO_DEVICES, recursive=False)
        os.fchdir(self._top)
        call("pivot_root", b".", b".")
        call("umount2", b".", ctypes.c_int(DETACH))
        os.chdir("/")
        os.close(self._top)

    def _begin(self) -> None:
        """The top, in memory, and in it what is laid over denied places: its user could not open it, nor change that.

        It is attached over ``/proc``, where it does not matter: nothing of here is seen after ``become``.
        """
        top = _new_file_system("tmpfs", NO_SUID | NO_DEVICES, mode="0755", size="16m")
        at = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        _move(top, at)
        os.close(at)
        self._top = top
        os.mkdir(NO_DIRECTORY, 0o000, dir_fd=top)
        os.close(os.open(NO_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o000, dir_fd=top))

    def _open(self, path: str) -> int:
        """What lies at a path of the new root, as a mere place; no symbolic link is followed."""
        return open_place(path.lstrip("/") or ".", self._top, RESOLVE_IN_ROOT)

    def _directory(self, path: str) -> int:
        """A directory of the new root, made where it is missing."""
        here, at = self._open("/"), ""
        for part in [part for part in path.split("/") if part]:
            at = f"{at}/{part}"
            try:
                inner = self._open(at)
            except FileNotFoundError:
                os.mkdir(part, 0o755 if nearest(at, self._writable) is None else 0o700, dir_fd=here)
                if nearest(at, self._lent) not in {None, at}:
                    self.made.append(at)
                inner = self._open(at)
            os.close(here)
            here = inner
        return here

    def _link(self, link: Link) -> None:
        """In a directory that stays, one from an earlier time may be there."""
        above, _, name = link.path.rpartition("/")
        directory = self._directory(above)
        try:
            os.symlink(link.target, name, dir_fd=directory)
        except FileExistsError:
            if os.readlink(name, dir_fd=directory) != link.target:
                raise
        finally:
            os.close(directory)

    def _mount(self, root: Root, taken: int) -> None:
        if root.make is Make.MEMORY:
            taken = _new_file_system("tmpfs", NO_SUID | NO_DEVICES, mode="1777")
        elif root.make is Make.TERMINALS:
            taken = _new_file_system("devpts", NO_SUID | NO_EXECUTION, mode="0620", ptmxmode="0666")
        else:
            devices = 0 if root.devices else NO_DEVICES
            read_only = READ_ONLY if root.right is Right.READ else 0
            # Later mounts of the node would come in as they are, over masks and without attributes. Where the node
            # mounts on demand they have to: nothing would be there otherwise, and Landlock alone holds them.
            stays = not any(is_below(place, root.path) for place in self._on_demand)
            _set_attributes(taken, NO_SUID | devices | read_only, propagation=PRIVATE if stays else 0)
        is_directory = stat.S_ISDIR(os.fstat(taken).st_mode)
        at = self._directory(root.path) if is_directory else self._file(root.path)
        _move(taken, at)
        os.close(at)
        os.close(taken)

    def _file(self, path: str) -> int:
        """A place for something that is no directory, made where it is missing."""
        try:
            return self._open(path)
        except FileNotFoundError:
            directory = self._directory(os.path.dirname(path))  # noqa: PTH120 - a string, not a file
            name = os.path.basename(path)  # noqa: PTH119
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory))
            os.close(directory)
            return self._open(path)

    def _pin_above(self, path: str) -> None:
        """Directories between a root and something inside it become mounts: they can't be renamed away.

        Also where the root may only be read: the same directory may be written by another of its paths.
        """
        directory = os.path.dirname(path)  # noqa: PTH120 - a string, not a file
        root = nearest(directory, self._parts)
        if root is None:
            return
        at = root
        for part in [part for part in directory[len(root) :].split("/") if part]:
            at = f"{at.rstrip('/')}/{part}"
            if at not in self._pinned and at not in self._parts:
                self._pinned.add(at)
                self._onto_itself(at, 0)

    def _make_read_only(self, path: str) -> None:
        self._onto_itself(path, READ_ONLY)

    def _onto_itself(self, path: str, attributes: int) -> None:
        try:
            at = self._open(path)
        except FileNotFoundError:
            at = self._directory(path)
        copy = clone(at)
        _set_attributes(copy, NO_SUID | attributes)
        _move(copy, at)
        os.close(copy)
        os.close(at)

    def _hide(self, path: str) -> None:
        try:
            at = self._open(path)
        except FileNotFoundError:
            at = self._directory(path)
        is_directory = stat.S_ISDIR(os.fstat(at).st_mode)
        nothing = self._open(NO_DIRECTORY if is_directory else NO_FILE)
        copy = clone(nothing)
        _set_attributes(copy, READ_ONLY | NO_SUID | NO_DEVICES | NO_EXECUTION)
        _move(copy, at)
        for descriptor in (nothing, copy, at):
            os.close(descriptor)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path} could not be put into the session's root: {error.strerror}.") from error


def _take(root: Root) -> int:
    """A copy of the mounts at a place of the node, not attached anywhere yet."""
    if root.source:
        Path(root.source).mkdir(mode=0o700, exist_ok=True)
    at = open_place(root.source or root.path)
    try:
        return clone(at)
    finally:
        os.close(at)


def clone(at: int) -> int:
    """A copy of the mounts at an open place, not attached anywhere yet."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    return system(SYS_OPEN_TREE, ctypes.c_int(at), b"", ctypes.c_uint(flags))


def _move(tree: int, at: int) -> None:
    system(SYS_MOVE_MOUNT, tree, b"", at, b"", ctypes.c_uint(MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH))


def _set_attributes(tree: int, attributes: int, *, recursive: bool = True, propagation: int = 0) -> None:
    """Add restrictions to a mount (``struct mount_attr``); none is ever taken away."""
    wanted = struct.pack("=QQQQ", attributes, 0, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    system(SYS_MOUNT_SETATTR, tree, b"", ctypes.c_uint(flags), wanted, ctypes.c_size_t(len(wanted)))


def _new_file_system(kind: str, attributes: int, **options: str) -> int:
    """A fresh file system, not attached anywhere yet."""
    context = system(SYS_FSOPEN, kind.encode(), ctypes.c_uint(1))  # FSOPEN_CLOEXEC
    try:
        for name, value in options.items():
            system(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0)
        system(SYS_FSCONFIG, context, FSCONFIG_CREATE, None, None, 0)
        return system(SYS_FSMOUNT, context, ctypes.c_uint(1), ctypes.c_uint(attributes))  # FSMOUNT_CLOEXEC
    finally:
        os.close(context)


def nothing(mode: str = "0000") -> int:
    """An empty file system in memory, not attached anywhere yet."""
    return _new_file_system("tmpfs", NO_SUID | NO_DEVICES | NO_EXECUTION, mode=mode, size="64k")


def cover(place: int, tree: int, attributes: int) -> None:
    """Lay mounts that are not attached yet over an open place, and take them over; ``attributes`` are added to them."""
    try:
        _set_attributes(tree, NO_SUID | NO_DEVICES | attributes)
        _move(tree, place)
    finally:
        os.close(tree)
