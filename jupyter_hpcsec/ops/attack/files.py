"""Attempts on denied paths: reading, listing, writing, making, running, and the ways around a name.

Nothing that is there is changed: what is tried would do nothing, or is made by the attempt and taken away again.
"""

import contextlib
import ctypes
import errno
import os
import platform
import secrets
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

from jupyter_hpcsec.access.system import SNAPSHOTS
from jupyter_hpcsec.ops.attack import native
from jupyter_hpcsec.ops.attack.making import (
    DENIED,
    DENIED_DIR,
    DENIED_FILE,
    attempt,
    beyond,
    collect,
    descriptor,
    held,
    need,
    opened,
)
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

FS = {Stop.MOUNTS: 0, Stop.LANDLOCK: 1}
"""Absent or masked where the session has its own file tree; refused by the first version of Landlock."""
NAMES = {Stop.MOUNTS: 0}
"""Landlock does not cover what only looks at names and inodes."""


def unique(directory: Path) -> Path:
    """A name that nothing has."""
    return directory / f"hpcsec-attack-{secrets.token_hex(8)}"


@attempt(Group.FILES, "read", "Read a denied file", FS)
def read(t: Targets) -> str:
    """Open the path for reading and read."""
    return opened(need(t.denied, DENIED))


@attempt(Group.FILES, "list", "List a denied directory", FS)
def list_directory(t: Targets) -> str:
    """Open the directory and read its names."""
    return opened(need(t.denied_dir, DENIED_DIR), os.O_RDONLY | os.O_DIRECTORY)


@attempt(Group.FILES, "stat", "Learn size and times of a denied file", NAMES)
def stat_file(t: Targets) -> str:
    """Ask for the metadata of a file in a denied directory, by its name."""
    found = need(t.denied_file, DENIED_FILE).stat()
    if not found.st_size and not stat.S_IMODE(found.st_mode):
        raise PermissionError(errno.EACCES, "only an empty mask is to be seen")
    return f"its size is {found.st_size} bytes"


@attempt(Group.FILES, "write", "Write to a denied file", FS)
def write(t: Targets) -> str:
    """Open the file for writing; nothing is written."""
    with descriptor(need(t.denied_file, DENIED_FILE), os.O_WRONLY):
        return "opened for writing"


@attempt(Group.FILES, "create", "Create a file in a denied directory", FS)
def create(t: Targets) -> str:
    """Create a file of a new name and remove it."""
    path = unique(need(t.denied_dir, DENIED_DIR))
    with descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
        path.unlink()
    return "created and removed a file"


@attempt(Group.FILES, "mkdir", "Create a directory in a denied directory", FS)
def make_directory(t: Targets) -> str:
    """Create a directory of a new name and remove it."""
    path = unique(need(t.denied_dir, DENIED_DIR))
    path.mkdir()
    path.rmdir()
    return "created and removed a directory"


@attempt(Group.FILES, "chdir", "Enter a denied directory", FS)
def change_directory(t: Targets) -> str:
    """Make it the current directory and open '.', so that no path is named."""
    os.chdir(need(t.denied_dir, DENIED_DIR))
    return opened(".")


@attempt(Group.FILES, "o-path", "Open a denied file in two steps", FS)
def o_path(t: Targets) -> str:
    """Open it with O_PATH, which asks for no right, then open /proc/self/fd/N for reading."""
    with descriptor(need(t.denied, DENIED), os.O_PATH) as fd:
        return opened(f"/proc/self/fd/{fd}")


@attempt(Group.FILES, "o-path-at", "Read below a directory handle", FS)
def o_path_at(t: Targets) -> str:
    """Open the directory above with O_PATH and the denied name relative to it."""
    denied = need(t.denied, DENIED)
    with descriptor(denied.parent, os.O_PATH | os.O_DIRECTORY) as fd:
        return opened(denied.name, dir_fd=fd)


@attempt(Group.FILES, "proc-root", "Read by /proc/self/root", FS)
def proc_root(t: Targets) -> str:
    """Name the path through the link to the process's own root."""
    return opened(f"/proc/self/root{need(t.denied, DENIED)}")


@attempt(Group.FILES, "proc-root-above", "Read by the root above", FS)
def proc_root_above(t: Targets) -> str:
    """Climb from the root with '..', as processes whose root was only changed by chroot may."""
    with descriptor("/", os.O_PATH | os.O_DIRECTORY) as fd:
        return opened("../" * 8 + str(need(t.denied, DENIED)).lstrip("/"), dir_fd=fd)


@attempt(Group.FILES, "dotdot", "Read by a path with '..'", FS)
def dotdot(t: Targets) -> str:
    """Start in an allowed directory and go up and down again to the denied path."""
    return opened(f"{t.scratch}/{os.path.relpath(need(t.denied, DENIED), t.scratch.resolve())}")


@attempt(Group.FILES, "spelling", "Read by another spelling", FS)
def spelling(t: Targets) -> str:
    """Double the slashes and add '.' components."""
    return opened(str(need(t.denied, DENIED)).replace("/", "//./"))


