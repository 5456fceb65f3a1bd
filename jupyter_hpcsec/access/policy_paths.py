"""The paths of a policy: what may be written, and how traits are filled in. Pure text, no file system.

A path is compared by whole components and byte by byte: no case is folded, no Unicode form is changed, nothing is
decoded. So each path has one spelling, and every other one is refused here instead of being repaired.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jupyter_hpcsec.access.prefixes import is_below

TRAITS = ("user", "uid", "group", "home", "project")
PATH_BYTES = 4095
COMPONENT_BYTES = 255
"""Linux: PATH_MAX without the NUL, NAME_MAX."""

_TRAIT = re.compile(r"\{([^{}]*)\}")
_GLOB = re.compile(r"[*?\[\]]")
_VARIABLE = re.compile(r"\$[A-Za-z_]")


class Fault(NamedTuple):
    """Why a path is not accepted, and what to write."""

    text: str
    fix: str


@dataclass(frozen=True)
class Template:
    """A path of a rule, traits not filled in yet."""

    text: str

    def traits(self) -> tuple[str, ...]:
        """The names of the traits, in their order."""
        return tuple(_TRAIT.findall(self.text))

    def fill(self, values: Mapping[str, str]) -> str:
        """The path for one subject. A value that is missing stays unresolved: ``KeyError``. Check the result."""
        return _TRAIT.sub(lambda found: values[found[1]], self.text)

    def above(self) -> Iterator[str]:
        """The paths strictly above this one, the nearest first, whatever the traits are."""
        text = self.text
        while "/" in text:
            text = text.rpartition("/")[0]
            yield text


def template_fault(text: str, *, group: bool) -> Fault | None:
    """What is wrong with a path of a rule; ``group``: the rule is for a group, whose name is ``{group}``."""
    for name in _TRAIT.findall(text):
        if name not in TRAITS:
            return Fault(f"there is no trait {{{name[:40]}}}", f"there are {', '.join(f'{{{t}}}' for t in TRAITS)}")
        if name == "group" and not group:
            return Fault("{group} can't be filled in", "it is the name of the group of a 'who: group:NAME' rule only")
    bare = _TRAIT.sub("", text)
    if "{" in bare or "}" in bare:
        return Fault("a brace without its trait", "write a trait such as {user}; names with braces can't be given")
    if "{home}" in text.removeprefix("{home}"):
        return Fault("{home} is a whole path", "it can only stand at the beginning, as in {home}/data")
    rest = text.removeprefix("{home}")
    if rest != text:
        if rest and not rest.startswith("/"):
            return Fault("{home} must be followed by '/'", "write {home}/name")
        text = "/home" + rest
    return path_fault(_TRAIT.sub("trait", text))


def path_fault(path: str) -> Fault | None:
    """What is wrong with a path that has no traits (any more); ``None`` when it is in its one spelling."""
    return (
        shape_fault(path)
        or _glob_fault(path)
        or (Fault("/proc is made by the sandbox itself", "take it out") if is_below(path, "/proc") else None)
    )


def shape_fault(path: str) -> Fault | None:
    """What is wrong with the shape of a path that someone asks about; any character may be in a name there."""
    fault = None
    if not path.startswith("/"):
        fault = Fault("a relative path", "begin it with '/' or {home}")
    elif path == "/":
        fault = Fault("the whole file system", "name the directories that are meant")
    elif path.endswith("/"):
        fault = Fault("a '/' at the end", "take it out; a directory and a file are written the same way")
    elif "//" in path:
        fault = Fault("an empty name ('//')", "write one '/'")
    elif any(name in (".", "..") for name in path.split("/")):
        fault = Fault("'.' or '..' as a name", "write the path as it is without it")
    elif any(ord(c) < 32 or ord(c) == 127 for c in path):
        fault = Fault("a control character (NUL, line end or the like)", "take it out")
    return fault or _size_fault(path)


def _glob_fault(path: str) -> Fault | None:
    if found := _GLOB.search(path):
        return Fault(f"the glob {found[0]!r}, which the kernel could not enforce", "name the directory above it")
    if _VARIABLE.search(path):
        return Fault("an environment variable", "use a trait: {user}, {home}")
    return None


def _size_fault(path: str) -> Fault | None:
    try:
        names = path.encode().split(b"/")
    except UnicodeEncodeError:
        return Fault("text that is not UTF-8", "write the name in UTF-8")
    if max(map(len, names)) > COMPONENT_BYTES:
        return Fault(f"a name of more than {COMPONENT_BYTES} bytes", "Linux has none so long; check it")
    if sum(map(len, names)) + len(names) - 1 > PATH_BYTES:
        return Fault(f"a path of more than {PATH_BYTES} bytes", "name a directory above it")
    return None


def component_fault(value: str) -> Fault | None:
    """What is wrong with a trait's value as (part of) one name."""
    if not value:
        return Fault("nothing is known of it", "give it a value")
    if "/" in value:
        return Fault("its value has a '/'", "such a name can't be part of a path")
    return path_fault(f"/in/{value}")
