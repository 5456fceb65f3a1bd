"""How attempts are written down: a decorated function each, and a few ways of saying that something got through."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.targets import Targets
from jupyter_hpcsec.ops.attack.values import Attempt, Group, Stop, not_tried

T = TypeVar("T")

Tries = Callable[[Targets], str]


def attempt(
    group: Group,
    name: str,
    title: str,
    stops: Mapping[Stop, int],
    *,
    lawful: frozenset[Bind] = frozenset(),
    privileged: bool = False,
) -> Callable[[Tries], Attempt]:
    """Make an attempt of a function; its docstring says what it tries."""

    def make(run: Tries) -> Attempt:
        return Attempt(
            id=f"{group}.{name}",
            group=group,
            title=title,
            tries=" ".join((run.__doc__ or "").split()),
            run=run,
            stops=stops,
            lawful=lawful,
            privileged=privileged,
        )

    return make


def collect(names: Mapping[str, object]) -> tuple[Attempt, ...]:
    """The attempts of a module, in their order."""
    return tuple(value for value in names.values() if isinstance(value, Attempt))


def need(value: T | None, what: str) -> T:
    """A target, or the attempt is not tried."""
    if value is None:
        not_tried(what)
    return value


DENIED = "no denied path is known; give one that exists with --denied"
DENIED_FILE = "no denied file is known; give one that exists with --denied"
DENIED_DIR = "no denied directory is known; give one that exists with --denied"
READONLY_FILE = "no read-only file is known; give one with --readonly"
READONLY_DIR = "no read-only directory is known; give one with --readonly"


def beyond(call: Callable[[], object], *signs: int) -> str:
    """Try a call that would change nothing: an error of ``signs`` comes only after the kernel has allowed it."""
    try:
        call()
    except OSError as error:
        if error.errno in signs:
            return f"allowed; then the call had nothing to do ({error.strerror})"
        raise
    return "allowed"


def opened(path: str | Path, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> str:
    """Open and read, or list; says which, never what."""
    with descriptor(path, flags | os.O_NONBLOCK, dir_fd) as fd:
        return held(fd)


def held(fd: int) -> str:
    """Read or list by a descriptor; says which, never what."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return f"listed {len(os.listdir(fd))} names"
    return f"read {len(os.read(fd, 64))} bytes"


@contextlib.contextmanager
def descriptor(path: str | Path, flags: int, dir_fd: int | None = None) -> Iterator[int]:
    """Open and close."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)
