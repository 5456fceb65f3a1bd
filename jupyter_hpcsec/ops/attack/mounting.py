"""Attempts to get at what a mount hides, and at the power to mount: namespaces, chroot, the new mount interface.

Each is made in a process of its own; what it mounts is gone with it. Of a mask that could be taken away only the
right to do so is tried.
"""

import errno
import os
import signal
import struct
from pathlib import Path

from jupyter_hpcsec.access.aliases import Aliases
from jupyter_hpcsec.access.mountinfo import holder, parse, read
from jupyter_hpcsec.access.mounts import NO_DIRECTORY, NO_FILE
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.ops.attack import native
from jupyter_hpcsec.ops.attack.making import (
    DENIED,
    DENIED_DIR,
    READONLY_DIR,
    attempt,
    beyond,
    collect,
    descriptor,
    need,
    opened,
)
from jupyter_hpcsec.ops.attack.processes import on_each
from jupyter_hpcsec.ops.attack.targets import Targets, Victim
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

NAMESPACES = {Stop.USER_NAMESPACES: 0, Stop.LANDLOCK: 1}
"""None can be made; and a process under Landlock's file rights can't change the file tree (landlock(7))."""
FS = {Stop.MOUNTS: 0, Stop.LANDLOCK: 1}
POWER = {Stop.CAPABILITIES: 0, Stop.LANDLOCK: 1}
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_EXPIRE = 4
OPEN_TREE_CLONE = 1


def _inside(t: Targets) -> None:
    """Become root of a new user namespace with mounts of its own."""
    native.alone_with(native.CLONE_NEWUSER | native.CLONE_NEWNS)
    native.mount("none", "/", "", MS_REC | MS_PRIVATE)
    (t.scratch / "at").mkdir()


def _above(t: Targets) -> tuple[Path, Path]:
    """The directory above what is denied, and the denied path relative to it."""
    denied = need(t.denied, DENIED)
    above = t.denied_dir.parent if t.denied_dir and t.denied_dir in denied.parents else denied.parent
    return above, denied.relative_to(above)


@attempt(Group.MOUNTS, "user-namespace", "Become root of a new user namespace", {Stop.USER_NAMESPACES: 0})
def user_namespace(_: Targets) -> str:
    """unshare(CLONE_NEWUSER): inside, a process has every capability."""
    native.alone_with(native.CLONE_NEWUSER)
    return f"made one, and is user {os.geteuid()} in it"


