"""The headers of uploads: one spelling of each, whatever else is sent."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.server.transfers import tus


@given(st.text(max_size=50) | st.sampled_from(["-1", "+1", "01", "1_0", "\uff11", "1.0", " 1", "1 ", "", "9" * 17]))
def test_a_number_is_digits_and_within_its_limit(text: str) -> None:
    try:
        found = tus.number("X", text)
    except Malformed:
        return
    assert str(found) == text and 0 <= found <= tus.SIZE_LIMIT


@given(st.binary(min_size=32, max_size=32))
def test_digests_are_read_as_they_are_written(digest: bytes) -> None:
    assert tus.repr_digest(tus.show_repr_digest(digest)) == digest
    assert tus.checksum(f"sha256 {base64.b64encode(digest).decode()}") == digest


@given(st.text(max_size=80))
def test_what_is_no_digest_is_refused(text: str) -> None:
    for read in (tus.checksum, tus.repr_digest, tus.upload_id):
        with pytest.raises(Malformed):
            read(text)


def test_two_spellings_of_one_digest_are_not_both_taken() -> None:
    text = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    loose = text[:-2] + chr(ord(text[-2]) + 1) + "="
    assert base64.b64decode(loose) == base64.b64decode(text)
    for read, form in ((tus.checksum, "sha256 {}"), (tus.repr_digest, "sha-256=:{}:")):
        assert read(form.format(text))
        for wrong in (form.format(loose), form.format(text[:-1]), form.format(text) + " ", form.format(text).upper()):
            with pytest.raises(Malformed):
                read(wrong)
    assert tus.checksum(None) is None and tus.repr_digest(None) is None
    with pytest.raises(Malformed):
        tus.number("X", None)


def test_times_are_as_http_has_them() -> None:
    assert tus.http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
