"""The headers of resumable uploads, as values. Pure.

The protocol is tus 1.0.0 (https://tus.io/protocols/resumable-upload) with its extensions creation, checksum,
expiration and termination. What tus has no word for, the SHA-256 of the whole file, is RFC 9530's ``Repr-Digest``.
Only one spelling of each value is taken; everything else is ``Malformed``.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from jupyter_hpcsec.errors import Malformed

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
CHECKSUMS = "sha256"
SIZE_LIMIT = 2**40
"""Bytes of one file."""
PIECE_LIMIT = 64 * 2**20
"""Bytes of one PATCH."""
CONTENT_TYPE = "application/offset+octet-stream"
CHECKSUM_MISMATCH = 460
"""tus's own status: the piece is not what its checksum says, and was thrown away."""
_NUMBER = re.compile("0|[1-9][0-9]{0,15}")
_ID = re.compile("[0-9a-f]{32}")
_REPR_DIGEST = re.compile("sha-256=:([A-Za-z0-9+/]{43}=):")
_CHECKSUM = re.compile("sha256 ([A-Za-z0-9+/]{43}=)")


@dataclass(frozen=True)
class Piece:
    """A PATCH: which bytes of which upload, the SHA-256 of these bytes, and at the end that of the whole file."""

    upload: str
    offset: int
    size: int
    checksum: bytes | None
    whole: bytes | None


def number(name: str, text: str | None, limit: int = SIZE_LIMIT) -> int:
    """A header that is a count of bytes."""
    if text is None or not _NUMBER.fullmatch(text) or int(text) > limit:
        raise Malformed(f"{name} has to be a whole number from 0 to {limit}.")
    return int(text)


def upload_id(text: str) -> str:
    """The ``upload`` of a query."""
    if not _ID.fullmatch(text):
        raise Malformed("The address names no upload.")
    return text


def _sha256(pattern: re.Pattern[str], name: str, form: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    found = pattern.fullmatch(text)
    try:
        digest = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        digest = b""
    if found is None or len(digest) != 32 or base64.b64encode(digest).decode() != found[1]:
        raise Malformed(f"{name} has to be {form}.")
    return digest


def checksum(text: str | None) -> bytes | None:
    """``Upload-Checksum``."""
    return _sha256(_CHECKSUM, "Upload-Checksum", "sha256 and a SHA-256 in base64", text)


def repr_digest(text: str | None) -> bytes | None:
    """``Repr-Digest`` with SHA-256 and nothing else."""
    return _sha256(_REPR_DIGEST, "Repr-Digest", "sha-256=:…: with a SHA-256 in base64", text)


def show_repr_digest(digest: bytes) -> str:
    """The value of a ``Repr-Digest``."""
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def http_date(at: float) -> str:
    """Unix seconds as HTTP has them (RFC 9110, 5.6.7)."""
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)
