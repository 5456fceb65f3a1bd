"""Reads a policy's YAML to plain values, and keeps for each of them the line and column where it stands.

Accepted is a small part of YAML 1.2: one document of mappings, lists, text, whole numbers, ``true`` and ``false``. What
could hide something from a reviewer is refused: anchors, aliases, merges, tags, directives, keys that stand twice.
Size is checked first. What it may not do: open files, make objects, or know what a policy means.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from jupyter_hpcsec.errors import Malformed

SIZE_LIMIT = 512 * 1024
"""Bytes of a policy file: some thousand rules."""
DEPTH_LIMIT = 12
"""Levels of nesting; the language has five."""
DIGITS_LIMIT = 18
MEND = 'mend the YAML here or just above; what begins with "{" or "*" needs quotation marks'
"""For what is no YAML; an unquoted trait or star is how that comes about."""

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value, as JSON Schema's ``absolute_path``."""

TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, order=True)
class Mark:
    """Where in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a policy: where, what, and what to write instead."""

    mark: Mark
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}."


class PolicyError(Malformed):
    """A policy that can't be used. The reason names file, line, column and the fix of the first of ``problems``."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.mark))
        first, others = self.problems[0], len(self.problems) - 1
        more = f" ({others} more: hpcsec access check)" if others else ""
        super().__init__(f"{name}:{first.mark.line}:{first.mark.column}: {first}{more}")


@dataclass(frozen=True)
class Source:
    """The values of a file, and where they stand. ``keys`` holds the places of the keys of mappings."""

    name: str
    values: Any
    marks: Mapping[Place, Mark]
    keys: Mapping[Place, Mark]

    def mark(self, place: Sequence[str | int]) -> Mark:
        """The mark of a value, or of the nearest value around it."""
        found = tuple(place)
        while found not in self.marks:
            found = found[:-1]
        return self.marks[found]


class _WrongError(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def read(content: bytes, name: str) -> Source:
    """The values of ``content``; ``name`` is the file's, for messages. Raises :class:`PolicyError`.

    1. No larger than ``SIZE_LIMIT``.
    2. UTF-8.
    3. No directive, which could change how words are understood.
    4. One YAML document that is not empty.
    5. Only plain values, as the module says.
    """
    start = Mark(1, 1)
    if len(content) > SIZE_LIMIT:  # 1
        raise PolicyError(
            name,
            [Problem(start, f"a policy of {len(content)} bytes is above {SIZE_LIMIT}", "write fewer, wider rules")],
        )
    try:  # 2
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(name, [Problem(Mark(line, 1), "this line is not UTF-8", "save the file as UTF-8")]) from error
    for number, line_text in enumerate(text.splitlines(), 1):  # 3
        if line_text.startswith("%"):
            raise PolicyError(name, [Problem(Mark(number, 1), "a YAML directive is not accepted", "take the line out")])
    node = _compose(text, name)
    if node is None:  # 4
        raise PolicyError(name, [Problem(start, "the policy is empty", "write at least 'version: 1' and one rule")])
    walk = _Walk()
    try:  # 5
        values = walk.value(node, ())
    except _WrongError as error:
        raise PolicyError(name, [error.problem]) from error
    return Source(name, values, walk.marks, walk.keys)


def _compose(text: str, name: str) -> Node | None:
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        found = error.problem_mark or error.context_mark
        mark = Mark(found.line + 1, found.column + 1) if found else Mark(1, 1)
        text = " ".join(part for part in (error.context, error.problem) if part)
        raise PolicyError(name, [Problem(mark, f"not YAML: {text}", MEND)]) from error
    except YAMLError as error:
        at = min(int(getattr(error, "position", 0)), len(text))
        mark = Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
        raise PolicyError(name, [Problem(mark, "a character that YAML does not accept", "take it out")]) from error
    except RecursionError as error:
        problem = Problem(Mark(1, 1), "lists and mappings are nested too deeply", "write them as the reference does")
        raise PolicyError(name, [problem]) from error
    return node


@dataclass
class _Walk:
    marks: dict[Place, Mark] = field(default_factory=dict)
    keys: dict[Place, Mark] = field(default_factory=dict)

    def value(self, node: Node, place: Place) -> Any:
        mark = _mark(node)
        self.marks[place] = mark
        if node.anchor:
            raise _WrongError(
                Problem(mark, f"the anchor &{node.anchor} is not accepted", "write the value out each time")
            )
        if len(place) > DEPTH_LIMIT:
            raise _WrongError(Problem(mark, "nested too deeply", "write it as the reference does"))
        match node:
            case MappingNode() if node.tag == TAG + "map":
                return self._mapping(node, place)
            case SequenceNode() if node.tag == TAG + "seq":
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return _scalar(node, mark)
        raise _WrongError(Problem(mark, f"the tag {_short(node.tag)} is not accepted", "take it out"))

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node)
            if not isinstance(key_node, ScalarNode) or key_node.tag != TAG + "str" or key_node.anchor:
                raise _WrongError(Problem(mark, "only plain words are accepted as keys", "write the key as text"))
            key = key_node.value
            if key in values:
                first = self.keys[*place, key].line
                fix = f"put both into one (the first stands in line {first})"
                raise _WrongError(Problem(mark, f"{key!r} stands here twice", fix))
            self.keys[*place, key] = mark
            if isinstance(value_node, ScalarNode) and value_node.tag == TAG + "null":
                raise _WrongError(Problem(mark, f"{key!r} has no value", "write a value, or take the key out"))
            values[key] = self.value(value_node, (*place, key))
        return values


def _scalar(node: ScalarNode, mark: Mark) -> str | int | bool:
    text: str = node.value
    match str(node.tag).removeprefix(TAG):
        case "str":
            return text
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int" if _is_decimal(text):
            return int(text)
        case "int":
            raise _WrongError(
                Problem(mark, f"the number {text[:40]!r} is not decimal", "write decimal digits, or quote text")
            )
        case "null":
            raise _WrongError(Problem(mark, "nothing stands here", "write a value, or take the key out"))
        case "float" | "timestamp" | "bool":
            fix = "quote it if it is text, or write a whole number"
            raise _WrongError(Problem(mark, f"{text[:40]!r} is neither text nor a whole number", fix))
    raise _WrongError(Problem(mark, f"the tag {_short(node.tag)} is not accepted", "take it out"))


def _is_decimal(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_LIMIT and (digits[0] != "0" or digits == "0")


def _short(tag: str | None) -> str:
    tag = tag or "?"
    return f"!!{tag.removeprefix(TAG)}"[:60] if tag.startswith(TAG) else tag[:60]


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
