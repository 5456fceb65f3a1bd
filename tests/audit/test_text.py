"""Whatever comes in, one bounded printable line comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.text import clean, exact

HOSTILE = ["a\nb", "a\rb", "\x1b[2J", "a\x00b", "\u202eabc", "\u2066x", "\u2028", "\x85", "\u200b", "\ud800", "\x9b31m"]


@pytest.mark.parametrize("text", HOSTILE)
def test_codes_and_line_ends_are_replaced(text: str) -> None:
    assert clean(text, 20).isprintable()
    assert "\ufffd" in clean(text, 20)
    assert exact(text, 40) == text.encode(errors="surrogatepass").hex()


def test_invalid_utf8_is_replaced_and_kept_exactly_beside() -> None:
    assert clean(b"/a/\xff\xfe", 20) == "/a/\ufffd\ufffd"
    assert exact(b"/a/\xff\xfe", 20) == "2f612ffffe"
    assert exact(b"/plain/path", 20) == ""


@given(st.one_of(st.text(max_size=300), st.binary(max_size=1300)), st.integers(1, 50))
def test_bounded_printable_and_idempotent(value: str | bytes, limit: int) -> None:
    shown = clean(value, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert clean(shown, limit) == shown
    shown.encode()


def test_ten_megabytes_are_cut_before_they_are_read() -> None:
    assert clean("\n" * 10_000_000, 10) == "\ufffd" * 9 + "…"
    assert len(clean(b"\xff" * 10_000_000, 10)) == 10


def test_what_people_write_stays() -> None:
    for text in ("Grüße", "日本語", "עברית", "a b", "/data/x (1).ipynb"):
        assert clean(text, 50) == text
        assert exact(text, 50) == ""
