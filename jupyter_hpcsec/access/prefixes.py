"""A map from path prefixes to values: asked for a path, it gives the value of its longest prefix. Pure.

A tree of dictionaries over the components of paths; asking takes one dictionary look-up a component, however many
prefixes there are. Paths are compared by whole components and as they are spelled.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.value: T | None = None


class Prefixes(Generic[T]):
    """Built once from ``(path, value)`` pairs, one for each path; paths are canonical (see :func:`is_canonical`)."""

    def __init__(self, pairs: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for path, value in pairs:
            if not is_canonical(path):
                raise AssertionError(f"BUG: {path!r} is not canonical")
            node = self._root
            for name in path.split("/")[1:]:
                node = node.children.setdefault(name, _Node())
            if node.value is not None:
                raise AssertionError(f"BUG: {path!r} was given twice")
            node.value = value

    def longest(self, path: str) -> T | None:
        """The value of the longest prefix of ``path`` (the path itself included); ``None`` when there is none."""
        node = self._root
        found = None
        for name in path.split("/")[1:]:
            child = node.children.get(name)
            if child is None:
                break
            node = child
            if node.value is not None:
                found = node.value
        return found

    def below(self, path: str) -> Iterable[T]:
        """The values of all paths strictly below ``path``."""
        node: _Node[T] | None = self._root
        for name in path.split("/")[1:] if path != "/" else ():
            node = node.children.get(name) if node else None
        waiting = list(node.children.values()) if node else []
        while waiting:
            node = waiting.pop()
            if node.value is not None:
                yield node.value
            waiting += node.children.values()


def is_canonical(path: str) -> bool:
    """Whether a path is absolute and in its one spelling: no empty name, ``.``, ``..``, NUL, nor ``/`` at the end."""
    if path[:1] != "/" or path[-1:] == "/" or "//" in path or "\0" in path:
        return False
    return "/." not in path or not any(name in (".", "..") for name in path.split("/"))
