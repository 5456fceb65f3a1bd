"""What terminals show, on record where outputs are: with its timing, bounded, before the line that is typed next."""

import itertools
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from jupyter_hpcsec.audit.tap.recording import REDACTED, Level, Recording, secrets_pattern
from jupyter_hpcsec.audit.tap.stream import StreamTap
from tests.audit.tap.feeding import Fed, site
from tests.audit.tap.test_stream import agreed, frame, typed, upgrade


class Terminal:
    """One whose clock is ours."""

    def __init__(self, level: Level = Level.OUTPUTS, **recording: Any) -> None:
        self.now = 100.0
        self.fed = Fed(StreamTap(replace(site(level, **recording), clock=lambda: self.now)))
        self.fed.browser(upgrade("/user/alice/terminals/websocket/1")).server(agreed())

    def shows(self, text: str, kind: str = "stdout") -> None:
        self.fed.server(frame(1, json.dumps([kind, text]).encode(), mask=b""))

    def told(self) -> list[list[Any]]:
        return [json.loads(value["output"]) for value in self.fed.values("terminal.output")]


@pytest.mark.parametrize("level", [Level.METADATA, Level.SOURCES])
def test_nothing_is_where_outputs_are_not_recorded(level: Level) -> None:
    terminal = Terminal(level)
    terminal.shows("secret\n")
    terminal.fed.browser(typed("ls\r")).close()
    assert terminal.told() == []


def test_it_is_told_with_its_timing_before_the_line_that_follows() -> None:
    terminal = Terminal()
    terminal.fed.browser(frame(1, b'["set_size", 24, 80, 1, 1]'))
    terminal.shows("$ ")
    terminal.now += 0.25
    terminal.shows("l")
    terminal.shows("ignored", "setup")
    terminal.now += 0.25
    terminal.shows("s")
    terminal.fed.browser(typed("ls\r"))
    assert terminal.told() == [[[500, "$ "], [250, "l"], [0, "s"]]]
    terminal.shows("\r\nfile\r\n$ ")
    terminal.now += 7
    terminal.fed.close()
    assert terminal.told()[1:] == [[[7000, "\r\nfile\r\n$ "]]]
    event = terminal.fed.of("terminal.output")[0]
    assert (event.rows, event.columns, event.truncated, event.terminal) == (24, 80, 0, "1")


def test_what_comes_for_a_while_is_told_by_the_line_meanwhile() -> None:
    terminal = Terminal()
    for number in range(40):
        terminal.shows(f"{number}\n" if number % 2 else f"{number} ")
        terminal.now += 0.1
    assert terminal.told() and all(told[-1][1].endswith("\n") for told in terminal.told())
    terminal.fed.close()
    shown = "".join(text for told in terminal.told() for _, text in told)
    assert shown == "".join(f"{number}\n" if number % 2 else f"{number} " for number in range(40))


def test_a_line_that_never_ends_is_told_too_and_so_much_is_kept_for_each_that_is_typed() -> None:
    terminal = Terminal(output_limit=50_000)
    for _ in range(100):
        terminal.shows("x" * 1000)
    assert len(terminal.told()) >= 2
    terminal.fed.browser(typed("\r"))
    shown = sum(len(text) for told in terminal.told() for _, text in told)
    truncated = sum(event.truncated for event in terminal.fed.of("terminal.output"))
    assert (shown, truncated) == (50_000, 50_000)
    terminal.shows("again")
    terminal.fed.close()
    assert terminal.told()[-1] == [[0, "again"]]


def test_a_secret_is_found_though_it_was_typed_slowly_and_its_neighbours_stay() -> None:
    terminal = Terminal()
    secret = "password=hunter2hunter2"
    for character in f"$ export {secret}":
        terminal.shows(character)
        terminal.now += 2
    terminal.fed.browser(typed(f"export {secret}\r")).close()
    text = "".join(part for told in terminal.told() for _, part in told)
    assert "hunter2" not in text and text == f"$ export {REDACTED}"
    assert sum(event.redacted for event in terminal.fed.of("terminal.output")) == 1


def test_parts_are_redacted_as_the_whole_is() -> None:
    recording, dice = Recording(secrets=secrets_pattern()), random.Random(3)  # noqa: S311 - a test
    text = "a password=hunter2hunter2 b ghp_" + "a" * 40 + " c"
    for _ in range(200):
        cuts = sorted({0, len(text), *(dice.randrange(len(text)) for _ in range(9))})
        parts = [text[start:end] for start, end in itertools.pairwise(cuts)]
        shown, count = recording.redact_parts(parts)
        assert ("".join(shown), count) == (f"a {REDACTED} b {REDACTED} c", 2)
        assert len(shown) == len(parts)


@pytest.mark.parametrize("data", [b"nonsense", b"{}", b"[]", b'["stdout"]'])
def test_what_can_not_be_read_cuts_nothing_and_is_said(data: bytes) -> None:
    terminal = Terminal()
    terminal.shows("before\n")
    terminal.fed.server(frame(1, data, mask=b""))
    terminal.shows("after\n")
    terminal.fed.browser(typed("ls\r")).close()
    assert terminal.told() == [[[0, "before\n"]]]
    assert "could not be followed" in terminal.fed.of("terminal.output")[-1].reason
    assert terminal.fed.of("terminal.closed") and terminal.fed.values("terminal.input") == [{"input": b"ls\r"}]


@pytest.mark.parametrize("size", ['"a", "b"', "-1, 80", "24", "true, true", "1e9, 80", "99999, 80"])
def test_a_size_that_is_none_is_not_taken(size: str) -> None:
    terminal = Terminal()
    terminal.fed.browser(frame(1, f'["set_size", {size}]'.encode()))
    terminal.shows("x")
    terminal.fed.close()
    assert (terminal.fed.of("terminal.output")[0].rows, terminal.fed.of("terminal.output")[0].columns) == (0, 0)
