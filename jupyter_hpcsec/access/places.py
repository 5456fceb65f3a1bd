"""Paths of a policy as a node has them: which symbolic links lie on the way, what is there, and what is not.

It looks and changes nothing. A link that anybody but root could exchange is never followed to grant something.
"""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from jupyter_hpcsec.access.prefixes import is_below

LINKS_LIMIT = 40
"""Links on one way: Linux's own limit (MAXSYMLINKS)."""


class State(StrEnum):
    """What was found at a path."""

    THERE = "there"
    MISSING = "missing"
    UNREACHABLE = "unreachable"
    """A directory on the way can't be searched by this account; ``Place.real`` is that directory."""
    UNTRUSTED = "untrusted"
    """A symbolic link on the way could be exchanged by this account; ``Place.real`` is where it leads now."""


class Kind(StrEnum):
    """What lies at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    OTHER = "other"
    """A device, a socket, a pipe."""
    NOTHING = "nothing"


@dataclass(frozen=True)
class Place:
    """One path, resolved. ``links`` are the symbolic links on the way, outermost first."""

    path: str
    real: str
    state: State
    kind: Kind
    links: tuple[tuple[str, str], ...] = ()


@dataclass
class Finder:
    """Resolves paths for one account and remembers what it saw. ``lstat``, ``readlink`` and ``access`` as in ``os``."""

    uid: int
    lstat: Callable[[str], os.stat_result] = os.lstat
    readlink: Callable[[str], str] = os.readlink
    access: Callable[[str, int], bool] = os.access
    _seen: dict[str, os.stat_result | OSError] = field(default_factory=dict)

    def find(self, path: str) -> Place:
        """Resolve an absolute path, component by component."""
        rest = [part for part in path.split("/") if part][::-1]
        real, trusted = "", True
        links: list[tuple[str, str]] = []
        while rest:
            part = rest.pop()
            if part == "..":  # only a link's target has it; what was walked so far has no links
                real = real.rpartition("/")[0]
                continue
            here = f"{real}/{part}"
            found = self._look(here)
            if isinstance(found, FileNotFoundError | NotADirectoryError):
                whole = "/".join([here, *rest[::-1]])
                return Place(path, whole, State.MISSING if trusted else State.UNTRUSTED, Kind.NOTHING, tuple(links))
            if isinstance(found, OSError):
                return Place(path, real or "/", State.UNREACHABLE, Kind.DIRECTORY, tuple(links))
            if not stat.S_ISLNK(found.st_mode):
                real = here
                continue
            if len(links) == LINKS_LIMIT:
                return Place(path, here, State.MISSING, Kind.NOTHING, tuple(links))
            trusted = trusted and not self._may_exchange(here, found)
            target = self.readlink(here)
            links.append((here, target))
            rest += [part for part in target.split("/") if part and part != "."][::-1]
            real = "" if target.startswith("/") else real
        state = State.THERE if trusted else State.UNTRUSTED
        return Place(path, real or "/", state, self._kind(real or "/"), tuple(links))

    def owner(self, path: str) -> int | None:
        """Whose the thing at a path is, a link itself; None for what can't be looked at."""
        found = self._look(path)
        return None if isinstance(found, OSError) else found.st_uid

    def _look(self, path: str) -> os.stat_result | OSError:
        if path not in self._seen:
            try:
                self._seen[path] = self.lstat(path)
            except OSError as error:
                self._seen[path] = error
        return self._seen[path]

    def _kind(self, path: str) -> Kind:
        found = self._look(path)
        if isinstance(found, OSError):
            return Kind.NOTHING
        kinds = {stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFREG: Kind.FILE}
        return kinds.get(stat.S_IFMT(found.st_mode), Kind.OTHER)

    def _may_exchange(self, link: str, found: os.stat_result) -> bool:
        """Whether anybody but root could put another link in its place: this account, or another one for its gain."""
        if self.uid == 0:
            return False
        above = link.rpartition("/")[0] or "/"
        directory = self._look(above)
        if isinstance(directory, OSError) or found.st_uid != 0 or directory.st_uid != 0:
            return True
        # in a sticky directory nobody moves what is root's
        others_write = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not directory.st_mode & stat.S_ISVTX
        return bool(others_write) or self.access(above, os.W_OK)


def nearest(path: str, roots: Iterable[str]) -> str | None:
    """The longest of ``roots`` that holds ``path``."""
    return max((root for root in roots if is_below(path, root)), key=len, default=None)
