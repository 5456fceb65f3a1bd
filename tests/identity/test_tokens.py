"""One token is accepted and no other: every refusal first; where a plain JWT library accepts, that is shown."""

import base64

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.identity.tokens import (
    TOKEN_LIMIT,
    JobClaims,
    mint,
    unverified_session,
)
from tests.identity.forging import (
    AUDIENCE,
    CLAIMS,
    HEADER,
    ISSUER,
    KEY,
    KID,
    NOW,
    PAYLOAD,
    PUBLIC,
    TOKEN,
    Signer,
    accept,
    b64,
    forge,
    naive_decode,
    refusal,
    text,
)

# --- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", None, b"", TOKEN.encode(), 7, ["a"], {}])
def test_a_missing_token_is_refused(token: object) -> None:
    assert refusal(token) == "missing"


def test_an_oversized_token_is_refused_before_it_is_read() -> None:
    padded = forge(HEADER, {**PAYLOAD, "x": "y" * TOKEN_LIMIT})
    assert refusal(padded) == "size"
    assert refusal("." * (TOKEN_LIMIT + 1)) == "size"
    assert refusal("." * TOKEN_LIMIT) == "form"


@pytest.mark.parametrize("token", [f"{TOKEN}.", f".{TOKEN}", f"{TOKEN}.AA", TOKEN.rsplit(".", 1)[0], "x", TOKEN * 2])
def test_another_number_of_segments_is_refused(token: str) -> None:
    assert refusal(token) == "form"


@pytest.mark.parametrize("segment", range(3))
def test_each_segment_is_needed(segment: int) -> None:
    parts = TOKEN.split(".")
    parts[segment] = ""
    assert refusal(".".join(parts)) == "encoding"


@pytest.mark.parametrize("segment", range(3))
def test_each_altered_segment_is_refused(segment: int) -> None:
    parts = TOKEN.split(".")
    for at in range(len(parts[segment])):
        old = parts[segment][at]
        altered = list(parts)
        altered[segment] = parts[segment][:at] + ("A" if old != "A" else "B") + parts[segment][at + 1 :]
        refusal(".".join(altered))


SPELLINGS = {
    "padding": lambda part: part + "=" * (-len(part) % 4 or 4),
    "newline": lambda part: part + "\n",
    "space": lambda part: " " + part,
    "inner space": lambda part: part[:4] + " " + part[4:],
    "plus": lambda part: part[:-4] + "+" + part[-3:],
    "slash": lambda part: part[:-4] + "/" + part[-3:],
    "fullwidth": lambda part: chr(ord(part[0]) + 0xFEE0) + part[1:],
    "nul": lambda part: part + "\0",
    "surrogate": lambda part: part + "\udc80",
    "emoji": lambda part: part + "\N{GRINNING FACE}",
    "percent": lambda part: part + "%3D",
}


@pytest.mark.parametrize("segment", range(3))
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_spellings_of_a_segment_are_refused(segment: int, spelling: str) -> None:
    parts = TOKEN.split(".")
    parts[segment] = SPELLINGS[spelling](parts[segment])
    assert refusal(".".join(parts)) == "encoding"


@pytest.mark.parametrize("alphabet", ["+", "/"])
def test_the_other_base64_alphabet_is_refused(alphabet: str) -> None:
    # A signature whose base64url holds the character in question, spelt in plain base64.
    token = next(t for n in range(99) if alphabet in (t := forge(HEADER, {**PAYLOAD, "jti": f"{n:032x}"})
                 .replace("-", "+").replace("_", "/")))  # fmt: skip
    assert refusal(token) == "encoding"


def test_trailing_bits_are_refused() -> None:
    # 64 bytes leave four unused bits in the last character: sixteen spellings of one signature.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    index = alphabet.index(TOKEN[-1])
    other = TOKEN[:-1] + alphabet[index + 1]
    assert index % 16 == 0
    assert base64.urlsafe_b64decode(other.split(".")[2] + "==") == base64.urlsafe_b64decode(TOKEN.split(".")[2] + "==")
    assert refusal(other) == "encoding"


def test_a_padded_token_passes_plain_pyjwt_and_not_here() -> None:
    padded = TOKEN + "=="
    assert naive_decode(padded, PUBLIC)["sub"] == CLAIMS.session
    assert refusal(padded) == "encoding"


# --- header -----------------------------------------------------------------------------------------------------------


def hs256(secret: bytes) -> Signer:
    return lambda data: jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(data, secret)


