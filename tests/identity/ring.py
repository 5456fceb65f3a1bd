"""A key ring for tests, and what it signs and accepts."""

import json
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.tokens import JobClaims, mint, verify

NOW = 1_800_000_000
LIFE = 86400
DOMAIN = "hpc.example.org"


def open_ring(directory: Path, now: int = NOW, life: int = LIFE) -> KeyRing:
    return KeyRing.open(directory, now=now, trust_domain=DOMAIN, token_life_s=life)


def index(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "ring.json").read_bytes())
    return found


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def token(ring: KeyRing, issued: int, life: int = LIFE) -> str:
    kid, key = ring.signing_key()
    return mint(key, kid, JobClaims("i", "a", "a" * 32, "b" * 32, issued, issued + life))


def accepts(ring: KeyRing, text: str, now: int) -> bool:
    try:
        verify(text, ring.verification_keys(now), issuer="i", audience="a", now=now)
    except Refused as refused:
        assert refused.rule in {"token.key", "token.expired"}  # noqa: PT017
        return False
    return True
