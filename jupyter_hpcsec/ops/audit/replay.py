"""A session as a notebook: what was run, when, in which kernel, and what came of it as far as that was recorded. Pure.

Nothing is made up: a source that was not recorded, or was destroyed since, is a sentence that says so, and no cell.
What people and kernels wrote stays text: no HTML, no script, no link of theirs is in anything that a browser renders,
and outputs of such types are left out by name.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from jupyter_hpcsec.ops.audit.seen import Seen, has_hidden, inert

KINDS = ("cell.", "kernel.", "terminal.", "session.")
"""Beginnings of the kinds that a session's story is made of."""
IMAGES = ("image/png", "image/jpeg")
_SAID = {
    "session.registered": "session registered",
    "session.enrolled": "job enrolled",
    "session.ended": "session ended",
    "kernel.started": "kernel started",
    "kernel.restarted": "kernel restarted",
    "kernel.interrupted": "kernel interrupted",
    "kernel.shutdown": "kernel told to end",
    "terminal.opened": "terminal opened",
    "terminal.closed": "terminal left",
}
_RAW = {"kernel.input": ("input given to the kernel", "input"), "kernel.debug": ("debugger request", "arguments")}


def notebook(session: str, log: str, seen: Sequence[Seen]) -> NotebookNode:
    """The notebook of a session from its events in the order of the log; ``log`` names where they are from."""
    made = new_notebook(metadata={"hpcsec": {"session": inert(session), "log": inert(log), "events": len(seen)}})
    made.cells.append(_markdown("about", _about(session, log, seen)))
    waiting: dict[tuple[str, str], NotebookNode] = {}
    for each in seen:
        for cell in _cells(each, waiting):
            made.cells.append(cell)
    return made


def as_text(made: NotebookNode) -> str:
    """The notebook's file. ASCII: no terminal that shows it can be made to do anything."""
    return json.dumps(made, indent=1, ensure_ascii=True, sort_keys=True) + "\n"


def _about(session: str, log: str, seen: Sequence[Seen]) -> str:
    people = sorted({inert(each.event.get("subject", {}).get("user", "")) for each in seen} - {""})
    facts = [
        ("session", inert(session)),
        ("user", ", ".join(people)),
        ("job", ", ".join(sorted({each.says("job") for each in seen} - {""}))),
        ("node", ", ".join(sorted({each.says("node") for each in seen} - {""}))),
        ("from", seen[0].says("time") if seen else ""),
        ("until", seen[-1].says("time") if seen else ""),
        ("log", inert(log)),
    ]
    lines = [f"- {name}: `{value}`" for name, value in facts if value]
    return "\n".join(
        [
            "# What was run in a session",
            "",
            *lines,
            "",
            "Made from the audit record: what the gateway saw pass, in that order. Times are UTC. Outputs are here",
            "only where the site records them. This file is a copy; the record is the evidence.",
        ]
    )


def _cells(each: Seen, waiting: dict[tuple[str, str], NotebookNode]) -> Iterable[NotebookNode]:
    key = (each.text("kernel"), each.text("message"))
    if each.kind == "cell.executed":
        yield from _executed(each, key, waiting)
    elif each.kind == "kernel.reply":
        cell = waiting.pop(key, None)
        if cell is not None:
            _answer(cell, each)
    elif each.kind in _RAW:
        said, name = _RAW[each.kind]
        yield from _raw(each, said, name)
    elif each.kind == "terminal.input":
        yield from _raw(each, "typed into terminal", "input")
    elif each.kind in _SAID:
        yield _markdown(f"event-{each.leaf}", _line(each, _SAID[each.kind]))


def _executed(each: Seen, key: tuple[str, str], waiting: dict[tuple[str, str], NotebookNode]) -> Iterable[NotebookNode]:
    source = each.value("source")
    about = _line(each, "run silently" if each.event.get("silent") else "run")
    if source.text is None:
        yield _markdown(f"event-{each.leaf}", f"{about}\n\n{_without(each, 'source', source.why)}")
        return
    if has_hidden(source.text):
        about += "\n\n**It has characters that are not seen or change the direction of text.**"
    if each.event.get("redacted"):
        about += f"\n\n{each.says('redacted')} secrets were taken out before it was recorded."
    yield _markdown(f"event-{each.leaf}", about)
    cell = new_code_cell(source.text, id=f"event-{each.leaf}-source", metadata=_metadata(each))
    waiting[key] = cell
    yield cell
    expressions = each.value("expressions")
    if expressions.text is not None:
        yield new_raw_cell(expressions.text, id=f"event-{each.leaf}-expressions", metadata=_metadata(each))