def test_the_public_key_as_hmac_secret_passes_a_naive_service_and_not_here() -> None:
    secret = PUBLIC.public_bytes_raw()
    forged = forge({**HEADER, "alg": "HS256"}, {**PAYLOAD, "sub": "e" * 32}, hs256(secret))
    assert naive_decode(forged, secret)["sub"] == "e" * 32
    assert refusal(forged) == "algorithm"
    pem = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert refusal(forge({**HEADER, "alg": "HS256"}, PAYLOAD, hs256(pem))) == "algorithm"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", [b"", b"\0" * 64])
def test_no_signature_is_no_token(algorithm: str, signature: bytes) -> None:
    forged = forge({**HEADER, "alg": algorithm}, PAYLOAD, lambda _: signature)
    assert refusal(forged) in {"algorithm", "encoding"}


def test_an_unsigned_token_passes_a_service_that_trusts_its_header_and_not_here() -> None:
    forged = forge({**HEADER, "alg": "none"}, {**PAYLOAD, "sub": "e" * 32}, lambda _: b"\0" * 64)
    verifies = jwt.get_unverified_header(forged)["alg"] != "none"
    naive = jwt.decode(forged, options={"verify_signature": verifies})
    assert naive["sub"] == "e" * 32
    assert refusal(forged) == "algorithm"


def test_another_key_type_is_refused() -> None:
    private = rsa.generate_private_key(65537, 2048)
    token = jwt.encode(PAYLOAD, private, "RS256", {"kid": KID, "typ": HEADER["typ"]})
    assert naive_decode(token, private.public_key())["sub"] == CLAIMS.session
    assert refusal(token) == "algorithm"
    assert refusal(token, keys={KID: private.public_key()}) == "algorithm"


def test_a_table_with_a_key_of_another_curve_is_refused() -> None:
    # PyJWT calls Ed448 EdDSA too.
    other = Ed448PrivateKey.generate()
    token = jwt.encode(PAYLOAD, other, "EdDSA", {"kid": KID, "typ": HEADER["typ"]})
    assert naive_decode(token, other.public_key())["sub"] == CLAIMS.session
    assert refusal(token, keys={KID: other.public_key()}) == "key"


@pytest.mark.parametrize("algorithm", ["eddsa", "Ed25519", "EdDSA ", "ES256", "HS256", "RS256", "PS256", "", "\0"])
def test_only_one_name_of_the_algorithm_is_accepted(algorithm: str) -> None:
    assert refusal(forge({**HEADER, "alg": algorithm}, PAYLOAD)) == "algorithm"


@pytest.mark.parametrize("name", ["JWT", "jwt", "at+jwt", "HPCSEC-JOB+JWT", "application/hpcsec-job+jwt", ""])
def test_another_type_is_refused(name: str) -> None:
    assert refusal(forge({**HEADER, "typ": name}, PAYLOAD)) == "type"


def test_a_token_for_another_purpose_passes_plain_pyjwt_and_not_here() -> None:
    other = jwt.encode(PAYLOAD, KEY, "EdDSA", {"kid": KID})
    assert naive_decode(other, PUBLIC)["sub"] == CLAIMS.session
    assert refusal(other) == "type"


@pytest.mark.parametrize(
    "kid",
    [
        "f" * 32,
        "",
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "x' UNION SELECT 'key' -- ",
        "| id",
        "$(id)",
        KID.upper(),
        KID + "\n",
        KID + "\0",
        " " + KID,
        KID[:-1],
        KID + "0",
        KID.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
        "\N{ARABIC-INDIC DIGIT ONE}" * 32,
        "http://evil.example/key",
    ],
)
def test_an_unknown_key_id_is_refused_even_when_a_table_holds_its_like(kid: str) -> None:
    forged = forge({**HEADER, "kid": kid}, PAYLOAD)
    assert refusal(forged) == "key"
    if kid != "f" * 32:
        assert refusal(forged, keys={kid: PUBLIC}) == "key"


@pytest.mark.parametrize("kid", [None, 1, True, [KID], {"a": KID}])
def test_a_key_id_that_is_no_text_is_refused(kid: object) -> None:
    assert refusal(forge({**HEADER, "kid": kid}, PAYLOAD)) == "header"


EXTRA = {
    "jku": "https://evil.example/keys",
    "x5u": "https://evil.example/cert",
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())},
    "crit": ["exp"],
    "zip": "DEF",
    "b64": False,
    "cty": "JWT",
    "enc": "A256GCM",
    "x": "anything",
    "Alg": "none",
    "": "",
}


