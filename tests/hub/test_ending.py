"""Why a session ended, in a sentence; what the state of a spawner may hold of it."""

from typing import Any

import pytest

from jupyter_hpcsec.hub.ending import REASON_LIMIT, Ended


@pytest.mark.parametrize("value", [None, "x", {}, {"reason": 1}, {"by": "staff"}, []])
def test_what_is_no_ending_is_none(value: Any) -> None:
    assert Ended.from_state(value) is None


def test_nobody_else_is_named_and_no_control_character_is_shown() -> None:
    ended = Ended.of("a\nleak\x1b[31m" + "x" * 1000, "root")
    assert ended.by == "" and ended.sentence.startswith("Your session was ended: a leak")
    assert ended.sentence.isprintable() and len(ended.reason) == REASON_LIMIT


def test_it_survives_in_the_state() -> None:
    ended = Ended.of("please call security", "staff")
    assert Ended.from_state(ended.to_state()) == ended
    assert ended.sentence == "Your session was ended by this site's staff: please call security"
    assert Ended.of("", "gateway").sentence == "Your session has ended: no reason was given"
