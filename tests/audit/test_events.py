"""Events: what hostile callers can put into one, how large it can get, and that the published schemas hold."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.audit import kinds
from jupyter_hpcsec.audit.events import INTEGER_LIMIT, Event, Object, Stamp, Subject, kind_of, leaf_value

STAMP = Stamp(
    v=1,
    id="0193e6a0-0000-7000-8000-000000000000",
    producer="gateway",
    seq=1,
    boot=1,
    time="2026-01-01T00:00:00.000000Z",
    mono=5,
    trust="gateway",
)
HOSTILE = "\n2026-01-01 forged line\x1b[2J\u202e\x00\ud800" + "\u2028" * 5000
LEAF_LIMIT = 65_535


def texts_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_of(each)]
    return []


def filled(kind: type[Event], text: str, number: int) -> Event:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        default = field.default
        if isinstance(default, bool):
            values[field.name] = True
        elif isinstance(default, str) and field.name != "decision":
            values[field.name] = text
        elif isinstance(default, int):
            values[field.name] = number
        elif isinstance(default, Subject):
            values[field.name] = Subject(login=text, user=text, impersonator=text, account=text)
        elif isinstance(default, Object):
            values[field.name] = Object(type=text, name=text, raw="ab" * 4096, size=number, sha256=text)
    return kind(**values)


@pytest.mark.parametrize("kind", sorted(kinds.KINDS))
def test_no_kind_can_be_made_to_hold_a_line_of_its_own(kind: str) -> None:
    leaf = leaf_value(STAMP, filled(kinds.KINDS[kind], HOSTILE, 2**70))
    for text in texts_of(leaf):
        assert text.isprintable()
    data = rfc8785.dumps(leaf)
    assert len(data) <= LEAF_LIMIT
    assert b"\n" not in data


@pytest.mark.parametrize("kind", sorted(kinds.KINDS))
@pytest.mark.parametrize("text", ["\U0001f600" * 9000, '"' * 9000])
def test_the_largest_event_fits_into_a_leaf(kind: str, text: str) -> None:
    assert len(rfc8785.dumps(leaf_value(STAMP, filled(kinds.KINDS[kind], text, 2**70)))) <= LEAF_LIMIT


@pytest.mark.parametrize("kind", sorted(kinds.KINDS))
def test_every_kind_has_a_schema_that_its_leaves_keep(kind: str) -> None:
    schema = kinds.schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    for event in (kinds.KINDS[kind](), filled(kinds.KINDS[kind], HOSTILE, 2**70)):
        check.validate(json.loads(rfc8785.dumps(leaf_value(STAMP, event))))
    with pytest.raises(jsonschema.ValidationError):
        check.validate(leaf_value(STAMP, kinds.KINDS[kind]()) | {"invented": 1})
    with pytest.raises(jsonschema.ValidationError):
        check.validate(leaf_value(STAMP, kinds.KINDS[kind]()) | {"trust": "browser"})


@settings(max_examples=50)
@given(st.text(max_size=600), st.integers())
def test_numbers_and_texts_stay_within_what_canonical_json_can_say(text: str, number: int) -> None:
    event = kinds.sessions.SessionEnded(reason=text, bytes_to_node=number)
    assert 0 <= event.bytes_to_node <= INTEGER_LIMIT
    assert json.loads(rfc8785.dumps(leaf_value(STAMP, event)))["kind"] == "session.ended"


def test_a_path_that_can_not_be_shown_is_kept_exactly_beside() -> None:
    made = Object.of_path(b"/data/\xff\n")
    assert made.name == "/data/\ufffd\ufffd"
    assert bytes.fromhex(made.raw) == b"/data/\xff\n"
    assert Object.of_path(b"/data/x").raw == ""


def test_empty_fields_take_no_room_and_kinds_have_their_names() -> None:
    leaf = leaf_value(STAMP, kinds.record.AuditClosed())
    assert set(leaf) == {"kind", "v", "id", "producer", "seq", "boot", "time", "mono", "trust"}
    assert kind_of(kinds.sessions.SessionEnded) == "session.ended"
    assert all(kind_of(each) == name for name, each in kinds.KINDS.items())