@pytest.mark.parametrize("name", EXTRA)
def test_any_other_header_name_is_refused(name: str) -> None:
    assert refusal(forge({**HEADER, name: EXTRA[name]}, PAYLOAD)) == "header"


def test_a_key_in_the_header_passes_a_naive_service_and_not_here() -> None:
    thief = Ed25519PrivateKey.generate()
    embedded = {"kty": "OKP", "crv": "Ed25519", "x": b64(thief.public_key().public_bytes_raw())}
    forged = forge({**HEADER, "jwk": embedded}, {**PAYLOAD, "sub": "e" * 32}, thief.sign)
    found = jwt.PyJWK(jwt.get_unverified_header(forged)["jwk"], "EdDSA")
    assert naive_decode(forged, found.key)["sub"] == "e" * 32
    assert refusal(forged) == "header"


@pytest.mark.parametrize("name", HEADER)
def test_every_header_name_is_needed(name: str) -> None:
    assert refusal(forge({key: value for key, value in HEADER.items() if key != name}, PAYLOAD)) == "header"


@pytest.mark.parametrize("name", HEADER)
def test_duplicate_header_names_are_refused(name: str) -> None:
    header = f"{{{text({name: 'none'})},{text(HEADER)}}}".encode()
    assert refusal(forge(header, PAYLOAD)) == "duplicate"


# --- signature and time -----------------------------------------------------------------------------------------------


def test_another_gateways_key_is_refused() -> None:
    assert refusal(forge(HEADER, PAYLOAD, Ed25519PrivateKey.generate().sign)) == "signature"
    assert refusal(TOKEN, keys={KID: Ed25519PrivateKey.generate().public_key()}) == "signature"
    assert refusal(TOKEN, keys={}) == "key"


@pytest.mark.parametrize("length", [1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    assert refusal(forge(HEADER, PAYLOAD, lambda data: (KEY.sign(data) * 2)[:length])) == "signature"


def test_an_equivalent_signature_is_refused() -> None:
    # RFC 8032, 5.1.7: S + L would verify where S is not checked to be below the group's order L.
    order = 2**252 + 27742317777372353535851937790883648493

    def malleated(data: bytes) -> bytes:
        signature = KEY.sign(data)
        return signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")

    assert refusal(forge(HEADER, PAYLOAD, malleated)) == "signature"


def test_a_token_is_accepted_from_its_first_to_its_last_second() -> None:
    assert refusal(TOKEN, now=NOW - 1) == "not-yet-valid"
    assert refusal(TOKEN, now=NOW + 3600) == "expired"
    assert accept(TOKEN, now=NOW) == CLAIMS
    assert accept(TOKEN, now=NOW + 3599) == CLAIMS


def test_leeway_widens_both_ends() -> None:
    assert refusal(TOKEN, now=NOW - 6, leeway=5) == "not-yet-valid"
    assert refusal(TOKEN, now=NOW + 3605, leeway=5) == "expired"
    assert accept(TOKEN, now=NOW - 5, leeway=5) == accept(TOKEN, now=NOW + 3604, leeway=5) == CLAIMS


def test_the_order_of_the_header_does_not_matter() -> None:
    assert accept(forge(dict(reversed(HEADER.items())), dict(reversed(PAYLOAD.items())))) == CLAIMS


def test_what_would_not_be_accepted_is_not_minted() -> None:
    for wrong in (
        JobClaims(ISSUER, AUDIENCE, "A" * 32, "b" * 32, NOW, NOW + 1),
        JobClaims(ISSUER, AUDIENCE, "a" * 32, "b" * 32, NOW, NOW),
        JobClaims("", AUDIENCE, "a" * 32, "b" * 32, NOW, NOW + 1),
        JobClaims(ISSUER * 200, AUDIENCE, "a" * 32, "b" * 32, NOW, NOW + 1),
    ):
        with pytest.raises(Refused):
            mint(KEY, KID, wrong)
    with pytest.raises(Refused):
        mint(KEY, "../key", CLAIMS)


def test_no_refusal_repeats_the_token() -> None:
    for token in (TOKEN + "==", TOKEN[:-8] + "AAAAAAAA", forge({**HEADER, "kid": "e" * 32}, PAYLOAD)):
        with pytest.raises(Refused) as caught:
            accept(token)
        assert not any(part in str(caught.value) for part in token.split("."))


def test_the_holder_reads_its_session() -> None:
    with pytest.raises(Refused):
        unverified_session("x.y.z")
    assert unverified_session(TOKEN) == CLAIMS.session
