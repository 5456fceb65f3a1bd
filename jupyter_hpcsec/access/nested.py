"""The narrower sandbox of one kernel or terminal, inside the session's: applied by the process that then becomes it.

Run by its path as ``python -I -S nested.py PARENT CLOSED [OPEN…] -- PROGRAM…``: without the package and without
``site``, since each kernel and each terminal waits for it. So it imports nothing of the package, and little else.

1. Die with the server that started it. 2. Landlock: a layer that takes nothing away but what lies in ``CLOSED`` (the
session's private directory: the server's secrets, other kernels' connection files) and is not ``OPEN``; and whose
being there means that, outside of the layer, no process can be traced, nor its memory, environment or descriptors
read, nor be signalled (ABI 6), nor an abstract socket be reached (ABI 6). 3. Become the program.

Everything but ``CLOSED`` is allowed by allowing what lies beside each directory on the way to it, since Landlock can't
subtract; a directory on that way can be listed and not written to. What the session's own layer refuses stays refused.
Names, then, can be read in ``CLOSED``, too, as with ``/proc/net/unix``; no file can.

It does not do the scrubbing of secrets from the environment: its caller gives it an environment without them.
Source: Linux ``include/uapi/linux/landlock.h``, landlock(7), prctl(2).
"""

import ctypes
import os
import stat
import struct
import sys

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # one number on every architecture
SET_PDEATHSIG, SET_NO_NEW_PRIVS = 1, 38
SIGKILL = 9  # on every architecture; the module ``signal`` alone would take as long to import as the others together

FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""The rights on files that each version of the interface added."""
NOT_ON_DIRECTORIES_ALONE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""What a rule may name on something that is no directory: execute, write, read, truncate, device control."""
READ_FILE, READ_DIR = 1 << 2, 1 << 3
SCOPES = 0b11
"""Abstract sockets and signals, since version 6."""

CANNOT_START = 126
"""Exit status of a sandbox that did not come to run its program, as shells have it."""

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *words: object) -> int:
    """A system call; OSError as the kernel says."""
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def control(option: int, value: int) -> None:
    """prctl(2) with one value."""
    if _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(word) for word in (value, 0, 0, 0))):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def version() -> int:
    """The version of Landlock that this kernel offers, 0 for none."""
    try:
        return call(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def beside(closed: str) -> list[str]:
    """What lies beside each directory on the way to ``closed``, whose path has no symbolic link in it."""
    found = []
    way = "/"
    for step in closed.strip("/").split("/"):
        try:
            names = os.listdir(way)  # noqa: PTH208 - pathlib takes as long to import as all the rest
        except OSError:  # nothing beside it is reached by listing; what is not allowed stays closed
            names = []
        found += [os.path.join(way, name) for name in names if name != step]  # noqa: PTH118
        way = os.path.join(way, step)  # noqa: PTH118
    return found


def restrict(closed: str, opened: list[str], offered: int) -> None:
    """Apply the layer to the calling thread for good."""
    handled = sum(rights for since, rights in FILE_RIGHTS.items() if since <= offered)
    attributes = struct.pack("=QQQ", handled, 0, SCOPES if offered >= 6 else 0)
    size = 24 if offered >= 6 else 8
    layer = call(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    steps = closed.strip("/").split("/")
    on_the_way = {identity(os.path.join("/", *steps[:i])) for i in range(len(steps) + 1)}  # noqa: PTH118
    allow(layer, "/", READ_DIR)
    for path in beside(closed):
        allow(layer, path, handled, never=on_the_way)
    for path in opened:
        # a directory inside is the program's own; a file is there to be read
        allow(layer, path, handled if stat.S_ISDIR(os.stat(path).st_mode) else READ_FILE)  # noqa: PTH116
    control(SET_NO_NEW_PRIVS, 1)
    call(RESTRICT_SELF, layer, 0)
    os.close(layer)


def identity(path: str) -> tuple[int, int]:
    """What a rule is about: a file or directory, under whatever name."""
    facts = os.stat(path)  # noqa: PTH116
    return facts.st_dev, facts.st_ino


def allow(layer: int, path: str, rights: int, *, never: "set[tuple[int, int]] | None" = None) -> None:
    """Add a rule; none for a symbolic link, whose target has a rule of its own, nor for what is ``never`` allowed."""
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone, or not ours to reach: nothing to allow
        return
    facts = os.fstat(place)
    if not stat.S_ISDIR(facts.st_mode):
        rights &= NOT_ON_DIRECTORIES_ALONE
    # The same directory can lie at a second path: a private /tmp that is a directory inside the closed one's parent.
    if not stat.S_ISLNK(facts.st_mode) and (facts.st_dev, facts.st_ino) not in (never or ()):
        call(ADD_RULE, layer, 1, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def main(argv: list[str]) -> int:
    """Become the program; the exit status for when that failed, after one sentence."""
    parent, closed, end = int(argv[0]), argv[1], argv.index("--")
    program = argv[end + 1 :]
    try:
        control(SET_PDEATHSIG, SIGKILL)
        if os.getppid() != parent:
            return CANNOT_START
        if offered := version():
            restrict(closed, argv[2:end], offered)
        os.execvp(program[0], program)  # noqa: S606 - without a shell, on purpose
    except OSError as error:
        print(f"hpcsec: {program[0]} could not be started in its own sandbox: {error}", file=sys.stderr)
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
