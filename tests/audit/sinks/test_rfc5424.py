"""Messages of RFC 5424: whatever stands in an event, a reader of the grammar gets the same fields back."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.sinks.items import Item
from jupyter_hpcsec.audit.sinks.rfc5424 import framed, header_field, message, parameter

EVENT = {
    "id": "0197c2a5-7f3e-7000-8000-000000000001",
    "kind": "connection.refused",
    "producer": "gateway",
    "seq": 3,
    "boot": 1,
    "trust": "gateway",
    "time": "2026-03-01T12:00:00.250000Z",
    "decision": "refused",
    "subject": {"user": "alice"},
    "object": {"name": "/data/x"},
}
HEADER = re.compile(r"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) ")
PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


def read(data: bytes) -> tuple[tuple[str, ...], dict[str, str], bytes]:
    """A reader by RFC 5424's grammar: header, parameters of the one element, message."""
    text = data.decode()
    header = HEADER.match(text)
    assert header, text[:80]
    at = header.end()
    named = re.compile(r"\[event@\d+").match(text, at)
    assert named
    at, found = named.end(), dict[str, str]()
    while parameter := PARAMETER.match(text, at):
        assert parameter[1] not in found
        found[parameter[1]] = re.sub(r"\\([\"\\\]])", r"\1", parameter[2])
        at = parameter.end()
    assert text[at : at + 2] == "] "
    return header.groups(), found, text[at + 2 :].encode()


def made(event: dict[str, Any], **changes: Any) -> bytes:
    item = Item(7, json.dumps(event).encode())
    return message(item, **({"form": "native", "facility": 13, "enterprise": 32473, "hostname": "hub"} | changes))


def test_a_refusal() -> None:
    header, fields, text = read(made(EVENT))
    assert header == ("109", EVENT["time"], "hub", "hpcsec", "-", "connection.refused")
    assert fields["leaf"] == "7"
    assert (fields["user"], fields["object"], fields["seq"], fields["decision"]) == ("alice", "/data/x", "3", "refused")
    assert json.loads(text) == EVENT


@pytest.mark.parametrize(
    ("kind", "decision", "priority"),
    [("lane.opened", "allowed", 110), ("lane.refused", "refused", 109), ("audit.gap", "", 107)],
)
def test_priorities(kind: str, decision: str, priority: int) -> None:
    assert read(made({**EVENT, "kind": kind, "decision": decision}))[0][0] == str(priority)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["reason", "source", "rule", "node"]))
def test_whatever_stands_in_a_field(text: str, name: str) -> None:
    for form in ("native", "ocsf"):
        _, fields, body = read(made({**EVENT, name: text}, form=form))
        assert fields.get(name, "") == text
        assert body.isascii()
        assert json.loads(body)
        assert not re.search(rb"[\x00-\x1f\x7f]", body)


@given(st.text(), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_header_is_ascii_without_spaces(hostname: str, kind: str) -> None:
    header, _, _ = read(made({**EVENT, "kind": kind}, hostname=hostname))
    assert header[2] == header_field(hostname, 255)


def test_escapes_and_frames() -> None:
    assert parameter("a", 'b"c\\d]e') == r'a="b\"c\\d\]e"'
    assert header_field("", 8) == "-"
    assert framed("é".encode()) == b"2 \xc3\xa9"
