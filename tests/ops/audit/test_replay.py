"""A session's notebook: what was recorded and nothing else, and text that stays text."""

import json
from typing import Any

import nbformat
import pytest

from jupyter_hpcsec.ops.audit.replay import as_text, notebook
from jupyter_hpcsec.ops.audit.seen import Seen, has_hidden, inert, visible

HOSTILE = "`](javascript:alert(1)) <script>alert(1)</script> ![x](http://evil.example/x)\n# heading\x1b[2J\u202e"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def seen(leaf: int, kind: str, values: dict[str, bytes | None] | None = None, **fields: Any) -> Seen:
    event = {"kind": kind, "time": f"2026-03-01T10:00:{leaf:02d}.000000Z", "session": "s1", **fields}
    return Seen(leaf, event, values or {})


def ran(leaf: int, source: str, message: str = "m1", **fields: Any) -> Seen:
    return seen(leaf, "cell.executed", {"source": source.encode()}, kernel="k1", message=message, **fields)


def replied(leaf: int, outputs: object, message: str = "m1", **fields: Any) -> Seen:
    values: dict[str, bytes | None] = {"outputs": json.dumps(outputs).encode()}
    return seen(leaf, "kernel.reply", values, kernel="k1", message=message, execution_count=3, **fields)


def made(*events: Seen) -> nbformat.NotebookNode:
    found = notebook("s1", "test.example/audit", list(events))
    nbformat.validate(found)
    return nbformat.reads(as_text(found), as_version=4)


def code(found: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in found.cells if cell.cell_type == "code"]


def prose(found: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in found.cells if cell.cell_type == "markdown")


def test_what_was_run_when_where_and_what_came_of_it() -> None:
    found = made(
        seen(1, "session.enrolled", subject={"user": "alice"}, job="77", node="n1"),
        seen(2, "kernel.started", kernel="k1"),
        ran(3, "print(6 * 7)\n"),
        replied(4, [{"output_type": "stream", "name": "stdout", "text": "42\n"}]),
        ran(5, "1/0", "m2", silent=True),
        replied(6, [{"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a", "b"]}], "m2"),
    )
    first, second = code(found)
    assert first.source == "print(6 * 7)\n"
    assert first.execution_count == 3
    assert first.outputs == [{"output_type": "stream", "name": "stdout", "text": "42\n"}]
    assert second.outputs[0].ename == "E"
    text = prose(found)
    for said in ("`alice`", "`77`", "`n1`", "`2026-03-01T10:00:03.000000Z` run, event 3, kernel `k1`", "run silently"):
        assert said in text


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "The source was not recorded: 12 bytes, SHA-256 `ab`"),
        ({"source": None}, "The source was recorded and has been destroyed since: 12 bytes"),
        ({"source": b"a", "source_2": None}, "destroyed since"),
    ],
)
def test_a_source_that_is_not_there_is_said_and_never_made_up(values: dict[str, bytes | None], why: str) -> None:
    found = made(seen(1, "cell.executed", values, object={"size": 12, "sha256": "ab"}), replied(2, []))
    assert code(found) == []
    assert why in prose(found)


def test_a_source_in_parts_is_one() -> None:
    values: dict[str, bytes | None] = {"source": b"a = 1\n", "source_2": "b = 'ä'".encode(), "source_3": b""}
    assert code(made(seen(1, "cell.executed", values)))[0].source == "a = 1\nb = 'ä'"


def test_outputs_that_are_not_there_or_were_cut() -> None:
    found = made(
        ran(1, "a"),
        seen(2, "kernel.reply", {"outputs": None}, kernel="k1", message="m1", truncated=7, reason="cut"),
        ran(3, "b", "m2"),
        replied(4, "no list", "m2"),
        replied(5, [], "of no cell"),
        seen(6, "kernel.reply", {"outputs": b"[" * 100_000}, kernel="k1", message="m1"),
    )
    said = "".join(output.text for output in code(found)[0].outputs)
    assert "destroyed since" in said
    assert "7 more bytes" in said
    assert "[cut]" in said
    assert code(found)[1].outputs == []


def test_no_html_no_script_no_link_of_theirs() -> None:
    data = {
        "text/html": "<script>alert(1)</script>",
        "application/javascript": "alert(1)",
        "image/svg+xml": "<svg onload=alert(1)>",
        "image/png": PNG,
        "image/jpeg": "<not base64>",
        "text/plain": ["<b>", "plain"],
        "application/vnd.x+json": {"a": 1},
        "text/markdown": "![x](http://evil.example)",
        HOSTILE: "x",
    }
    found = made(
        ran(1, HOSTILE, HOSTILE, node=HOSTILE, subject={"user": HOSTILE}),
        replied(2, [{"output_type": "display_data", "data": data}, {"output_type": "execute_result"}], HOSTILE),
        seen(3, "kernel.started", kernel=HOSTILE, object={"name": HOSTILE}),
        seen(4, "session.ended", reason=HOSTILE),
        seen(5, "kernel.debug", {"arguments": HOSTILE.encode()}, command=HOSTILE),
        seen(6, "kernel.input", {"input": HOSTILE.encode()}),
    )
    (cell,) = code(found)
    assert cell.source == HOSTILE  # the evidence itself is not changed
    assert set(cell.outputs[0].data) == {"text/plain", "image/png"}
    assert "[text/html, 25 characters, left out]" in cell.outputs[0].data["text/plain"]
    text = prose(found)
    assert "characters that are not seen" in text
    for line in text.splitlines():  # whatever is theirs stands within one code span of one line
        outside = "".join(line.split("`")[::2])
        assert line.count("`") % 2 == 0
        assert "<" not in outside and "](" not in outside
    assert as_text(found).isascii()
    assert "\x1b" not in as_text(found)
    assert [cell.cell_type for cell in found.cells if cell.source == HOSTILE] == ["code", "raw", "raw"]


@pytest.mark.parametrize(
    "outputs",
    [
        [1, None, "x", [], {}],
        [{"output_type": "stream", "text": 3, "name": 7}],
        [{"output_type": "error", "traceback": "x", "ename": {}, "evalue": None}],
        [{"output_type": "execute_result", "data": []}],
        [{"output_type": "display_data", "data": {"text/plain": {"deep": [1]}}}],
    ],
)
def test_outputs_of_any_shape_make_a_valid_notebook(outputs: object) -> None:
    made(ran(1, "x"), replied(2, outputs))


def test_text_that_can_do_nothing() -> None:
    assert visible("ls\x1b[2J\x03\x7f\u202eä") == "ls^[[2J^C^?\\u202eä"
    assert inert("a`b\nc" + "x" * 500).startswith("a'b\N{REPLACEMENT CHARACTER}c")
    assert len(inert("x" * 500)) == 200
    assert has_hidden("a\u200bb")
    assert not has_hidden("a\n\tä")
