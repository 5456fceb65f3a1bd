import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.adminwire import (
    BODY_LIMIT,
    CALLS,
    Registration,
    error_from_json,
    error_to_json,
    parse_arguments,
)

SESSION = "0123456789abcdef0123456789abcdef"
LAUNCH = {"argv": ["x"], "env": {"TOKEN": "s3cret"}, "base_url": "/user/alice/"}
PERSON = {"groups": ["genomics"], "project": "p1", "home": "/home/alice"}
REGISTER = {"user": "alice", "server": "", "uid": 2001, "lifetime_s": 3600, "launch": LAUNCH, **PERSON}


def reason_of(name: str, value: Any) -> str:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(Malformed) as error:
        parse_arguments(name, body)
    return error.value.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"session": "\xff"}',
        b"{} {}",
        b'{"session": NaN}',
        b"[" * 100_000,
        b'{"session": "' + SESSION.encode() + b'", "session": "' + SESSION.encode() + b'"}',
    ],
)
def test_what_is_no_strict_json_object_is_malformed(body: bytes) -> None:
    assert reason_of("show", body)


def test_the_size_is_checked_first() -> None:
    assert str(BODY_LIMIT) in reason_of("show", b"[" * (BODY_LIMIT + 1))


def test_half_a_surrogate_pair_is_malformed() -> None:
    assert "strict JSON" in reason_of("bind_job", b'{"session": "' + SESSION.encode() + b'", "job_id": "\\ud800"}')


@pytest.mark.parametrize(
    "session", ["", SESSION.upper(), SESSION + "\n", SESSION + "0", SESSION[1:], "../" * 11, 7, None]
)
def test_a_session_id_has_one_form(session: object) -> None:
    assert "$.session" in reason_of("show", {"session": session})


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"uid": True}, "$.uid"),
        ({"uid": 1.0}, "$.uid"),
        ({"uid": -1}, "$.uid"),
        ({"uid": 2**32 - 1}, "$.uid"),
        ({"uid": "2001"}, "$.uid"),
        ({"user": ""}, "$.user"),
        ({"user": "a\n"}, "$.user"),
        ({"user": "a\x00b"}, "$.user"),
        ({"user": "a" * 256}, "$.user"),
        ({"lifetime_s": 0}, "$.lifetime_s"),
        ({"lifetime_s": 10**9}, "$.lifetime_s"),
        ({"launch": None}, "$.launch"),
        ({"launch": LAUNCH | {"argv": []}}, "$.launch.argv"),
        ({"launch": LAUNCH | {"argv": ["a\x00"]}}, "$.launch.argv[0]"),
        ({"launch": LAUNCH | {"env": {"A=B": "x"}}}, "$.launch.env"),
        ({"launch": LAUNCH | {"env": {"A": 1}}}, "$.launch.env[...]"),
        ({"launch": LAUNCH | {"base_url": "user/"}}, "$.launch.base_url"),
        ({"groups": "genomics"}, "$.groups"),
        ({"groups": [""]}, "$.groups"),
        ({"groups": ["x"] * 1025}, "$.groups"),
        ({"project": "a\nb"}, "$.project"),
        ({"home": "home/alice"}, "$.home"),
        ({"home": "/home/al\x00ice"}, "$.home"),
        ({"launch": LAUNCH | {"shell": True}}, "unknown field `shell` - at `$.launch`"),
        ({"extra": 1, "other": 2}, "unknown field `extra`"),
    ],
)
def test_a_wrong_registration_is_malformed_and_says_where(changes: dict[str, Any], place: str) -> None:
    reason = reason_of("register", REGISTER | changes)
    assert place in reason
    assert "s3cret" not in reason


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_call_refuses_an_unknown_key(name: str) -> None:
    assert reason_of(name, {"unknown": 1})


@pytest.mark.parametrize("missing", sorted(REGISTER))
def test_every_key_is_needed(missing: str) -> None:
    assert f"missing required field `{missing}`" in reason_of(
        "register", {k: v for k, v in REGISTER.items() if k != missing}
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("register", REGISTER),
        ("bind_job", {"session": SESSION, "job_id": "1234[7].pbs-server"}),
        ("show", {"session": SESSION}),
        ("wait", {"session": SESSION, "after": 0, "timeout_s": 1.5}),
        ("end", {"session": SESSION, "reason": "the user's server was stopped"}),
        ("sessions", {}),
        ("status", {}),
        ("rotate", {"kind": "authority"}),
        ("drop_tokens", {}),
        ("keys", {}),
    ],
)
def test_right_arguments_come_back_unchanged(name: str, arguments: dict[str, Any]) -> None:
    assert parse_arguments(name, json.dumps(arguments).encode()) == arguments


@given(st.binary(max_size=200))
def test_any_bytes_give_arguments_or_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert parse_arguments("sessions", body) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({key: st.just(value) | JSON for key, value in REGISTER.items()}))
def test_any_registration_that_passes_has_the_right_types(value: dict[str, Any]) -> None:
    try:
        arguments = parse_arguments("register", json.dumps(value).encode())
    except Malformed:
        return
    assert [type(arguments[key]) for key in REGISTER] == [str, str, int, int, dict, list, str, str]


# -- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("session.job-bound", "It belongs to another job."), 403),
        (Refused("session.unknown", "There is none."), 404),
        (Malformed("What?"), 400),
        (Unavailable("Later."), 503),
    ],
)
def test_errors_come_back_as_they_were(error: HpcsecError, status: int) -> None:
    code, body = error_to_json(error)
    assert code == status
    back = error_from_json(json.loads(json.dumps(body)))
    assert (type(back), str(back)) == (type(error), str(error))


@pytest.mark.parametrize("value", [None, [], "x", {}, {"error": 1}, {"error": "refused", "reason": 7}])
def test_an_answer_that_is_none_of_ours_is_unavailable(value: object) -> None:
    assert isinstance(error_from_json(value), Unavailable)


REGISTRATION = Registration(SESSION, "t0ken", b"\x30\x00der", ["n0:443", "[::1]:443"], Path("/run/hpcsec/s.sock"))


def test_a_registration_survives_the_wire_and_does_not_show_its_token() -> None:
    wire = json.loads(json.dumps(REGISTRATION.to_json()))
    for damage in ({"ca": "no base64!"}, {"ca": 7}, {"endpoints": None}, {"socket": 5}):
        with pytest.raises(Malformed):
            Registration.from_json(wire | damage)
    with pytest.raises(Malformed):
        Registration.from_json({})
    assert Registration.from_json(wire) == REGISTRATION
    assert "t0ken" not in repr(REGISTRATION)
