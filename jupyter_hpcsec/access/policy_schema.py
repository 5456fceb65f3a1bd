"""Checks a policy against the published JSON Schema, and says in plain words what is wrong and what to write.

The schema is the file beside this module; ``hpcsec access schema`` prints it, and editors understand it. What a schema
can't say (paths, traits) is checked by ``policy``.
"""

import difflib
import importlib.resources
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from jupyter_hpcsec.access.policy_source import Problem, Source

SCHEMA_FILE = "policy.schema.json"

NOUNS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
}
PATTERNS = {
    "who": "write user:NAME or group:NAME with one whole name, or '*' for everybody",
    "path": "begin it with '/' or {home}",
    "literal path": "begin it with '/'",
    "connect": "write 'hub' or the number of a TCP port",
    "one line": "write one line without control characters",
}
"""What to write instead, by the ``title`` of the schema whose pattern did not match."""


@cache
def schema_text() -> str:
    """The schema as it is published."""
    return importlib.resources.files("jupyter_hpcsec.access").joinpath(SCHEMA_FILE).read_text("utf-8")


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(source: Source) -> list[Problem]:
    """Everything that the schema has against the values; empty when they fit."""
    found = (problem for error in _validator().iter_errors(source.values) for problem in _explain(error, source))
    return list(dict.fromkeys(found))  # each missing key is an error of its own, and all of them are in one sentence


def _explain(error: ValidationError, source: Source) -> Iterator[Problem]:
    place = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        for key in sorted(set(error.instance) - set(known)):
            yield Problem(source.keys[*place, key], f"{_label(place)} has no key {key[:60]!r}", _spelling(key, known))
        return
    if error.validator == "minProperties" and "who" in error.schema.get("required", ()) and "who" not in error.instance:
        return  # that 'who' is missing is told already
    text, fix = _SENTENCES[str(error.validator)](error)
    yield Problem(source.mark(place), f"{_label(place)} {text}", fix)


def _spelling(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"write {near[0]!r}" if near else f"there are {', '.join(known)}"


def _label(place: Sequence[Any]) -> str:
    """``('rules', 1, 'allow', 'read', 0)`` -> ``rule 2, allow.read[1]``."""
    if not place:
        return "the policy"
    if place[0] in ("rules", "tests") and len(place) > 1:
        head = f"{place[0][:-1]} {place[1] + 1}"
        rest = _dotted(place[2:])
        return f"{head}, {rest}" if rest else head
    return _dotted(place)


def _dotted(place: Sequence[Any]) -> str:
    text = ""
    for step in place:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _type(error: ValidationError) -> tuple[str, str]:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else wanted
    nouns = " or ".join(NOUNS[name] for name in names)
    quoted = ", quoted if need be" if names == ["string"] else ""
    return f"must be {nouns}", f"write {nouns}{quoted}"


def _enum(error: ValidationError) -> tuple[str, str]:
    words = ", ".join(map(str, error.validator_value))
    return f"can't be {_shown(error.instance)}", f"write one of {words}"


def _missing(error: ValidationError) -> tuple[str, str]:
    keys = " and ".join(repr(key) for key in error.validator_value if key not in error.instance)
    return f"has no {keys}", f"add {keys}"


def _empty(error: ValidationError) -> tuple[str, str]:
    if error.validator_value == 2:
        return "says nothing about this 'who'", "add allow, deny or network, or take the rule out"
    return "is empty", "write something into it, or take it out"


def _shown(value: object) -> str:
    return repr(value)[:80]


_SENTENCES: dict[str, Callable[[ValidationError], tuple[str, str]]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda error: (f"can't be {_shown(error.instance)}", f"write {error.validator_value}"),
    "required": _missing,
    "minItems": _empty,
    "minProperties": _empty,
    "minLength": _empty,
    "maxItems": lambda error: ("is too long a list", f"at most {error.validator_value} entries are accepted"),
    "maxLength": lambda error: ("is too long a text", f"at most {error.validator_value} characters are accepted"),
    "minimum": lambda error: (f"is too small ({error.instance})", f"write at least {error.validator_value}"),
    "maximum": lambda error: (f"is too large ({error.instance})", f"write at most {error.validator_value}"),
    "pattern": lambda error: (f"can't be {_shown(error.instance)}", PATTERNS[error.schema["title"]]),
}
