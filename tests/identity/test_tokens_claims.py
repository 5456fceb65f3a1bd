"""The claims of a token: exactly ours, each of its own type; and whatever else may come is refused."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.identity.tokens import (
    LIFE_LIMIT_S,
)
from tests.identity.forging import (
    AUDIENCE,
    CLAIMS,
    HEADER,
    ISSUER,
    NO_CLOCK,
    NOW,
    PAYLOAD,
    PUBLIC,
    TOKEN,
    accept,
    forge,
    naive_decode,
    refusal,
    text,
)

# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAYLOAD)
@pytest.mark.parametrize("first", [True, False])
def test_duplicate_claims_are_refused(name: str, *, first: bool) -> None:
    other = text({name: "c" * 32 if name not in {"nbf", "exp"} else NOW + 7})
    body = f"{other},{text(PAYLOAD)}" if first else f"{text(PAYLOAD)},{other}"
    assert refusal(forge(HEADER, f"{{{body}}}".encode())) == "duplicate"


def test_a_duplicate_claim_passes_plain_pyjwt_and_not_here() -> None:
    twice = forge(HEADER, f'{{{text(PAYLOAD)},"sub":"{"e" * 32}"}}'.encode())
    assert naive_decode(twice, PUBLIC)["sub"] == "e" * 32
    assert refusal(twice) == "duplicate"


def test_an_escaped_duplicate_is_a_duplicate() -> None:
    assert refusal(forge(HEADER, f'{{{text(PAYLOAD)},"s\\u0075b":"{"e" * 32}"}}'.encode())) == "duplicate"


@pytest.mark.parametrize("name", PAYLOAD)
def test_every_claim_is_needed(name: str) -> None:
    assert refusal(forge(HEADER, {key: value for key, value in PAYLOAD.items() if key != name})) == "claims"


@pytest.mark.parametrize("name", ["iat", "admin", "user", "", "Sub"])
def test_no_other_claim_is_accepted(name: str) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, name: 1})) == "claims"


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti"])
@pytest.mark.parametrize("value", [None, 1, True, "", [AUDIENCE], [AUDIENCE, "other"], {"a": AUDIENCE}])
def test_a_claim_that_is_no_text_is_refused(name: str, value: object) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, name: value})) == "claims"


@pytest.mark.parametrize("name", ["sub", "jti"])
@pytest.mark.parametrize("value", ["A" * 32, "a" * 31, "a" * 33, "../" + "a" * 29, "a" * 31 + "\n", "\uff41" * 32])
def test_an_id_in_another_spelling_is_refused(name: str, value: str) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, name: value})) == "claims"


@pytest.mark.parametrize("name", ["nbf", "exp"])
@pytest.mark.parametrize(
    "value", [True, False, None, float(NOW), NOW + 0.5, str(NOW), [NOW], -1, 2**53, 10**40, {}], ids=repr
)
def test_a_time_that_is_no_whole_number_is_refused(name: str, value: object) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, name: value})) == "time"


@pytest.mark.parametrize("number", ["1e9", "NaN", "Infinity", "-Infinity", "1" * 900, "-0.0", "01"])
def test_a_number_in_another_notation_is_refused(number: str) -> None:
    body = text({key: value for key, value in PAYLOAD.items() if key != "exp"})
    assert refusal(forge(HEADER, f'{{{body},"exp":{number}}}'.encode())) in {"time", "json"}


def test_a_time_that_is_true_passes_plain_pyjwt_and_not_here() -> None:
    token = forge(HEADER, {**PAYLOAD, "nbf": True})
    assert jwt.decode(token, PUBLIC, algorithms=["EdDSA"], audience=AUDIENCE, options=NO_CLOCK)["nbf"] is True
    assert refusal(token) == "time"


@pytest.mark.parametrize(
    ("not_before", "expires"),
    [(NOW, NOW), (NOW + 1, NOW), (NOW + 99, NOW - 99), (NOW, NOW + LIFE_LIMIT_S + 1), (NOW, 2**53 - 1), (0, NOW + 9)],
)
def test_a_life_that_ends_before_it_begins_or_never_is_refused(not_before: int, expires: int) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, "nbf": not_before, "exp": expires})) == "life"


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff", b"\xef\xbb\xbf{}", b"{}{}", b"[" * 900, b"{'a':1}"]
)
@pytest.mark.parametrize("part", ["header", "payload"])
def test_what_is_no_json_object_is_refused(payload: bytes, part: str) -> None:
    forged = forge(HEADER, payload) if part == "payload" else forge(payload, PAYLOAD)
    assert refusal(forged) in {"json", "encoding"}


@pytest.mark.parametrize(
    ("claim", "rule"), [("iss", "issuer"), ("aud", "audience")], ids=["another issuer", "another audience"]
)
@pytest.mark.parametrize("value", ["x", ISSUER + "/", ISSUER.upper(), f" {AUDIENCE}", AUDIENCE + "\0", "*"])
def test_another_issuer_or_audience_is_refused(claim: str, rule: str, value: str) -> None:
    assert refusal(forge(HEADER, {**PAYLOAD, claim: value})) == rule


# --- whatever comes ---------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def only_refused(token: Any) -> None:
    try:
        accept(token)
    except Refused as refused:
        assert refused.rule.startswith("token.")  # noqa: PT017 - the point is that nothing else is raised
    else:
        pytest.fail("accepted")


@given(st.text() | st.binary() | st.none() | st.integers())
def test_nothing_but_refused_is_raised_for_any_value(token: object) -> None:
    only_refused(token)


@given(st.lists(st.text(alphabet="ABCabc019-_=+/. ", max_size=60), min_size=3, max_size=3))
def test_nothing_but_refused_is_raised_for_three_segments(parts: list[str]) -> None:
    only_refused(".".join(parts))


@given(st.binary(max_size=200), st.binary(max_size=400))
def test_nothing_but_refused_is_raised_for_signed_bytes(header: bytes, payload: bytes) -> None:
    only_refused(forge(header, payload))
    only_refused(forge(HEADER, payload))


@given(st.dictionaries(st.sampled_from([*PAYLOAD, "iat"]), json_values))
def test_nothing_but_refused_is_raised_for_any_claims(changes: dict[str, Any]) -> None:
    token = forge(HEADER, {**PAYLOAD, **changes})
    if changes.items() <= PAYLOAD.items() and all(type(changes[k]) is type(PAYLOAD[k]) for k in changes):
        assert accept(token) == CLAIMS
    else:
        try:
            claims = accept(token)
        except Refused as refused:
            assert refused.rule.startswith("token.")  # noqa: PT017
        else:
            # Only a time may have been changed to another good one.
            assert (claims.issuer, claims.audience) == (ISSUER, AUDIENCE)
            assert claims.not_before <= NOW < claims.expires


@given(st.dictionaries(st.sampled_from([*HEADER, "jku"]), json_values, min_size=1))
def test_no_other_header_is_accepted(changes: dict[str, Any]) -> None:
    only_refused(forge({**HEADER, **changes}, PAYLOAD))


@given(st.data())
def test_no_mutation_of_a_valid_token_verifies(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TOKEN)))
    until = data.draw(st.integers(at, min(len(TOKEN), at + 4)))
    put = data.draw(st.text(alphabet=st.characters(max_codepoint=0x2FFF), max_size=4))
    mutated = TOKEN[:at] + put + TOKEN[until:]
    if mutated != TOKEN:
        only_refused(mutated)
