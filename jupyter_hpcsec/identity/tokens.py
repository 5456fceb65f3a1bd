"""Job tokens: the single-use secret that a job carries from the gateway to its first connection.

A token is a JWT (RFC 7519) in compact JWS form (RFC 7515), signed with Ed25519 (RFC 8037). One form is accepted and no
other; RFC 8725 (JWT best current practices) says why. This module decides from bytes and the time it is given; it
fetches nothing, keeps nothing, and may not write a token into an error.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jupyter_hpcsec.errors import Refused

ALGORITHM = "EdDSA"
TYPE = "hpcsec-job+jwt"
TOKEN_LIMIT = 2048
"""Characters; a token of the longest issuer and audience is far below."""
LIFE_LIMIT_S = 31 * 24 * 3600
"""Seconds from ``nbf`` to ``exp``: longer than that no job waits in a queue."""
TIME_LIMIT = 2**53
"""Times are below this (RFC 8259, 6: integers that every reader of JSON reads alike)."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_ID = re.compile(r"[0-9a-f]{32}")
_HEADER_NAMES = {"alg", "typ", "kid"}
_CLAIM_NAMES = {"iss", "aud", "sub", "jti", "nbf", "exp"}
_JWS = jwt.PyJWS(algorithms=[ALGORITHM])


@dataclass(frozen=True)
class JobClaims:
    """What a token says. ``session`` and ``jti`` are 32 lower-case hex digits; times are whole Unix seconds."""

    issuer: str
    audience: str
    session: str
    jti: str
    not_before: int
    expires: int


@dataclass(frozen=True)
class _Parsed:
    header: dict[str, Any]
    payload: bytes