@attempt(Group.FILES, "symlink", "Read by a symbolic link", FS)
def symlink(t: Targets) -> str:
    """Make a link in an allowed directory to the denied path and open it."""
    link = t.scratch / "link"
    link.symlink_to(need(t.denied, DENIED))
    return opened(link)


@attempt(Group.FILES, "hard-link", "Link a denied file into reach", FS)
def hard_link(t: Targets) -> str:
    """Make a hard link in an allowed directory and read by it."""
    link = t.scratch / "hard"
    link.hardlink_to(need(t.denied_file, DENIED_FILE))
    return opened(link)


@attempt(Group.FILES, "hard-link-fd", "Link an opened inode into reach", FS)
def hard_link_descriptor(t: Targets) -> str:
    """Open it with O_PATH and link /proc/self/fd/N to an allowed directory (linkat, AT_SYMLINK_FOLLOW)."""
    link = t.scratch / "hard-fd"
    with descriptor(need(t.denied_file, DENIED_FILE), os.O_PATH) as fd:
        native.link_followed(f"/proc/self/fd/{fd}", str(link))
    return opened(link)


@attempt(Group.FILES, "rename", "Rename a denied file into reach", FS)
def rename(t: Targets) -> str:
    """Rename the file into an allowed directory, and back."""
    return moved(need(t.denied_file, DENIED_FILE), t.scratch)


def moved(file: Path, directory: Path) -> str:
    """Rename a file into a directory, and back."""
    there = unique(directory)
    file.rename(there)
    there.rename(file)
    return "moved it, and back"


@attempt(Group.FILES, "rename-directory", "Rename a denied directory into reach", FS)
def rename_directory(t: Targets) -> str:
    """Rename it onto an allowed directory that is not empty: allowed, it ends in 'Directory not empty'."""
    (t.scratch / "full" / "child").mkdir(parents=True)
    return beyond(lambda: need(t.denied_dir, DENIED_DIR).rename(t.scratch / "full"), errno.ENOTEMPTY)


@attempt(Group.FILES, "rename-in", "Rename a file into a denied directory", FS)
def rename_in(t: Targets) -> str:
    """Move a file of the suite's own there, and back."""
    mine, there = t.scratch / "mine", unique(need(t.denied_dir, DENIED_DIR))
    mine.touch()
    mine.rename(there)
    there.rename(mine)
    return "moved a file in and back"


@attempt(Group.FILES, "remove", "Remove a denied file", FS)
def remove(t: Targets) -> str:
    """rmdir on the directory that holds it: allowed, it ends in 'Directory not empty'."""
    denied_file = need(t.denied_file, DENIED_FILE)
    return beyond(lambda: need(t.denied_dir, DENIED_DIR).rmdir(), errno.ENOTEMPTY) + f" ({denied_file.name} was there)"


@attempt(Group.FILES, "truncate", "Truncate a denied file", {Stop.MOUNTS: 0, Stop.LANDLOCK: 3})
def truncate(t: Targets) -> str:
    """Set its size to what it is, and its times back."""
    return truncated(need(t.denied_file, DENIED_FILE))


def truncated(path: Path) -> str:
    """Set a file's size to what it is; to some file systems that is a change of its times."""
    found = path.stat()
    os.truncate(path, found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return "set its size to what it was"


@attempt(Group.FILES, "execute", "Execute a denied program", FS)
def execute(t: Targets) -> str:
    """Run it; it has two seconds."""
    return _runs([str(need(t.denied_file, DENIED_FILE))])


@attempt(Group.FILES, "ld-so", "Execute a denied program by the dynamic loader", FS)
def loader(t: Targets) -> str:
    """Run 'ld.so PROGRAM': the kernel sees only the loader executed, and the program read."""
    name = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}.get(platform.machine())
    if name is None or not Path(name).exists():
        not_tried("the dynamic loader is not where it is on this kind of machine")
    denied = need(t.denied_file, DENIED_FILE)
    done = subprocess.run([name, "--list", str(denied)], capture_output=True, text=True, check=False, timeout=5)
    if done.returncode == 0 or "not a dynamic executable" in done.stdout + done.stderr:
        return "the loader loaded it"
    raise PermissionError(errno.EACCES, done.stderr.strip()[-120:])


@attempt(Group.FILES, "memfd", "Execute a copy of a denied program in memory", FS)
def memory_copy(t: Targets) -> str:
    """Read it into a memfd and execute that, which no path rule sees."""
    with need(t.denied_file, DENIED_FILE).open("rb") as source:
        fd = os.memfd_create("hpcsec-attack", os.MFD_CLOEXEC)
        with open(fd, "wb", closefd=False) as copy:
            shutil.copyfileobj(source, copy)
    return _runs([f"/proc/{os.getpid()}/fd/{fd}"])


def _runs(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=2)
    return f"it ran (status {done.returncode})"


