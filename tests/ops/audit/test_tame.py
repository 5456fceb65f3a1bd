"""What a terminal showed can be shown again: it draws, and does nothing else."""

import random

import pytest

from jupyter_hpcsec.ops.audit.tame import HELD_LIMIT, Tame


@pytest.mark.parametrize(
    "evil",
    [
        "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_apc\x1b\\", "\x1b^pm\x1b\\",
        "\x1bXsos\x1b\\", "\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b[5i", "\x1b[21t", "\x1b[?1000h", "\x1b[?2004h",
        "\x1b[4h", "\x1b[20h", "\x1b[!p",
        "\x1bc", "\x1bZ", "\x1b(0", "\x1b#8", "\x1b%G", "\x1b[2 q", "\x1b[?6n", "\x1b[>4;2m", "\x1b[?1J",
    ],
)  # fmt: skip
def test_what_does_more_than_draw_is_left_out(evil: str) -> None:
    assert Tame().feed(f"a{evil}b") == "ab"
    for cut in range(1, len(evil)):
        tame = Tame()
        assert tame.feed(f"a{evil[:cut]}") + tame.feed(f"{evil[cut:]}b") == "ab"


@pytest.mark.parametrize(
    "good", ["\x1b[1;31m", "\x1b[2J", "\x1b[10;20H", "\x1b[?25l", "\x1b[?1049h", "\x1b7", "\x1bM", "\x1b[K"]
)
def test_what_draws_stays(good: str) -> None:
    assert Tame().feed(f"a{good}b\r\n\t\b") == f"a{good}b\r\n\t\b"


def test_what_is_no_text_is_written_out() -> None:
    assert Tame().feed("\x07\x00\u202e\x9b6n") == "^G^@\\u202e\\u009b6n"


def test_a_sequence_without_an_end_is_not_waited_for_for_ever() -> None:
    tame = Tame()
    assert tame.feed("\x1b]0;" + "x" * 10) == ""
    shown = tame.feed("y" * HELD_LIMIT)
    assert "\x1b" not in shown and shown.startswith("^[]0;x")


def test_whatever_comes_no_escape_stays_that_was_not_allowed() -> None:
    dice = random.Random(5)  # noqa: S311 - a test
    alphabet = "\x1b[]();?0123456789ABcHJhlmnqt\x07\\P^_ a\r\n\x9c"
    for _ in range(2000):
        tame = Tame()
        text = "".join(dice.choice(alphabet) for _ in range(60))
        parts = [text[:20], text[20:40], text[40:]]
        shown = "".join(tame.feed(part) for part in parts)
        assert Tame().feed(shown) == shown, "what is tame stays as it is"
        assert not set("\x07\x9c") & set(shown)
