"""Reasons are bounded and printable, whatever a peer put into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import REASON_LIMIT, HpcsecError, Malformed, Refused, Unavailable


@given(st.text(max_size=3 * REASON_LIMIT))
def test_reason_is_bounded_and_printable(text: str) -> None:
    reason = HpcsecError(text).reason
    assert len(reason) <= REASON_LIMIT
    assert reason.isprintable()


def test_refusal_names_its_rule() -> None:
    refusal = Refused("token.expired", "the token expired; start the server again")
    assert refusal.rule == "token.expired"
    assert str(refusal) == "the token expired; start the server again [token.expired]"


@pytest.mark.parametrize("kind", [Malformed, Unavailable])
def test_kinds_share_the_base(kind: type[HpcsecError]) -> None:
    assert isinstance(kind("no"), HpcsecError)
