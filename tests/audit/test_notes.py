"""Notes against the vector of Go's note package; every other byte is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Signer, Verifier, open_checkpoint, open_note
from jupyter_hpcsec.audit.notes import sign_checkpoint as sign
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused

# The example of golang.org/x/mod/sumdb/note.
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT + "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

SIGNER = Signer.make("test.example/audit")
CHECKPOINT = Checkpoint("test.example/audit", 3, bytes(range(32)))
SIGNED = sign(SIGNER, CHECKPOINT)


def test_the_vector_of_go() -> None:
    assert Signer.parse(SECRET).sign(TEXT) == NOTE
    assert Signer.parse(SECRET).secret() == SECRET
    verifier = Verifier.parse(PUBLIC)
    assert str(verifier) == PUBLIC
    assert open_note(NOTE, [verifier]) == TEXT


def test_a_checkpoint_there_and_back() -> None:
    assert open_checkpoint(SIGNED, SIGNER.verifier, CHECKPOINT.origin) == CHECKPOINT
    assert SIGNED.decode().split("\n")[:3] == [
        "test.example/audit",
        "3",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ]


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(HpcsecError):
        open_checkpoint(bytes(changed), SIGNER.verifier, CHECKPOINT.origin)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(HpcsecError):
        open_note(data, [SIGNER.verifier])


def test_other_peoples_signatures_are_passed_over_but_are_not_enough() -> None:
    witness = Signer.make("witness.example").sign(CHECKPOINT.text()).split(b"\n\n")[1]
    assert open_checkpoint(SIGNED + witness, SIGNER.verifier, CHECKPOINT.origin) == CHECKPOINT
    with pytest.raises(Refused, match="no key that is trusted"):
        open_note(CHECKPOINT.text().encode() + b"\n" + witness, [SIGNER.verifier])


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    wrong = SIGNER.sign("other\n").split(b"\n\n")[1]
    with pytest.raises(Refused, match="does not hold"):
        open_note(SIGNED + wrong, [SIGNER.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "test.example/audit\n03\n{root}\n",
        "test.example/audit\n-1\n{root}\n",
        "test.example/audit\n٣\n{root}\n",
        "test.example/audit\n9999999999999999999\n{root}\n",
        "test.example/audit\n3\nAAAA\n",
        "test.example/audit\n3\n{root}=\n",
        "test.example/audit\n3\n{root}\nextension\n",
        "test.example/audit\n3\n",
        "other.example/audit\n3\n{root}\n",
    ],
)
def test_signed_texts_that_are_no_checkpoint(text: str) -> None:
    root = CHECKPOINT.text().split("\n")[2]
    note = SIGNER.sign(text.format(root=root))
    with pytest.raises((Malformed, Refused)):
        open_checkpoint(note, SIGNER.verifier, CHECKPOINT.origin)


@pytest.mark.parametrize(
    "text",
    [
        PUBLIC.replace("c74f20a3", "c74f20a4"),
        PUBLIC.replace("PeterNeumann", "Peter Neumann"),
        PUBLIC[:-1] + "V",
        PUBLIC.replace("+A", "+B"),
        "",
        "x" * (NOTE_LIMIT + 1),
    ],
)
def test_keys_that_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Verifier.parse(text)


@pytest.mark.parametrize("text", [SECRET[:-1], SECRET + "=", SECRET.replace("c74f", "c74e"), "x", "PRIVATE+KEY+a+b"])
def test_secrets_that_are_refused_are_not_quoted(text: str) -> None:
    with pytest.raises(Malformed) as error:
        Signer.parse(text)
    assert text == "x" or text not in str(error.value)


def test_long_notes_and_control_characters() -> None:
    with pytest.raises(Malformed, match="longer"):
        open_note(b"x" * (NOTE_LIMIT + 1), [])
    with pytest.raises(Malformed, match="control"):
        open_note(NOTE.replace(b"If", b"I\x1bf"), [])
    with pytest.raises(ValueError, match="BUG"):
        SIGNER.sign("no newline")
