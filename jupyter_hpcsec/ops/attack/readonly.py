"""Attempts to change what may only be read: content, names, modes, times, attributes.

Nothing is changed when one succeeds: modes and times are set to what they are, and what is made is taken away again.
"""

import array
import errno
import fcntl
import mmap
import os
import socket
from pathlib import Path

from jupyter_hpcsec.ops.attack import native
from jupyter_hpcsec.ops.attack.files import moved, truncated, unique
from jupyter_hpcsec.ops.attack.making import READONLY_DIR, READONLY_FILE, attempt, beyond, collect, descriptor, need
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

FS = {Stop.MOUNTS: 0, Stop.LANDLOCK: 1}
ATTRIBUTES = {Stop.MOUNTS: 0}
"""Landlock has no right for modes, owners, times and attributes: only a read-only mount stops their owner."""
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS on 64-bit machines


def file_of(t: Targets) -> Path:
    """The read-only file."""
    return need(t.readonly_file, READONLY_FILE)


def directory_of(t: Targets) -> Path:
    """The read-only directory."""
    return need(t.readonly_dir, READONLY_DIR)


@attempt(Group.READ_ONLY, "write", "Write to a read-only file", FS)
def write(t: Targets) -> str:
    """Open it for writing; nothing is written."""
    with descriptor(file_of(t), os.O_WRONLY):
        return "opened for writing"


@attempt(Group.READ_ONLY, "append", "Append to a read-only file", FS)
def append(t: Targets) -> str:
    """Open it for appending; nothing is written."""
    with descriptor(file_of(t), os.O_WRONLY | os.O_APPEND):
        return "opened for appending"


@attempt(Group.READ_ONLY, "mmap", "Map a read-only file for writing", FS)
def memory_map(t: Targets) -> str:
    """Open for both, and map it shared and writable."""
    with descriptor(file_of(t), os.O_RDWR) as fd, mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE):
        return "mapped for writing"


@attempt(Group.READ_ONLY, "reopen", "Open for writing what is open for reading", FS)
def reopen(t: Targets) -> str:
    """Open for reading, then /proc/self/fd/N for writing."""
    with descriptor(file_of(t), os.O_RDONLY) as fd, descriptor(f"/proc/self/fd/{fd}", os.O_WRONLY):
        return "opened for writing"


@attempt(Group.READ_ONLY, "truncate", "Truncate a read-only file", {Stop.MOUNTS: 0, Stop.LANDLOCK: 3})
def truncate(t: Targets) -> str:
    """Set its size to what it is, and its times back."""
    return truncated(file_of(t))


@attempt(Group.READ_ONLY, "create", "Create a file in a read-only directory", FS)
def create(t: Targets) -> str:
    """Create a file of a new name and remove it."""
    path = unique(directory_of(t))
    with descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
        path.unlink()
    return "created and removed a file"


@attempt(Group.READ_ONLY, "tmpfile", "Store an unnamed file in a read-only directory", FS)
def unnamed(t: Targets) -> str:
    """Open the directory with O_TMPFILE; the file ends with its descriptor."""
    with descriptor(directory_of(t), os.O_WRONLY | os.O_TMPFILE):
        return "an unnamed file was made"


@attempt(Group.READ_ONLY, "mkdir", "Create a directory in a read-only one", FS)
def make_directory(t: Targets) -> str:
    """Create a directory of a new name and remove it."""
    path = unique(directory_of(t))
    path.mkdir()
    path.rmdir()
    return "created and removed a directory"


@attempt(Group.READ_ONLY, "symlink", "Create a symbolic link in a read-only directory", FS)
def symlink(t: Targets) -> str:
    """Create a link of a new name and remove it."""
    path = unique(directory_of(t))
    path.symlink_to("nothing")
    path.unlink()
    return "created and removed a link"


@attempt(Group.READ_ONLY, "fifo", "Create a named pipe in a read-only directory", FS)
def fifo(t: Targets) -> str:
    """Create one of a new name and remove it."""
    path = unique(directory_of(t))
    os.mkfifo(path)
    path.unlink()
    return "created and removed a named pipe"


@attempt(Group.READ_ONLY, "socket", "Create a socket in a read-only directory", FS)
def unix_socket(t: Targets) -> str:
    """Bind a socket to a new name and remove it."""
    with socket.socket(socket.AF_UNIX) as made, descriptor(directory_of(t), os.O_PATH) as fd:
        path = unique(Path(f"/proc/self/fd/{fd}"))  # short enough for an address
        made.bind(str(path))
        path.unlink()
    return "created and removed a socket"


@attempt(Group.READ_ONLY, "link-in", "Link a file into a read-only directory", FS)
def link_in(t: Targets) -> str:
    """Make a second name there for the file that is there, and remove it."""
    path = unique(directory_of(t))
    path.hardlink_to(file_of(t))
    path.unlink()
    return "made and removed a second name"


@attempt(Group.READ_ONLY, "link-out", "Link a read-only file into a writable directory", FS)
def link_out(t: Targets) -> str:
    """Make a second name where writing is allowed, and open it for writing."""
    path = t.scratch / "hard"
    path.hardlink_to(file_of(t))
    with descriptor(path, os.O_WRONLY):
        return "opened for writing by a second name"


