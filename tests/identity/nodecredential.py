"""An ``unmunge`` for tests that prints what a credential says of itself: who can write one decides the test."""

import base64
import time
from pathlib import Path


def fake_unmunge(directory: Path) -> str:
    path = directory / "unmunge"
    path.write_text('#!/bin/sh\nsed -e "s/^MUNGE://" -e "s/:$//" | base64 -d\n')
    path.chmod(0o755)
    return str(path)


def credential(payload: bytes, *, uid: int = 0, host: str = "127.0.0.1", age_s: int = 0, now: int | None = None) -> str:
    at = (int(time.time()) if now is None else now) - age_s
    head = (
        f"STATUS: 0\nENCODE_HOST: {host}\nENCODE_TIME: {at}\nDECODE_TIME: {at}\nTTL: 120\nCIPHER: 4\nMAC: 5\nZIP: 0\n"
        f"UID: {uid}\nGID: {uid}\nLENGTH: {len(payload)}\n\n"
    )
    return f"MUNGE:{base64.b64encode(head.encode() + payload).decode()}:"