def _raw(each: Seen, said: str, name: str) -> Iterable[NotebookNode]:
    value = each.value(name)
    if value.text is None:
        yield _markdown(f"event-{each.leaf}", f"{_line(each, said)}\n\n{_without(each, name, value.why)}")
        return
    yield _markdown(f"event-{each.leaf}", _line(each, said))
    yield new_raw_cell(value.text, id=f"event-{each.leaf}-{name}", metadata=_metadata(each))


def _line(each: Seen, said: str) -> str:
    places = [(name, each.says(name)) for name in ("kernel", "terminal", "command", "name", "reason")]
    return f"`{each.says('time')}` {said}, event {each.leaf}" + "".join(
        f", {'object' if name == 'name' else name} `{value}`" for name, value in places if value
    )


def _without(each: Seen, name: str, why: str) -> str:
    size, digest = each.says("size"), each.says("sha256")
    known = ", ".join([*([f"{size} bytes"] if size else []), *([f"SHA-256 `{digest}`"] if digest else [])])
    return f"*The {name} {why}{': ' + known if known else ''}.*"


def _metadata(each: Seen) -> dict[str, Any]:
    names = ("time", "kernel", "message", "terminal")
    return {"hpcsec": {"leaf": each.leaf, **{name: each.says(name) for name in names if each.says(name)}}}


def _markdown(name: str, text: str) -> NotebookNode:
    return new_markdown_cell(text, id=name)


# -- what a kernel answered -----------------------------------------------------------------------------------------


def _answer(cell: NotebookNode, reply: Seen) -> None:
    """Put a reply's outputs into its cell."""
    count = reply.event.get("execution_count", 0)
    cell.execution_count = count if type(count) is int and count > 0 else None
    value = reply.value("outputs")
    told = []
    if value.text is None:
        told.append(f"[the outputs: {value.why}]")
    else:
        cell.outputs += _outputs(value.text, cell.execution_count)
    if reply.event.get("truncated"):
        told.append(f"[{reply.says('truncated')} more bytes of outputs were not recorded]")
    if reply.event.get("reason"):
        told.append(f"[{reply.says('reason')}]")
    for line in told:
        cell.outputs.append(_stream("stderr", line + "\n"))
    cell.metadata["hpcsec"]["answered"] = {"leaf": reply.leaf, "status": reply.says("status")}


def _outputs(text: str, count: int | None) -> list[NotebookNode]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return [_stream("stderr", "[the outputs that were recorded can't be read]\n")]
    return [_output(each, count) for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _output(shown: dict[str, Any], count: int | None) -> NotebookNode:
    kind = shown.get("output_type")
    if kind == "stream":
        return _stream("stderr" if shown.get("name") == "stderr" else "stdout", _text(shown.get("text")))
    if kind == "error":
        trace = shown.get("traceback")
        lines = [_text(line) for line in trace] if isinstance(trace, list) else []
        return new_output("error", ename=_text(shown.get("ename")), evalue=_text(shown.get("evalue")), traceback=lines)
    data = shown.get("data")
    bundle = _bundle(data if isinstance(data, dict) else {})
    if kind == "execute_result":
        return new_output("execute_result", data=bundle, execution_count=count)
    return new_output("display_data", data=bundle)


def _bundle(data: dict[str, Any]) -> dict[str, str]:
    """Plain text and pictures; of the rest, which would be rendered, its name and size."""
    kept = {}
    left = []
    for kind, value in data.items():
        if kind == "text/plain":
            kept[kind] = _text(value)
        elif kind in IMAGES and _is_base64(value):
            kept[kind] = value
        else:
            left.append(f"[{inert(kind)}, {len(_text(value))} characters, left out]")
    if left:
        kept["text/plain"] = "\n".join([*filter(None, [kept.get("text/plain")]), *left])
    return kept


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode("".join(value.split()), validate=True))
    except (binascii.Error, ValueError):
        return False


def _stream(name: str, text: str) -> NotebookNode:
    return new_output("stream", name=name, text=text)


def _text(value: object) -> str:
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
