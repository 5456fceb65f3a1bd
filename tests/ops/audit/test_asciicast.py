"""Terminals as asciicast v2: what was typed, in order, and nothing that a terminal would act on."""

import json
from typing import Any

from jupyter_hpcsec.ops.audit.asciicast import terminals
from jupyter_hpcsec.ops.audit.seen import Seen


def seen(leaf: int, kind: str, values: dict[str, bytes | None] | None = None, second: int = 0, **more: Any) -> Seen:
    event = {"kind": f"terminal.{kind}", "time": f"2026-03-01T10:00:{second:02d}.500000Z", "terminal": "1", **more}
    return Seen(leaf, event, values or {})


def cast(*events: Seen) -> list[Any]:
    (text,) = terminals("s1", list(events)).values()
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def test_what_was_typed_and_when() -> None:
    header, notice, opened, typed, shown, left = cast(
        seen(1, "opened"),
        seen(2, "input", {"input": b"ls -l\r"}, 3),
        seen(3, "closed", second=4, bytes_shown=99),
    )
    assert header["version"] == 2
    assert (header["width"] > 0, header["height"] > 0, header["timestamp"]) == (True, True, 1772359200)
    assert "not recorded" in notice[2]
    assert (opened[0], opened[1]) == (0.0, "o")
    assert typed == [3.0, "i", "ls -l\r"]
    assert shown == [3.0, "o", "ls -l\r\n"]
    assert "99 bytes shown" in left[2]


def test_control_characters_are_written_out() -> None:
    lines = cast(seen(1, "input", {"input": b"\x1b]0;evil\x07\x1b[2Jrm -rf /\x03"}))
    shown = [line[2] for line in lines[1:] if line[1] == "o"]
    assert all(text.removesuffix("\r\n").isprintable() for text in shown)
    assert "^[]0;evil^G^[[2Jrm -rf /^C\r\n" in shown


def test_what_is_not_there_is_said() -> None:
    text = json.dumps(cast(seen(1, "input", object={"size": 7}), seen(2, "input", {"input": None})))
    assert "7 bytes typed, event 1: the input was not recorded" in text
    assert "destroyed since" in text


def test_times_never_go_back() -> None:
    lines = cast(seen(1, "opened", second=5), seen(2, "input", {"input": b"x"}, 2), seen(3, "closed", second=9))
    times = [line[0] for line in lines[1:]]
    assert times == sorted(times)


def test_each_terminal_has_its_own() -> None:
    assert set(terminals("s1", [seen(1, "opened"), seen(2, "opened", terminal="2")])) == {"1", "2"}
    assert terminals("s1", []) == {}


def output(leaf: int, parts: list[list[Any]], second: int, **more: Any) -> Seen:
    return seen(leaf, "output", {"output": json.dumps(parts).encode()}, second, **more)


def test_what_was_shown_has_its_timing_and_is_there_once() -> None:
    lines = cast(
        seen(1, "opened"),
        output(2, [[2000, "$ l"], [500, "s"]], 3, columns=120, rows=40),
        seen(3, "input", {"input": b"ls\r"}, 3),
        output(4, [[0, "\r\nfile\r\n"]], 4, columns=80, rows=24, truncated=7),
        seen(5, "closed", second=5),
    )
    header, notice, *frames = lines
    assert (header["width"], header["height"]) == (120, 40)
    assert "shown" in notice[2] and "not recorded" not in notice[2]
    assert frames[1:-2] == [
        [1.0, "r", "120x40"],
        [1.0, "o", "$ l"],
        [2.5, "o", "s"],
        [3.0, "i", "ls\r"],
        [4.0, "r", "80x24"],
        [4.0, "o", "\r\nfile\r\n"],
    ]
    assert "7 more bytes were not recorded" in frames[-2][2]


def test_what_was_shown_and_is_not_there_is_said() -> None:
    text = json.dumps(
        cast(
            seen(1, "output", {"output": None}),
            seen(2, "output", object={"size": 9}),
            seen(3, "output", {"output": b"{"}, reason="could not be followed"),
            seen(4, "output", {"output": b'{"a": 1}'}),
            seen(5, "output", {"output": b'[1, ["x", "y"], [0, 1], [0, "kept"]]'}, columns="x", rows=10**9),
        )
    )
    assert "have been destroyed since" in text and "9 bytes shown, event 2: they were not recorded" in text
    assert "can't be read" in text and "could not be followed" in text and "kept" in text