@attempt(Group.MOUNTS, "user-namespace-clone", "The same by clone", {Stop.USER_NAMESPACES: 0})
def user_namespace_clone(_: Targets) -> str:
    """clone3 with CLONE_NEWUSER, which a filter on unshare does not see."""
    arguments = struct.pack("=11Q", native.CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    try:
        child = native.syscall("clone3", arguments, len(arguments))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        child = native.syscall("clone", native.CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a child ran in one"


@attempt(Group.MOUNTS, "bind", "Bind a denied path into reach", NAMESPACES)
def bind(t: Targets) -> str:
    """In a new user and mount namespace, bind what lies above elsewhere, without masks, and read there."""
    above, denied = _above(t)
    _inside(t)
    native.mount(str(above), str(t.scratch / "at"), "", MS_BIND)
    return opened(t.scratch / "at" / denied)


@attempt(Group.MOUNTS, "overlay", "Lay an overlay over a denied directory", NAMESPACES)
def overlay(t: Targets) -> str:
    """In a new user and mount namespace, make it the lower layer of an overlay."""
    denied = need(t.denied_dir, DENIED_DIR)
    _inside(t)
    native.mount("none", str(t.scratch), "tmpfs", 0)
    for name in ("at", "upper", "work"):
        (t.scratch / name).mkdir()
    options = f"lowerdir={denied},upperdir={t.scratch}/upper,workdir={t.scratch}/work,userxattr"
    try:
        native.mount("none", str(t.scratch / "at"), "overlay", 0, options)
    except OSError as error:
        if error.errno == errno.ENODEV:
            not_tried("this kernel has no overlay file system")
        raise
    return opened(t.scratch / "at")


@attempt(Group.MOUNTS, "remount-namespace", "Remount a read-only path in a new namespace", NAMESPACES)
def remount_namespace(t: Targets) -> str:
    """In a new user and mount namespace, bind the read-only directory elsewhere, and create a file there."""
    readonly = need(t.readonly_dir, READONLY_DIR)
    _inside(t)
    native.mount(str(readonly), str(t.scratch / "at"), "", MS_BIND)
    native.mount("none", str(t.scratch / "at"), "", MS_BIND | MS_REMOUNT)
    with descriptor(t.scratch / "at", os.O_WRONLY | os.O_TMPFILE):
        return "an unnamed file was made"


SEEN_ONCE = "no other mount here shows {}, or a part of it"


def _other_paths(path: Path, *, parts: bool) -> list[str]:
    """Where else the mount table shows what lies at a path, or lay there before a mask did. Masks show nothing."""
    table = parse(read())
    masks = [mount for mount in table if mount.root in {f"/{NO_DIRECTORY}", f"/{NO_FILE}"}]
    shown = tuple(mount for mount in table if mount not in masks)
    own = holder(str(path), shown)
    found = Aliases(shown).on(own, str(path), parts=parts) if own else ()
    others = [alias for _, alias in found if not is_below(alias, str(path))]
    return others or not_tried(SEEN_ONCE.format(path))


@attempt(Group.MOUNTS, "second-mount", "Read a denied place where it is mounted again", FS)
def second_mount(t: Targets) -> str:
    """Open every other path at which the mount table shows the denied place, or a part of it."""
    return _first_that_opens(_other_paths(need(t.denied_dir, DENIED_DIR), parts=True), os.O_RDONLY)


@attempt(Group.MOUNTS, "second-mount-write", "Write to a read-only place where it is mounted again", FS)
def second_mount_write(t: Targets) -> str:
    """Make an unnamed file at every other path at which the mount table shows the read-only directory."""
    paths = _other_paths(need(t.readonly_dir, READONLY_DIR), parts=False)
    return _first_that_opens(paths, os.O_WRONLY | os.O_TMPFILE)


def _first_that_opens(paths: list[str], flags: int) -> str:
    refusal: OSError | None = None
    for path in paths:
        try:
            with descriptor(path, flags | os.O_NONBLOCK):
                return f"opened {path}"
        except OSError as error:
            refusal = error
    raise refusal or AssertionError("BUG: nothing was tried")


@attempt(Group.MOUNTS, "mount", "Mount something", POWER, privileged=True)
def mount(t: Targets) -> str:
    """mount(2) of a tmpfs on a directory of the suite's own."""
    at = t.scratch / "at"
    at.mkdir()
    native.mount("none", str(at), "tmpfs", 0)
    native.syscall("umount2", at, 0)
    return "mounted and unmounted a tmpfs"


@attempt(Group.MOUNTS, "fsopen", "Mount by the new interface", POWER, privileged=True)
def fsopen(_: Targets) -> str:
    """fsopen(2) of a tmpfs, which a filter on mount(2) does not see."""
    os.close(native.syscall("fsopen", b"tmpfs", 1))
    return "a file system was opened"


@attempt(Group.MOUNTS, "open-tree", "Copy the tree below a mask", POWER, privileged=True)
def open_tree(t: Targets) -> str:
    """open_tree(OPEN_TREE_CLONE) without what is mounted below: the copy has no masks. Read in it."""
    above, denied = _above(t)
    fd = native.syscall("open_tree", native.AT_FDCWD, above, OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        return opened(denied, dir_fd=fd)
    finally:
        os.close(fd)


@attempt(Group.MOUNTS, "umount", "Take a mask away", POWER, privileged=True)
def umount(t: Targets) -> str:
    """umount2 with MNT_EXPIRE on the denied directory: allowed, the first call only marks the mask and says EAGAIN."""
    denied = need(t.denied_dir, DENIED_DIR)
    try:
        return beyond(lambda: native.syscall("umount2", denied, MNT_EXPIRE), errno.EAGAIN, errno.EBUSY)
    except OSError as error:
        if error.errno == errno.EINVAL:
            not_tried("nothing is mounted over the denied directory")
        raise


@attempt(Group.MOUNTS, "remount", "Make a read-only mount writable", POWER, privileged=True)
def remount(t: Targets) -> str:
    """mount_setattr with nothing to change on the read-only directory: only the right to call it is tried."""
    readonly = need(t.readonly_dir, READONLY_DIR)
    nosuid = struct.pack("=4Q", 2, 0, 0, 0)
    fd = native.syscall("open_tree", native.AT_FDCWD, readonly, OPEN_TREE_CLONE | os.O_CLOEXEC)
    native.syscall("mount_setattr", fd, b"", 0x1000, nosuid, len(nosuid))
    os.close(fd)
    return "the attributes of a copy of the mount were set"


@attempt(Group.MOUNTS, "chroot", "Climb out by chroot", {Stop.CAPABILITIES: 0}, privileged=True)
def chroot(t: Targets) -> str:
    """Open '/', chroot below it and climb up from the descriptor."""
    denied = need(t.denied, DENIED)
    with descriptor("/", os.O_PATH | os.O_DIRECTORY) as fd:
        os.chroot(t.scratch)
        return opened("../" * 8 + str(denied).lstrip("/"), dir_fd=fd)


@attempt(Group.MOUNTS, "pivot-root", "Change the root mount", POWER, privileged=True)
def pivot_root(_: Targets) -> str:
    """pivot_root of '/' to '/': allowed, it ends in 'busy'."""
    return beyond(lambda: native.syscall("pivot_root", b"/", b"/"), errno.EBUSY, errno.EINVAL)


@attempt(Group.MOUNTS, "device", "Make a device node", {Stop.CAPABILITIES: 0, Stop.LANDLOCK: 1}, privileged=True)
def device(t: Targets) -> str:
    """mknod of a second /dev/null; with that right a disk could be read raw."""
    os.mknod(t.scratch / "null", 0o020600, os.makedev(1, 3))
    return "a device node was made"


@attempt(Group.MOUNTS, "fuse", "Open /dev/fuse", {Stop.MOUNTS: 0, Stop.LANDLOCK: 1}, privileged=True)
def fuse(_: Targets) -> str:
    """The first step of serving a file system of one's own, over a path that others trust."""
    try:
        with descriptor("/dev/fuse", os.O_RDWR):
            return "opened"
    except FileNotFoundError:
        if "fuse" not in Path("/proc/misc").read_text(encoding="ascii").split():
            not_tried("this kernel has no FUSE")
        raise


@attempt(Group.MOUNTS, "enter", "Enter the namespaces of a process outside", {Stop.LANDLOCK: 1, Stop.CAPABILITIES: 0})
def enter(t: Targets) -> str:
    """setns(2) with the mount and user namespaces of the agent or the server."""
    return on_each(t, _enter)


def _enter(victim: Victim) -> str:
    pidfd = os.pidfd_open(victim.pid)
    try:  # EINVAL: allowed to look into it, and found to be there already
        return beyond(lambda: native.syscall("setns", pidfd, native.CLONE_NEWUSER | native.CLONE_NEWNS), errno.EINVAL)
    finally:
        os.close(pidfd)


ATTEMPTS = collect(vars())
