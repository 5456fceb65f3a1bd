"""Where a server's websocket stands between two messages, however its bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.boundary import FRAMES_LIMIT, Boundary
from tests.audit.tap.feeding import frame, pieces

WHOLE = frame(1, b"a" * 300, mask=b"") + frame(2, b"", mask=b"") + frame(2, b"b" * 70_000, mask=b"", rsv1=True)


@pytest.mark.parametrize(
    "data",
    [
        frame(1, b"abc", mask=b"")[:1],
        frame(1, b"abc", mask=b"")[:2],
        frame(1, b"abc", mask=b"")[:-1],
        frame(1, b"a" * 200, mask=b"")[:3],
        frame(1, b"abc", mask=b"", fin=False),
        frame(1, b"abc", mask=b"", fin=False) + frame(9, b"ping", mask=b""),
        frame(8, b"", mask=b""),
        frame(1, b"abc"),
    ],
    ids=["head", "length", "payload", "long length", "fragment", "ping within", "closed", "masked"],
)
def test_no_word_fits_in(data: bytes) -> None:
    boundary = Boundary()
    boundary.feed(memoryview(WHOLE + data))
    assert not boundary.is_between


@given(st.lists(st.integers(0, 71_000), max_size=20))
def test_between_messages_in_whatever_pieces(cuts: list[int]) -> None:
    boundary = Boundary()
    assert boundary.is_between
    data = WHOLE + frame(1, b"c", mask=b"", fin=False) + frame(10, b"", mask=b"") + frame(0, b"d", mask=b"")
    for piece in pieces(data, cuts):
        boundary.feed(piece)
    assert boundary.is_between


def test_a_flood_of_tiny_frames_is_not_followed() -> None:
    for count, is_between in ((FRAMES_LIMIT, True), (FRAMES_LIMIT + 1, False)):
        boundary = Boundary()
        boundary.feed(memoryview(frame(1, b"", mask=b"") * count))
        boundary.feed(memoryview(frame(1, b"x", mask=b"")))
        assert boundary.is_between is is_between
