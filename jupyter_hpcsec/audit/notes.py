"""Signed notes and checkpoints as C2SP writes them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), with Ed25519.

Only the canonical encoding is accepted, sizes are capped first. Text of a note whose signature was not verified leaves
this module nowhere. Keys are written as Go's ``golang.org/x/mod/sumdb/note`` writes them, so that its tools read them.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jupyter_hpcsec.audit.merkle import HASH_SIZE
from jupyter_hpcsec.errors import Malformed, Refused

NOTE_LIMIT = 64 * 1024
SIGNATURES_LIMIT = 64
SIZE_LIMIT = 1 << 63
ED25519 = b"\x01"
"""The signature type of signed-note."""

_NAME = re.compile(r"[^\s+]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_PRIVATE = "PRIVATE+KEY"


def check_name(name: str) -> str:
    """A key name or an origin; ``Malformed`` for what signed-note does not allow."""
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise Malformed("a key's name has 1 to 255 printable characters, no space and no plus")
    return name


def _base64(text: str) -> bytes:
    """Canonical standard base64 (RFC 4648, section 4), nothing else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Malformed("this is no base64") from exc
    if base64.b64encode(data).decode() != text:
        raise Malformed("this base64 is not in its one canonical form")
    return data


@dataclass(frozen=True)
class Verifier:
    """A public key with its name: what verifies notes."""

    name: str
    public: bytes
    kind: ClassVar[bytes] = ED25519

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || kind || key)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.kind + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.kind + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name+id+base64``; ``Malformed`` for any other form."""
        if len(text) > NOTE_LIMIT:
            raise Malformed("a verifier key is shorter than this")
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _base64(encoded)
        if len(data) != 1 + HASH_SIZE or data[:1] != cls.kind:
            raise Malformed("a verifier key for another kind of signature than is wanted here")
        verifier = cls(check_name(name), data[1:])
        if verifier.key_id.hex() != key_id:
            raise Malformed("a verifier key whose id is not that of its key")
        return verifier

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether this key signed ``text``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key with its name."""

    verified_by: ClassVar[type[Verifier]] = Verifier

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = self.verified_by(check_name(name), key.public_key().public_bytes_raw())

    @classmethod
    def make(cls, name: str) -> Self:
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``secret`` wrote; ``Malformed`` for any other form, without quoting it."""
        parts = text.split("+", 4)
        if len(text) > 1024 or len(parts) != 5 or "+".join(parts[:2]) != _PRIVATE:
            raise Malformed("this is no private key of a note's signer")
        data = _base64(parts[4])
        if len(data) != 1 + HASH_SIZE or data[:1] != cls.verified_by.kind:
            raise Malformed("a signer's key for another kind of signature than is wanted here")
        signer = cls(parts[2], Ed25519PrivateKey.from_private_bytes(data[1:]))
        if signer.verifier.key_id.hex() != parts[3]:
            raise Malformed("a signer's key whose id is not that of its key")
        return signer

    def secret(self) -> str:
        """The private key as text: for its file and nothing else."""
        encoded = base64.b64encode(self.verifier.kind + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}+{self.verifier.name}+{self.verifier.key_id.hex()}+{encoded}"

    def sign(self, text: str) -> bytes:
        """A signed note over ``text``, which ends with a newline and has no other control character."""
        data = _checked_text(text)
        return data + b"\n" + self._line(self._key.sign(data))

    def _line(self, signature: bytes) -> bytes:
        encoded = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"— {self.verifier.name} {encoded}\n".encode()


def _checked_text(text: str) -> bytes:
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise ValueError("BUG: a note's text ends with a newline and has no other control character")
    return text.encode()


def open_note(note: bytes, verifiers: Sequence[Verifier]) -> str:
    """The text of a note that one of ``verifiers`` signed, and none of them signed wrongly.

    ``Malformed`` for what is no note, ``Refused("note.…")`` for one that no known key signed or one signed wrongly.
    """
    # 1. Size, UTF-8, control characters.
    if len(note) > NOTE_LIMIT:
        raise Malformed(f"a signed note is not longer than {NOTE_LIMIT} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Malformed("a signed note is UTF-8") from exc
    if any(c < " " and c != "\n" for c in whole):
        raise Malformed("a signed note has no control characters")
    # 2. The last empty line parts the text from the signatures.
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Malformed("a signed note has a text, an empty line and signatures")
    text += "\n"
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_LIMIT:
        raise Malformed(f"a signed note has at most {SIGNATURES_LIMIT} signatures")
    # 3. Every line is a signature; those of known keys have to hold, and there has to be one.
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed = False
    for line in lines:
        found = _SIGNATURE.fullmatch(line)
        if not found:
            raise Malformed("a signature line of a note is not in its form")
        data = _base64(found[2])
        verifier = known.get((found[1], data[:4]))
        if verifier is None:
            continue
        if not verifier.verify(text.encode(), data[4:]):
            raise Refused("note.signature", f"the signature by {verifier.name} does not hold")
        signed = True
    if not signed:
        raise Refused("note.unsigned", "no key that is trusted here signed this note")
    return text


@dataclass(frozen=True)
class Checkpoint:
    """A tree's head: ``size`` leaves and their root, under an origin that names the log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str, origin: str) -> "Checkpoint":
        """Read a verified note's text. Extension lines are refused: nothing here writes any."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise Malformed("a checkpoint of this log has three lines")
        if lines[0] != origin:
            raise Refused("checkpoint.origin", "the checkpoint is that of another log")
        root = _base64(lines[2])
        if not _SIZE.fullmatch(lines[1]) or int(lines[1]) >= SIZE_LIMIT or len(root) != HASH_SIZE:
            raise Malformed("a checkpoint's size or root is not in its form")
        return cls(origin, int(lines[1]), root)


def sign_checkpoint(signer: Signer, checkpoint: Checkpoint) -> bytes:
    """The signed note of a checkpoint. The caller owes that it is consistent with every one signed before."""
    return signer.sign(checkpoint.text())


def open_checkpoint(note: bytes, verifier: Verifier, origin: str) -> Checkpoint:
    """The checkpoint in a note that ``verifier`` signed; ``Malformed`` or ``Refused`` for anything else."""
    return Checkpoint.parse(open_note(note, [verifier]), origin)
