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