@attempt(Group.READ_ONLY, "remove", "Remove a read-only file", FS)
def remove(t: Targets) -> str:
    """unlink on a directory that lies there: allowed, it ends in 'Is a directory'."""
    return beyond(_child(directory_of(t)).unlink, errno.EISDIR)


@attempt(Group.READ_ONLY, "rmdir", "Remove a directory in a read-only one", FS)
def remove_directory(t: Targets) -> str:
    """rmdir on a directory that is not empty: allowed, it ends in 'Directory not empty'."""
    child = _child(directory_of(t))
    if not any(child.iterdir()):
        not_tried(f"{child} is empty and would be removed")
    return beyond(child.rmdir, errno.ENOTEMPTY)


@attempt(Group.READ_ONLY, "rename", "Rename a read-only file", FS)
def rename(t: Targets) -> str:
    """Give it a new name beside the old one, and back."""
    return moved(file_of(t), file_of(t).parent)


@attempt(Group.READ_ONLY, "rename-out", "Move a read-only file away", FS)
def rename_out(t: Targets) -> str:
    """Rename it into a directory where writing is allowed, and back."""
    return moved(file_of(t), t.scratch)


@attempt(Group.READ_ONLY, "exchange", "Exchange a read-only file for another", FS)
def exchange(t: Targets) -> str:
    """renameat2 with RENAME_EXCHANGE with a file of the suite's own, and back."""
    mine, theirs = os.fsencode(t.scratch / "mine"), os.fsencode(file_of(t))
    (t.scratch / "mine").touch()
    for _ in range(2):
        native.syscall("renameat2", native.AT_FDCWD, mine, native.AT_FDCWD, theirs, 2)
    return "exchanged, and back"


def _child(directory: Path) -> Path:
    """A directory in a directory."""
    child = next((path for path in sorted(directory.iterdir()) if path.is_dir() and not path.is_symlink()), None)
    return need(child, f"{directory} has no directory in it, which an attempt without effect needs")


@attempt(Group.READ_ONLY, "chmod", "Change a mode", ATTRIBUTES)
def chmod(t: Targets) -> str:
    """Set it to what it is."""
    file_of(t).chmod(file_of(t).stat().st_mode & 0o7777)
    return "set the mode to what it was"


@attempt(Group.READ_ONLY, "fchmod", "Change a mode by a descriptor", ATTRIBUTES)
def fchmod(t: Targets) -> str:
    """fchmod on a descriptor that is open for reading."""
    with descriptor(file_of(t), os.O_RDONLY) as fd:
        os.fchmod(fd, os.fstat(fd).st_mode & 0o7777)
    return "set the mode to what it was"


@attempt(Group.READ_ONLY, "chown", "Change an owner", ATTRIBUTES)
def chown(t: Targets) -> str:
    """Set owner and group to what they are."""
    found = file_of(t).stat()
    os.chown(file_of(t), found.st_uid, found.st_gid)
    return "set owner and group to what they were"


@attempt(Group.READ_ONLY, "utime", "Change times", ATTRIBUTES)
def utime(t: Targets) -> str:
    """Set them to what they are."""
    found = file_of(t).stat()
    os.utime(file_of(t), ns=(found.st_atime_ns, found.st_mtime_ns))
    return "set the times to what they were"


@attempt(Group.READ_ONLY, "xattr", "Set an extended attribute", ATTRIBUTES)
def xattr(t: Targets) -> str:
    """Set user.hpcsec-attack and remove it."""
    try:
        os.setxattr(file_of(t), "user.hpcsec-attack", b"1")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            not_tried("this file system has no extended attributes")
        raise
    os.removexattr(file_of(t), "user.hpcsec-attack")
    return "set and removed an attribute"


@attempt(Group.READ_ONLY, "acl", "Change an access list", ATTRIBUTES)
def access_list(t: Targets) -> str:
    """Remove the POSIX access list of a file, if it has none."""
    name = "system.posix_acl_access"
    try:
        os.getxattr(file_of(t), name)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            not_tried("this file system has no access lists")
        if error.errno != errno.ENODATA:
            raise
    else:
        not_tried("the file has an access list, which would be lost")
    return beyond(lambda: os.removexattr(file_of(t), name), errno.ENODATA)


@attempt(Group.READ_ONLY, "setattr", "Change inode flags", ATTRIBUTES)
def set_flags(t: Targets) -> str:
    """Set the flags of chattr(1) to what they are."""
    with descriptor(file_of(t), os.O_RDONLY) as fd:
        flags = array.array("L", [0])
        try:
            fcntl.ioctl(fd, GET_FLAGS, flags, True)
        except OSError as error:
            if error.errno in {errno.ENOTTY, errno.ENOTSUP}:
                not_tried("this file system has no inode flags")
            raise
        fcntl.ioctl(fd, SET_FLAGS, flags, True)
    return "set the flags to what they were"


ATTEMPTS = collect(vars())
