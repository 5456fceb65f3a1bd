"""Cosignatures: a witness's word that it saw a log grow consistently (c2sp.org/tlog-cosignature, Ed25519). Pure."""

import base64
from dataclasses import dataclass
from typing import ClassVar

from jupyter_hpcsec.audit.notes import Checkpoint, Signer, Verifier, open_checkpoint, open_note

COSIGNATURE = b"\x04"
"""The signature type of cosignature/v1 with Ed25519."""
_TIME_SIZE = 8
_SIZE = _TIME_SIZE + 64
TIME_LIMIT = 1 << 63


def _message(text: bytes, time: int) -> bytes:
    """What is signed: two lines, then the whole text of the checkpoint."""
    return b"cosignature/v1\ntime %d\n" % time + text


@dataclass(frozen=True)
class WitnessKey(Verifier):
    """A witness's public key. Its signatures hold the time, eight bytes, before those of Ed25519."""

    kind: ClassVar[bytes] = COSIGNATURE

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether this witness cosigned ``text``."""
        time = int.from_bytes(signature[:_TIME_SIZE], "big")
        if len(signature) != _SIZE or time >= TIME_LIMIT:
            return False
        return super().verify(_message(text, time), signature[_TIME_SIZE:])


class Cosigner(Signer):
    """A witness's private key."""

    verified_by: ClassVar[type[Verifier]] = WitnessKey

    def cosign(self, note: bytes, text: str, time: int) -> bytes:
        """A verified checkpoint's note, ``text`` its text, with a cosignature of this Unix time added to it."""
        signature = time.to_bytes(_TIME_SIZE, "big") + self._key.sign(_message(text.encode(), time))
        return note + self._line(signature)


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint that a witness cosigned, and when (Unix seconds)."""

    checkpoint: Checkpoint
    time: int


def open_cosigned(note: bytes, log: Verifier, witness: WitnessKey) -> Cosigned:
    """The checkpoint in a note that both signed; ``Malformed`` or ``Refused`` for anything else."""
    checkpoint = open_checkpoint(note, log, log.name)
    open_note(note, [witness])
    for line in reversed(note.decode().splitlines()):
        _, name, encoded = line.split(" ", 2)
        data = base64.b64decode(encoded)
        if name == witness.name and data[:4] == witness.key_id:
            return Cosigned(checkpoint, int.from_bytes(data[4 : 4 + _TIME_SIZE], "big"))
    raise ValueError("BUG: a cosignature that was verified is not there")