@attempt(
    Group.FILES, "handle", "Open a denied file by its handle", {Stop.CAPABILITIES: 0, Stop.MOUNTS: 0}, privileged=True
)
def by_handle(t: Targets) -> str:
    """name_to_handle_at and open_by_handle_at, which go by inode and pass no directory."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount_id = ctypes.c_int()
    path = os.fsencode(need(t.denied, DENIED))
    native.syscall("name_to_handle_at", native.AT_FDCWD, path, handle, ctypes.byref(mount_id), 0)
    with descriptor(t.scratch, os.O_RDONLY) as somewhere:
        fd = native.syscall("open_by_handle_at", somewhere, handle, os.O_RDONLY)
    try:
        return held(fd)
    finally:
        os.close(fd)


@attempt(Group.FILES, "watch", "Watch the names in a denied directory", NAMES)
def watch(t: Targets) -> str:
    """inotify_add_watch, which asks for no Landlock right: names would be told as they change."""
    inside = need(t.denied_dir, DENIED_DIR)
    fd = native.libc.inotify_init1(os.O_CLOEXEC)
    everything = 0xFFF
    if native.libc.inotify_add_watch(fd, os.fsencode(inside), everything) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return "a watch is set"


@attempt(Group.FILES, "snapshot", "Read a denied file as it was", FS)
def snapshot(t: Targets) -> str:
    """Look for the file system's own snapshots in each directory above (.snapshot, .zfs …), and open the path there."""
    denied = need(t.denied, DENIED)
    refusal: OSError | None = None
    for directory in denied.parents:
        for name in SNAPSHOTS:
            try:
                return _in_snapshot(directory / name, denied.relative_to(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                refusal = refusal or error
    if refusal is None:
        not_tried("no directory above shows snapshots")
    raise refusal


def _in_snapshot(directory: Path, path: Path) -> str:
    """Open a path in the first snapshot that has it."""
    inside = directory / "snapshot" if directory.name == ".zfs" else directory
    found = next((one for one in sorted(inside.iterdir()) if os.path.lexists(one / path)), None)
    if found is None:
        raise FileNotFoundError
    return opened(found / path)


@attempt(Group.FILES, "race", "Swap a symbolic link while it is opened", FS)
def race(t: Targets) -> str:
    """A second process swaps a link between an allowed and the denied path; open it again and again."""
    decoy, link = t.scratch / "decoy", t.scratch / "race"
    decoy.touch()
    link.symlink_to(decoy)
    denied, allowed = need(t.denied, DENIED), decoy.stat().st_ino
    swapper = os.fork()
    if swapper == 0:
        _swap(link, (str(denied), str(decoy)), rounds=100 * t.tries)
    try:
        refused: OSError | None = None
        while os.readlink(link) == str(decoy):  # until it has begun  # noqa: PTH115
            time.sleep(0)
        for i in range(t.tries):
            try:
                fd = os.open(link, os.O_RDONLY | os.O_NONBLOCK)
            except OSError as error:
                refused = error
                continue
            found = os.fstat(fd).st_ino
            os.close(fd)
            if found != allowed:
                return f"won in round {i + 1}"
    finally:
        os.kill(swapper, 9)
        os.waitpid(swapper, 0)
    if refused is None:
        not_tried("the link never led to the denied path while it was opened")
    raise OSError(refused.errno, f"lost all of {t.tries} rounds: {refused.strerror}")


def _swap(link: Path, targets: tuple[str, str], rounds: int) -> None:
    """Never returns."""
    new = f"{link}.new"
    with contextlib.suppress(OSError):
        for i in range(rounds):
            os.symlink(targets[i % 2], new)  # noqa: PTH211 - as fast as it goes
            os.rename(new, link)  # noqa: PTH104
    os._exit(0)


@attempt(Group.FILES, "pass-fd", "Have a denied file passed over a socket", FS)
def pass_descriptor(t: Targets) -> str:
    """Listen on a socket in an allowed directory; a program started afresh opens the path and sends it."""
    path = t.scratch / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        program = (
            "import os,socket,sys\n"
            "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "try: socket.send_fds(s,[b'1'],[os.open(sys.argv[2],os.O_RDONLY)])\n"
            "except OSError as e: s.send(b'-%d' % e.errno)\n"
        )
        command = [sys.executable, "-I", "-S", "-c", program, str(path), str(need(t.denied, DENIED))]
        with subprocess.Popen(command):
            connection, _ = listener.accept()
            with connection:
                said, fds, _, _ = socket.recv_fds(connection, 16, 1)
    if not fds:
        raise OSError(-int(said), os.strerror(-int(said)))
    return held(fds[0])


@attempt(Group.FILES, "o-path-pass", "Have a handle made by a child", FS)
def pass_handle(t: Targets) -> str:
    """A forked child opens with O_PATH and passes that; open it again for reading on this side."""
    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            socket.send_fds(far, [b"1"], [os.open(need(t.denied, DENIED), os.O_PATH)])
        os._exit(0)
    far.close()
    _, fds, _, _ = socket.recv_fds(near, 16, 1)
    os.waitpid(child, 0)
    if not fds:
        raise PermissionError(errno.EACCES, "the child could not open it either")
    return opened(f"/proc/self/fd/{fds[0]}")


ATTEMPTS = collect(vars())