def mint(key: Ed25519PrivateKey, kid: str, claims: JobClaims) -> str:
    """Sign ``claims``. What :func:`verify` would not accept is not minted: :class:`Refused` says which part."""
    payload = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.session,
        "jti": claims.jti,
        "nbf": claims.not_before,
        "exp": claims.expires,
    }
    data = json.dumps(payload, separators=(",", ":")).encode()
    token = _JWS.encode(data, key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": kid})
    verify(
        token,
        {kid: key.public_key()},
        issuer=claims.issuer,
        audience=claims.audience,
        now=claims.not_before,
    )
    return token


def verify(
    token: str, keys: Mapping[str, Ed25519PublicKey], *, issuer: str, audience: str, now: int, leeway: int = 0
) -> JobClaims:
    """Accept ``token`` or raise :class:`Refused` (``token.<why>``), whatever it is made of.

    ``keys`` maps a key's id to the key; ``now`` is in Unix seconds; ``leeway`` (seconds) widens both ends of the
    validity. The caller still owes: that ``jti`` is unused and that the session waits.
    """
    # 1. to 5. size, three segments, canonical base64url, and a header of exactly three names.
    parsed = _parse(token)
    # 6. The algorithm is ours, whatever the header would like (RFC 8725, 3.1): one constant, compared exactly.
    if parsed.header["alg"] != ALGORITHM:
        raise Refused("token.algorithm", f"the token is not signed with {ALGORITHM}")
    # 7. Explicit typing (RFC 8725, 3.11): no other JWT signed by the same key passes for a job token.
    if parsed.header["typ"] != TYPE:
        raise Refused("token.type", f"the token's type is not {TYPE}")
    # 8. The key id selects from a table and is used for nothing else (RFC 8725, 3.10).
    kid = parsed.header["kid"]
    if not _ID.fullmatch(kid) or kid not in keys:
        raise Refused("token.key", "the token names a key that this gateway does not have")
    # 9. The signature, over the exact bytes received.
    _check_signature(token, keys[kid])
    # 10. The claims: exactly ours, each of its own type.
    claims = _claims(parsed.payload)
    # 11. Made by this gateway, for this gateway.
    if claims.issuer != issuer:
        raise Refused("token.issuer", "the token was issued by another gateway")
    if claims.audience != audience:
        raise Refused("token.audience", "the token is meant for another gateway")
    # 12. Now.
    if now + leeway < claims.not_before:
        raise Refused("token.not-yet-valid", "the token is not valid yet; compare the clocks of gateway and hub")
    if now - leeway >= claims.expires:
        raise Refused("token.expired", "the token has expired; start the server again")
    return claims


def unverified_session(token: str) -> str:
    """Return the session that ``token`` names, for its holder on the node, who has no key to verify it with.

    Nothing may be decided by the answer. Raises :class:`Refused` where the token has not the one accepted form.
    """
    return _claims(_parse(token).payload).session


def _parse(token: object) -> _Parsed:
    """Steps 1 to 5 of :func:`verify`: everything about the form that needs no key."""
    # 1. There is one, and it is small.
    if not isinstance(token, str) or not token:
        raise Refused("token.missing", "no token was given")
    if len(token) > TOKEN_LIMIT:
        raise Refused("token.size", f"the token is longer than {TOKEN_LIMIT} characters")
    # 2. Compact serialisation (RFC 7515, 7.1): three segments, none of them empty.
    segments = token.split(".")
    if len(segments) != 3:
        raise Refused("token.form", "the token does not consist of three segments")
    # 3. Each segment is canonical: one spelling for each token.
    header_bytes, payload, _ = (_decode_segment(segment) for segment in segments)
    # 4. The header is one JSON object without repeated names.
    header = _json_object(header_bytes, "header")
    # 5. Exactly three names: jku, x5u, x5c, jwk, crit, zip and all that is yet to be invented are refused unread.
    if set(header) != _HEADER_NAMES:
        raise Refused("token.header", "the token's header must hold alg, typ and kid, and nothing else")
    if not all(type(value) is str for value in header.values()):
        raise Refused("token.header", "the token's header must hold strings only")
    return _Parsed(header, payload)


def _decode_segment(segment: str) -> bytes:
    """Decode unpadded base64url (RFC 4648, 5) and refuse every other spelling of the same bytes."""
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise Refused("token.encoding", "a segment of the token is not unpadded base64url")
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise Refused("token.encoding", "a segment of the token is not in canonical base64url")
    return data


def _json_object(data: bytes, part: str) -> dict[str, Any]:
    """Parse one JSON object; a name that stands twice, anywhere in it, is refused (RFC 8725, 2.4), and so is NaN."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("token.json", f"the token's {part} is not plain JSON") from error
    if not isinstance(value, dict):
        raise Refused("token.json", f"the token's {part} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise Refused("token.duplicate", "the token holds a name twice")
    return names


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_signature(token: str, key: Ed25519PublicKey) -> None:
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("token.key", "the token names a key that is not for tokens")
    try:
        _JWS.decode(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError as error:
        raise Refused("token.signature", "the token's signature is not ours") from error


def _claims(payload: bytes) -> JobClaims:
    claims = _json_object(payload, "payload")
    if set(claims) != _CLAIM_NAMES:
        raise Refused("token.claims", "the token's claims are not exactly iss, aud, sub, jti, nbf and exp")
    for name in ("iss", "aud", "sub", "jti"):
        if type(claims[name]) is not str or not claims[name]:
            raise Refused("token.claims", f"the token's {name} is not a string")
    for name in ("sub", "jti"):
        if not _ID.fullmatch(claims[name]):
            raise Refused("token.claims", f"the token's {name} is not 32 hexadecimal digits")
    for name in ("nbf", "exp"):
        # bool is an int to isinstance(), and 1e9 is a float: only a plain integer is a time here.
        if type(claims[name]) is not int or not 0 <= claims[name] < TIME_LIMIT:
            raise Refused("token.time", f"the token's {name} is not a time in whole seconds")
    if not 0 < claims["exp"] - claims["nbf"] <= LIFE_LIMIT_S:
        raise Refused("token.life", f"the token's life is not between 1 and {LIFE_LIMIT_S} seconds")
    return JobClaims(claims["iss"], claims["aud"], claims["sub"], claims["jti"], claims["nbf"], claims["exp"])
