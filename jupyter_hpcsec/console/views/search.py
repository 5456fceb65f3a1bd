"""The Search page's values: a form's fields as a question, what is wrong beside each field, and the rows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from jupyter_hpcsec.audit.index_tables import COLUMNS, row_of
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.console.views.text import Inert, inert
from jupyter_hpcsec.console.views.titles import TITLES
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.audit.reading import Shown, parse_time

PAGE = 50
TEXT_LIMIT = 200
PATH_LIMIT = 1000
WORDS = 20


@dataclass(frozen=True)
class Field:
    """A field of the form. ``choices``: what a selection offers; ``value`` is what was given, for the form.

    ``known``: values and their titles that a browser proposes; others can be asked, too.
    """

    name: str
    label: str
    hint: str = ""
    choices: tuple[str, ...] = ()
    value: str = ""
    error: str = ""
    known: tuple[tuple[str, str], ...] = ()


FIELDS = (
    Field("user", "User", "a whole name: whose event it is, or who acted for them"),
    Field("session", "Session", "its id, or how that begins"),
    Field("kind", "Kind", "as file.downloaded; file.* for all that begins so", known=tuple(sorted(TITLES.items()))),
    Field("path", "Path", "from its beginning: data/a.csv, or data/*; for a name alone, Words"),
    Field("since", "Since", "a day, a time (UTC), or 90m, 6h, 3d for so long ago"),
    Field("until", "Until", "as Since; a day is included"),
    Field("text", "Words", "anywhere in the event, as cohort.csv; code is not searched"),
    Field("decision", "Decision", "whether it was let happen", choices=("allowed", "refused")),
    Field("rule", "Rule", "that decided it, as token.expired, or token.*"),
    Field("job", "Job", "its number in the batch system"),
    Field("node", "Node", "a whole name"),
    Field("source", "Address", "the browser's or the node's, whole"),
    Field("server", "Server", "a named server of the hub's; most have no name"),
    Field("trust", "Whose word", "what a node says is a claim", choices=("gateway", "hub", "node")),
)
"""What ``hpcsec audit query`` can be asked, too."""
CONTROL = frozenset({"newest", "from", "before"})
KNOWN = frozenset(field.name for field in FIELDS) | CONTROL


@dataclass(frozen=True)
class Row:
    """An event in the table."""

    leaf: int
    time: str
    kind: Inert
    title: str
    trust: str
    user: Inert
    impersonator: Inert
    session: Inert
    job: Inert
    node: Inert
    is_refused: bool
    decision: Inert
    rule: Inert
    what: Inert
    reason: Inert
    source: Inert


@dataclass(frozen=True)
class Form:
    """The form as it was sent: its fields, what is asked, the query that asks it again. ``is_asked``: it was sent."""

    fields: tuple[Field, ...]
    question: Question
    query: str
    is_asked: bool
    errors: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.errors and not self.wrong

    @property
    def wrong(self) -> tuple[str, ...]:
        """The labels of the fields that are to be mended."""
        return tuple(field.label for field in self.fields if field.error)


def form(given: Mapping[str, Sequence[str]], now: datetime) -> Form:
    """What a query asks. ``given``: its arguments, decoded; nothing is asked where one of them is wrong."""
    errors = [
        f"There is no field {name[:40]!r}: the form below has all that can be asked."
        for name in given
        if name not in KNOWN
    ]
    errors += [
        f"The field {name!r} is given twice." for name, values in given.items() if name in KNOWN and len(values) > 1
    ]
    values = {name: each[0].strip() for name, each in given.items() if each}
    asked: dict[str, Any] = {}
    fields = []
    for field in FIELDS:
        value = values.get(field.name, "")
        error = ""
        if value:
            try:
                asked[field.name] = _checked(field, value, now)
            except Malformed as exc:
                error = exc.reason
        if field.name == "until" and not error and asked.get("since", "") >= asked.get("until", "~"):
            error = "It is not after Since: nothing can be between them."
        fields.append(replace(field, value=str(inert(value, limit=len(value))), error=error))
    newest = values.get("newest", "1" if not values else "") == "1"
    start, end = (_leaf(values.get(name, ""), errors) for name in ("from", "before"))
    question = Question(**asked, newest=newest, start=start or 0, end=end, limit=PAGE)
    sent = [(name, value) for name, value in values.items() if value and name not in ("from", "before")]
    return Form(tuple(fields), question, urlencode(sent), bool(values), tuple(errors))


def _checked(field: Field, value: str, now: datetime) -> str:
    limit = PATH_LIMIT if field.name == "path" else TEXT_LIMIT
    if len(value) > limit:
        raise Malformed(f"At most {limit} characters; these are {len(value)}.")
    if not value.isprintable():
        raise Malformed("It has characters that are not seen, which are written out here: take them away.")
    if field.choices and value not in field.choices:
        raise Malformed(f"There is no {value[:40]!r} here: choose {' or '.join(field.choices)}, or any.")
    if field.name == "text" and len(value.split()) > WORDS:
        raise Malformed(f"At most {WORDS} words; these are {len(value.split())}.")
    if field.name in ("since", "until"):
        return parse_time(value, now, is_end=field.name == "until")
    if field.name == "session" and not set(value.rstrip("*")) <= set("0123456789abcdef"):
        raise Malformed("An id has digits and the letters a to f: copy it from a table.")
    return value


def answered(asked: Form, leaves: Sequence[int], shown: Sequence[Shown]) -> dict[str, Any]:
    """What ``search.html`` shows of a page of answers; ``leaves``: those, and one more where there are more."""
    rows = [row(each) for each in shown]
    return {"form": asked, "rows": rows, "more": more(asked, leaves), "advice": advice(asked.question)}


def advice(question: Question) -> tuple[str, ...]:
    """What to try where nothing answers."""
    said = []
    if question.kind and not question.kind.endswith("*") and question.kind not in TITLES:
        said.append(f"This version knows no kind {question.kind}: take one of those that the field proposes.")
    if question.path and not question.path.endswith("*"):
        said.append("A path is asked for from its beginning to its end: let it end with *, or ask Words for its name.")
    if question.since or question.until:
        said.append("Times are UTC.")
    return (*said, "Leave a field empty, and there is more. The last second's events are not in it yet.")


def _leaf(value: str, errors: list[str]) -> int | None:
    if not value:
        return None
    if value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    errors.append("The place in the answer can't be read: begin at the first page.")
    return None


def ask_one_more(question: Question) -> Question:
    """The same, and one event more: whether there is another page."""
    return replace(question, limit=question.limit + 1)


def more(asked: Form, leaves: Sequence[int]) -> str:
    """The query of the next page, where there are more ``leaves`` than a page has."""
    if len(leaves) <= asked.question.limit:
        return ""
    last = leaves[asked.question.limit - 1]
    place = f"before={last}" if asked.question.newest else f"from={last + 1}"
    return f"{asked.query}&{place}" if asked.query else place


def said(question: Question, shown: Sequence[Shown]) -> str:
    """What the event of this reading says: what was asked, and whose events were shown."""
    users = sorted({str(each.event.get("subject", {}).get("user", "")) for each in shown} - {""})
    return f"{question} of={','.join(quote(user, safe='') for user in users)}"[:4000]


def row(shown: Shown) -> Row:
    """An event as a row."""
    found = dict(zip(COLUMNS, row_of(shown.leaf, shown.event), strict=True))
    text = {name: inert(value, limit=300) for name, value in found.items()}
    return Row(
        leaf=shown.leaf,
        time=str(found["time"]),
        kind=text["kind"],
        title=TITLES.get(str(found["kind"]), ""),
        trust=str(text["trust"]),
        user=text["user"],
        impersonator=text["impersonator"],
        session=inert(found["session"] if _is_id(str(found["session"])) else ""),
        job=text["job"],
        node=text["node"],
        is_refused=found["decision"] == "refused",
        decision=text["decision"],
        rule=text["rule"],
        what=text["object"] or inert(shown.event.get("state", ""), limit=300),
        reason=inert(shown.event.get("reason", "")),
        source=text["source"],
    )


def _is_id(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")
