"""What the report promises: red decides, unknown is never green, every fault names its fix."""

import pytest

from jupyter_hpcsec.ops.doctor.finding import Finding, Status, as_text, as_values, bad, holds, ok, unknown, warn

ALL = [
    ok("port", "reachable"),
    warn("munge", "old", "renew"),
    bad("tls", "broken", "mend"),
    unknown("clock", "?", "ask"),
]


@pytest.mark.parametrize("status", [Status.WARN, Status.BAD, Status.UNKNOWN])
def test_a_fault_without_a_fix_is_a_bug(status: Status) -> None:
    with pytest.raises(ValueError, match="BUG"):
        Finding("tls", status, "broken")


def test_one_red_line_decides() -> None:
    assert not holds(ALL)
    assert not holds([bad("tls", "broken", "mend")])


def test_nothing_looked_at_does_not_hold() -> None:
    assert not holds([])


def test_yellow_and_unknown_do_not_fail() -> None:
    assert holds([finding for finding in ALL if finding.status is not Status.BAD])


def test_text_shows_each_hop_with_its_fix_and_no_colour_codes() -> None:
    text = as_text("doctor", ALL, colour=False)
    assert "\x1b" not in text
    assert "FAIL  tls    broken" in text
    assert "fix: mend" in text
    assert text.endswith("1 ok, 1 warnings, 1 failed, 1 could not be checked")


def test_colour_marks_red_and_green_apart() -> None:
    text = as_text("doctor", ALL, colour=True)
    assert "\x1b[32mok" in text
    assert "\x1b[1;31mFAIL" in text


def test_values_for_programs() -> None:
    values = as_values("hub", ALL)
    assert values["ok"] is False
    assert values["side"] == "hub"
    assert values["findings"][2] == {"hop": "tls", "status": "bad", "what": "broken", "fix": "mend"}  # type: ignore[index]
