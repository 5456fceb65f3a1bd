"""Every kind of event as OCSF, against OCSF's own published schemas, which the package ``ocsf-json-schema`` carries."""

import functools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from jupyter_hpcsec.audit import ocsf
from jupyter_hpcsec.audit.events import Event, Object, Stamp, Subject, leaf_value
from jupyter_hpcsec.audit.kinds import KINDS

STAMP = Stamp(
    v=1,
    id="0197c2a5-7f3e-7000-8000-000000000001",
    producer="gateway",
    seq=17,
    boot=2,
    time="2026-03-01T12:00:00.250000Z",
    mono=5,
    trust="gateway",
)


@functools.cache
def schemas(version: str) -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


@functools.cache
def validator(version: str, uid: int, profiles: tuple[str, ...]) -> Draft202012Validator:
    known = schemas(version)
    name = known.lookup_class_name_from_uid(uid)
    return Draft202012Validator(known.get_class_schema(name, list(profiles)))


def faults(event: dict[str, Any], version: str = ocsf.OCSF_VERSION) -> list[str]:
    event = json.loads(json.dumps(event))
    check = validator(version, event["class_uid"], tuple(event["metadata"].get("profiles", ())))
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in check.iter_errors(event)]


def filled(kind: type[Event]) -> Event:
    """An event with something in each field that takes text or a number."""
    given: dict[str, Any] = {
        "subject": Subject(login="alice", user="alice", account="uid 1001", impersonator="root"),
        "object": Object(type="file", name="/data/a b.csv", size=3, sha256="ab" * 32),
        "source": "2001:db8::1",
        "decision": "refused",
    }
    for field in msgspec.structs.fields(kind):
        if field.name not in given and field.default is not msgspec.NODEFAULT:
            if isinstance(field.default, bool):
                given[field.name] = True
            elif isinstance(field.default, str | int):
                given[field.name] = "x1" if isinstance(field.default, str) else 7
    return kind(**given)


def leaf(event: Event) -> dict[str, Any]:
    return leaf_value(STAMP, event)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [lambda kind: kind(), filled], ids=["bare", "filled"])
def test_every_kind_is_valid(kind: str, make: Any) -> None:
    made = ocsf.convert(leaf(make(KINDS[kind])))
    assert faults(made) == []
    assert made["metadata"]["event_code"] == kind


@pytest.mark.parametrize("row", ocsf.TABLE, ids=lambda row: row.pattern)
def test_every_row_is_a_class_and_an_activity_of_ocsf(row: ocsf.Row) -> None:
    known = schemas(ocsf.OCSF_VERSION)
    raw = get_ocsf_schema(version=ocsf.OCSF_VERSION)["classes"][known.lookup_class_name_from_uid(row.of.uid)]
    assert (row.of.uid, row.of.name, row.of.category_name) == (
        raw["uid"],
        raw["caption"],
        raw.get("category_name", "Uncategorized"),
    )
    activities = {int(uid): each["caption"] for uid, each in raw["attributes"]["activity_id"]["enum"].items()}
    assert row.of.activities.items() <= activities.items()
    made = ocsf.convert({**leaf(filled(KINDS["session.cut"])), "kind": row.pattern.replace("*", "made-up")})
    assert made["class_uid"] == row.of.uid
    assert faults(made) == []


def test_a_wrong_event_is_found() -> None:
    made = ocsf.convert(leaf(KINDS["session.enrolled"]()))
    assert faults({**made, "activity_id": 77})
    assert faults({**made, "nonsense": 1})
    assert faults({name: value for name, value in made.items() if name != "user"})


def test_an_unknown_kind_is_a_base_event() -> None:
    made = ocsf.convert({**leaf(KINDS["session.cut"]()), "kind": "quantum.entangled", "colour": "blue"})
    assert (made["class_uid"], made["type_uid"]) == (0, 99)
    assert made["unmapped"]["colour"] == "blue"
    assert faults(made) == []


@pytest.mark.parametrize(("method", "activity"), [("GET", 3), ("POST", 6), ("PATCH", 99), ("", 99), ("\x00", 99)])
def test_a_request_is_its_method(method: str, activity: int) -> None:
    asked = {**leaf(KINDS["session.cut"]()), "kind": "http.request", "object": {"name": "/user/alice/api"}}
    made = ocsf.convert({**asked, "method": method, "status": 403})
    assert faults(made) == []
    assert (made["activity_id"], made["http_response"]["code"]) == (activity, 403)
    assert made["activity_name"] == ("http.request" if activity == 99 else method.capitalize())
    assert made["http_request"]["url"]["path"] == "/user/alice/api"


def test_refusals_fail_in_the_class_of_what_was_tried() -> None:
    kind = KINDS["connection.refused"]
    refused = ocsf.convert(
        leaf(kind(source="10.0.0.9", decision="refused", rule="port.rate", reason="too many", count=9))
    )
    assert (refused["class_uid"], refused["activity_id"], refused["status_id"]) == (4001, 5, 2)
    assert (refused["action_id"], refused["disposition_id"], refused["severity_id"]) == (2, 2, ocsf.LOW)
    assert (refused["status_code"], refused["status_detail"], refused["count"]) == ("port.rate", "too many", 9)
    assert refused["src_endpoint"] == {"ip": "10.0.0.9"}


def test_who_did_what_and_when() -> None:
    made = ocsf.convert(
        leaf(KINDS["session.enrolled"](session="5" * 32, subject=Subject(user="alice", impersonator="root")))
    )
    assert made["user"] == {"name": "alice"}
    assert made["actor"]["user"] == {"name": "root"}
    assert made["metadata"]["correlation_uid"] == "5" * 32
    assert made["time"] == 1772366400250
    assert made["metadata"]["original_time"] == STAMP.time


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(["source", "reason", "node", "method", "call"]), st.text(max_size=40)))
def test_whatever_text_stands_in_it(fields: dict[str, str]) -> None:
    for kind in ("hub-api.refused", "lane.refused", "node.access-refused"):
        assert faults(ocsf.convert({**leaf(KINDS["session.cut"]()), "kind": kind, **fields})) == []
