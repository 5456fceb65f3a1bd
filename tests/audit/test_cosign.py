"""Cosignatures, by the specification's own words and example."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jupyter_hpcsec.audit.cosign import Cosigner, WitnessKey, open_cosigned
from jupyter_hpcsec.audit.notes import Checkpoint, Signer, Verifier, open_note, sign_checkpoint
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused

LOG = Signer.make("test.example/audit")
WITNESS = Cosigner.make("witness.example/w1")
CHECKPOINT = Checkpoint("test.example/audit", 7, bytes(32))
NOTE = sign_checkpoint(LOG, CHECKPOINT)


def key(witness: Cosigner) -> WitnessKey:
    assert isinstance(witness.verifier, WitnessKey)
    return witness.verifier


def test_it_is_what_the_specification_says() -> None:
    note = WITNESS.cosign(NOTE, CHECKPOINT.text(), 1679315147)
    line = note.decode().splitlines()[-1]
    dash, name, encoded = line.split(" ")
    data = base64.b64decode(encoded)
    assert (dash, name, len(data)) == ("—", "witness.example/w1", 4 + 8 + 64)
    public = key(WITNESS).public
    assert data[:4] == hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    assert int.from_bytes(data[4:12], "big") == 1679315147
    message = b"cosignature/v1\ntime 1679315147\n" + CHECKPOINT.text().encode()
    Ed25519PublicKey.from_public_bytes(public).verify(data[12:], message)


def test_a_checkpoint_that_both_signed() -> None:
    note = WITNESS.cosign(NOTE, CHECKPOINT.text(), 12345)
    found = open_cosigned(note, LOG.verifier, WitnessKey.parse(str(WITNESS.verifier)))
    assert (found.checkpoint, found.time) == (CHECKPOINT, 12345)
    # who knows only one of them takes it too
    assert open_note(note, [LOG.verifier]) == open_note(note, [WITNESS.verifier]) == CHECKPOINT.text()


def test_what_is_no_cosignature_is_refused() -> None:
    note = WITNESS.cosign(NOTE, CHECKPOINT.text(), 12345)
    with pytest.raises(Refused, match="no key that is trusted"):
        open_cosigned(NOTE, LOG.verifier, key(WITNESS))
    with pytest.raises(Refused, match="no key that is trusted"):
        open_cosigned(note, LOG.verifier, key(Cosigner.make("witness.example/w1")))
    with pytest.raises(Refused, match="no key that is trusted"):
        open_cosigned(note, Signer.make("test.example/audit").verifier, key(WITNESS))
    with pytest.raises(Refused, match="does not hold"):  # of another checkpoint
        open_cosigned(WITNESS.cosign(NOTE, CHECKPOINT.text().replace("7", "8"), 1), LOG.verifier, key(WITNESS))


def test_every_bit_of_the_line_counts() -> None:
    note = WITNESS.cosign(NOTE, CHECKPOINT.text(), 12345)
    start = note.rindex("—".encode())
    for bit in range(start * 8, len(note) * 8):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(HpcsecError):
            open_cosigned(bytes(changed), LOG.verifier, key(WITNESS))


def test_keys_are_not_taken_for_each_other() -> None:
    with pytest.raises(Malformed, match="another kind"):
        Verifier.parse(str(WITNESS.verifier))
    with pytest.raises(Malformed, match="another kind"):
        WitnessKey.parse(str(LOG.verifier))
    with pytest.raises(Malformed, match="another kind"):
        Signer.parse(WITNESS.secret())
    assert Cosigner.parse(WITNESS.secret()).verifier == WITNESS.verifier


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(71), bytes(73), b"\xff" * 72])
def test_signatures_of_another_form(signature: bytes) -> None:
    assert not key(WITNESS).verify(b"x\n", signature)
