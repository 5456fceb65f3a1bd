"""When the next certificate is asked for: not too early, not twice, and to the session's last minute."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.tunnel.renewal import LAST_RENEWAL_S, Renewal

NOW = 1_800_000_000


def issued(life_s: int, left_s: int) -> Renewal:
    """A certificate of ``life_s`` in a session that goes on for ``left_s``."""
    renewal = Renewal()
    renewal.issued(NOW, not_after=NOW + life_s, ends_at=NOW + left_s)
    return renewal


def test_half_of_the_life_is_not_over_yet() -> None:
    renewal = issued(3600, 86400)
    assert not renewal.is_due(NOW + 1799)
    assert renewal.is_due(NOW + 1800)


def test_what_was_asked_is_not_asked_again_before_the_answer() -> None:
    renewal = issued(3600, 86400)
    assert renewal.is_due(NOW + 1800)
    assert not renewal.is_due(NOW + 1801)
    renewal.issued(NOW + 1802, not_after=NOW + 1802, ends_at=NOW + 86400)
    assert renewal.is_due(NOW + 1802), "an answer makes room for the next question, however short its life"


def test_a_lost_connection_takes_the_question_with_it() -> None:
    renewal = issued(3600, 86400)
    assert renewal.is_due(NOW + 1800)
    renewal.reconnected()
    assert renewal.is_due(NOW + 1801)


@given(life_s=st.integers(0, 3600))
def test_a_session_that_is_not_extended_is_asked_for_ever_nearer_its_end_and_not_too_often(life_s: int) -> None:
    renewal, ends_at, asked = issued(life_s, life_s), NOW + life_s, [float(NOW)]
    while renewal.due_at < ends_at:
        assert renewal.is_due(renewal.due_at)
        asked.append(renewal.due_at)
        renewal.issued(renewal.due_at, not_after=ends_at, ends_at=ends_at)
    assert ends_at - asked[-1] <= 2 * LAST_RENEWAL_S, "time that was given until then is noticed"
    assert all(later - earlier >= LAST_RENEWAL_S for earlier, later in itertools.pairwise(asked))


def test_a_session_that_was_extended_is_as_any_other() -> None:
    renewal = issued(100, 100)
    renewal.issued(NOW + 60, not_after=NOW + 3660, ends_at=NOW + 7200)
    assert renewal.due_at == NOW + 1860
