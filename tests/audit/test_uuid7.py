"""UUIDs of version 7: the RFC's layout, rising order, and a clock that steps."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.uuid7 import STEP_LIMIT_MS, Uuid7

DAY_NS = 86_400 * 10**9
NOW = 1_645_557_742_000 * 10**6


def test_the_layout_of_the_rfc() -> None:
    made = Uuid7(lambda n: b"\xff" * n).make(NOW)  # the time of RFC 9562, appendix A.6
    assert made.startswith("017f22e2-79b0-7")
    parsed = uuid.UUID(made)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


@given(st.lists(st.integers(-STEP_LIMIT_MS + 1, 5), min_size=2, max_size=200))
def test_rising_while_the_clock_trembles(steps: list[int]) -> None:
    maker = Uuid7(lambda n: bytes(n))
    highest, made = NOW, []
    for step in steps:
        made.append(maker.make(highest + step * 10**6))
        highest = max(highest, highest + step * 10**6)
    assert made == sorted(set(made))


def test_five_thousand_in_one_millisecond_are_different_and_rise() -> None:
    maker = Uuid7(lambda n: b"\x00" * n)
    made = [maker.make(NOW) for _ in range(5000)]
    assert made == sorted(set(made))


def test_a_clock_set_back_a_day_is_followed() -> None:
    maker = Uuid7(lambda n: bytes(n))
    late = maker.make(NOW)
    early = maker.make(NOW - DAY_NS)
    assert early < late
    assert maker.make(NOW - DAY_NS) > early
