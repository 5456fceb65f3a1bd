"""Text of others does nothing on the pages about the record: no element, attribute or address comes from data.

The same record is shown twice, once with harmless text and once with payloads in each field: the pages have to be made
of the same elements with the same attributes, but for the marks of characters that are not seen, and the payloads have
to be there as text.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest

from jupyter_hpcsec.audit.kinds import KINDS
from jupyter_hpcsec.console.templating import environment
from jupyter_hpcsec.console.views import me, search, session
from jupyter_hpcsec.console.views.text import inert
from jupyter_hpcsec.console.views.timeline import KEYS, kinds_of
from jupyter_hpcsec.ops.audit.reading import Shown
from jupyter_hpcsec.ops.audit.seen import Seen
from jupyter_hpcsec.ops.audit.sessions import Story
from tests.console.payloads import PAYLOADS

SESSION = "ab" * 16
TIME = "2026-03-01T10:00:00.000000Z"
HARMLESS, HIDDEN = "harmless", "harm\u200bless"
TEMPLATES = environment()
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Shape(HTMLParser):
    """Elements with their attributes, and the text; addresses and ids with what they say, other values left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Any] = []
        self.text = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ("class", "hidden") in attrs:
            assert [name for name, _ in attrs] == ["class", "title"]
            self._hidden += 1
            return
        exact = {"href", "src", "action", "id", "for", "name", "class", "rel", "style"}
        self.elements.append((tag, tuple((name, value if name in exact else "") for name, value in attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self._hidden:
            self._hidden -= 1
        else:
            self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def shape(html: str) -> Shape:
    found = Shape()
    found.feed(html)
    found.close()
    return found


def events(texts: Sequence[str]) -> list[Shown]:
    """An event of every kind there is, with a text in each of its texts; the texts take turns."""
    made = []
    for leaf, (kind, struct) in enumerate(sorted(KINDS.items())):
        text = texts[leaf % len(texts)]
        fields = {name: text for name, each in struct.__annotations__.items() if each is not bool}
        said = ("state", "action", "call", "command", "reason", "rule", "server", "job", "node")
        stated = dict.fromkeys(said, text)
        event = fields | stated | {
            "kind": kind, "time": TIME, "trust": "gateway", "session": SESSION, "source": text, "policy": text,
            "subject": {"user": text, "login": text, "impersonator": text, "account": text},
            "object": {"type": text, "name": text, "raw": text, "sha256": text, "size": 7},
            "decision": "refused" if leaf % 2 else "allowed", "an_unknown_field": text, "nested": {text: [text]},
            "facts": json.dumps({"files": text}), "blind": text,
        }  # fmt: skip
        made.append(Shown(leaf, event))
    return made


def rendered(template: str, **values: Any) -> str:
    shared: dict[str, Any] = {
        "prefix": "/p/", "logout": "/l", "home": "/h", "path": "search", "reader": None, "nav": [], "xsrf_token": "t",
    }  # fmt: skip
    return TEMPLATES.get_template(template).render(shared | values)


def timeline(texts: Sequence[str]) -> str:
    found, text = events(texts), texts[0]
    story = Story(
        session=SESSION,
        owner=text,
        kinds=dict.fromkeys(KINDS, 1),
        head=tuple(found),
        before=tuple(found[:3]),
        stops=tuple(each for each in found if each.event["kind"] == "hub.server"),
        use=tuple(each for each in found if each.event["kind"] in ("gpu.use", "gpu.watch")),
        use_is_cut=True,
        page=tuple(Seen(each.leaf, each.event, {"source": texts[each.leaf % len(texts)].encode()}) for each in found),
        more=99,
    )
    return rendered("session.html", page=session.page(story, KEYS, 0), own=False, may_end=True)


def answers(texts: Sequence[str]) -> str:
    text = texts[0]
    asked = search.form({"user": [text], "path": [text], "since": [text], "kind": ["x"]}, NOW)
    fields = tuple(replace(each, error="") for each in asked.fields)
    rows = [search.row(each) for each in events(texts)]
    return rendered(
        "search.html", form=search.Form(fields, asked.question, "user=x", True, ()), rows=rows, more="from=3", advice=()
    )


def wrong(text: str) -> str:
    given = {"since": [text], "session": [f"<{text}"], "until": [text], text: [text]}
    asked = search.form(given, NOW)
    return rendered("search.html", form=asked, rows=(), more="", advice=())


def mine(text: str) -> str:
    registered = [Shown(each.leaf, each.event | {"subject": {"user": text}}) for each in events([text])]
    about = {"action": text, "query": "of=" + quote(text, safe="")}
    read = [{"kind": "audit.read", "time": TIME, "subject": {"user": text + "2"}, **about}]
    return rendered(
        "me.html",
        sessions=me.own(registered, text),
        kept=me.kept(dict.fromkeys(KINDS, 1)),
        looks=me.looks([Shown(1, each) for each in read], text),
        more="",
        is_first=True,
    )


def alike(payload: str) -> str:
    """Harmless text that is shown by the same elements: as long, different from others, seen as a whole or not."""
    text = HARMLESS if payload.isprintable() else HIDDEN
    return f"{text}{PAYLOADS.index(payload)}".ljust(len(payload), "y")


def check(plain: Shape, hostile: Shape) -> None:
    assert hostile.elements == plain.elements
    assert not {"\x00", "\x1b", "\u202e", "\u200b"} & set(hostile.text)


@pytest.mark.parametrize("first", [0, 11, 23])
@pytest.mark.parametrize("page", [timeline, answers])
def test_payloads_are_text_and_nothing_else(page: Callable[[Sequence[str]], str], first: int) -> None:
    payloads = [*PAYLOADS[first:], *PAYLOADS[:first]]
    hostile = shape(page(payloads))
    check(shape(page(list(map(alike, payloads)))), hostile)
    for payload in payloads:
        assert len(payload) > 80 or str(inert(payload)) in hostile.text


@pytest.mark.parametrize("page", [wrong, mine])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_is_text_and_nothing_else(page: Callable[[str], str], payload: str) -> None:
    check(shape(page(alike(payload))), shape(page(payload)))


def test_the_shape_sees_what_escaping_would_have_let_through() -> None:
    """The test's own test: without escaping it fails."""
    assert shape(f"<p>{PAYLOADS[0]}</p>").elements != shape(f"<p>{HARMLESS}</p>").elements


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a^@b"),
        ("\x1b[31mred\x07", "^[[31mred^G"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("two\nlines", "two^Jlines"),
        ("\ud800", "\\ud800"),
        ("\N{BYTE ORDER MARK}x", "\\ufeffx"),
    ],
)
def test_what_is_not_seen_is_written_out(text: str, shown: str) -> None:
    assert str(inert(text)) == shown
    assert any(piece.hidden for piece in inert(text).pieces)


def test_code_keeps_its_lines_and_its_size_is_bounded() -> None:
    assert str(inert("a\n\tb\r", lines=True)) == "a\n\tb^M"
    assert inert("x" * 30_000).more == 10_000
    assert str(inert(None)) == "" and not inert("")


def test_every_kind_is_in_one_group_and_none_is_left_out() -> None:
    assert set().union(*(kinds_of([key], KINDS) for key in KEYS)) == set(KINDS)
