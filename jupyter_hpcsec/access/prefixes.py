"""A map from path prefixes to values: asked for a path, it gives the value of its longest prefix. Pure.

A tree of dictionaries over the components of paths; asking takes one dictionary look-up a component, however many
prefixes there are. Paths are compared by whole components and as they are spelled.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


_NO_NAMES = frozenset({"", ".", ".."})


class _Node(Generic[T]):
    """``given`` is the value at this very path; ``nearest`` that of the longest prefix, this path included."""

    __slots__ = ("children", "given", "nearest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.given: T | None = None
        self.nearest: T | None = None


class Prefixes(Generic[T]):
    """Built once from ``(path, value)`` pairs, one for each path; paths are canonical (see :func:`names_of`)."""

    def __init__(self, pairs: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for path, value in pairs:
            node = self._node(path, make=True)
            if node is None or node.given is not None:
                raise AssertionError(f"BUG: {path!r} is not canonical, or was given twice")
            node.given = value
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            node.nearest = node.nearest if node.given is None else node.given
            for child in node.children.values():
                child.nearest = node.nearest
                waiting.append(child)

    def longest(self, path: str) -> T | None:
        """The value of the longest prefix of ``path`` (itself included); ``None`` without one, or if not canonical."""
        names = names_of(path)
        if names is None:
            return None
        node = self._root
        for name in names:
            child = node.children.get(name)
            if child is None:
                break
            node = child
        return node.nearest

    def below(self, path: str) -> Iterator[T]:
        """The values of all paths strictly below ``path``; none if it is not canonical."""
        node = self._node(path)
        waiting = list(node.children.values()) if node else []
        while waiting:
            node = waiting.pop()
            if node.given is not None:
                yield node.given
            waiting += node.children.values()

    def _node(self, path: str, *, make: bool = False) -> _Node[T] | None:
        names = names_of(path)
        node: _Node[T] | None = None if names is None else self._root
        for name in names or ():
            if node is not None:
                node = node.children.setdefault(name, _Node()) if make else node.children.get(name)
        return node


def names_of(path: str) -> list[str] | None:
    """The names that a canonical path is made of; ``None`` for a path that is not absolute and in its one spelling.

    That is: no empty name, ``.`` or ``..``, no NUL, no ``/`` at the end. The root directory has no names.
    """
    if path[:1] != "/" or "\0" in path:
        return None
    names = path[1:].split("/")
    if _NO_NAMES.isdisjoint(names):
        return names
    return [] if path == "/" else None


def is_canonical(path: str) -> bool:
    """Whether a path is absolute and in its one spelling, as :func:`names_of` says."""
    return names_of(path) is not None


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or inside of it; both canonical."""
    return path == directory or path.startswith(directory if directory == "/" else directory + "/")


def parent(path: str) -> str | None:
    """The directory of a canonical path; ``None`` for the root."""
    return None if path == "/" else path.rpartition("/")[0] or "/"
