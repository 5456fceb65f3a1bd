"""Tokens of any form, truly signed: for tests of what refuses them."""

import base64
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.identity.tokens import (
    JobClaims,
    mint,
    verify,
)

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://hub.example.org", "gateway.example.org"
KID = "0123456789abcdef0123456789abcdef"
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
KEYS = {KID: PUBLIC}
CLAIMS = JobClaims(ISSUER, AUDIENCE, "a" * 32, "b" * 32, NOW, NOW + 3600)
HEADER = {"alg": "EdDSA", "typ": "hpcsec-job+jwt", "kid": KID}
PAYLOAD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a" * 32, "jti": "b" * 32, "nbf": NOW, "exp": NOW + 3600}
TOKEN = mint(KEY, KID, CLAIMS)

NO_CLOCK: Any = {"verify_exp": False, "verify_nbf": False}
"""PyJWT asks the computer's clock, which is not this test's."""

Signer = Callable[[bytes], bytes]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: object, payload: object, sign: Signer = KEY.sign) -> str:
    """A token with any header and payload (bytes are taken as they are), truly signed: only the form is wrong."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(b64(part) for part in parts)
    return f"{signed}.{b64(sign(signed.encode()))}"


def accept(token: Any, keys: Mapping[str, Ed25519PublicKey] = KEYS, now: int = NOW, leeway: int = 0) -> JobClaims:
    return verify(token, keys, issuer=ISSUER, audience=AUDIENCE, now=now, leeway=leeway)


def refusal(token: Any, **kwargs: Any) -> str:
    with pytest.raises(Refused) as caught:
        accept(token, **kwargs)
    rule = caught.value.rule
    assert rule.startswith("token.")
    return rule.removeprefix("token.")


def naive_decode(token: str, key: Any) -> dict[str, Any]:
    """What a careless service does: the algorithm comes from the token, and PyJWT's defaults do the rest."""
    algorithm = jwt.get_unverified_header(token)["alg"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER, options=NO_CLOCK
        )
    return claims


def text(pairs: Mapping[str, object]) -> str:
    """Name and value pairs as JSON, without the braces."""
    return ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs.items())
