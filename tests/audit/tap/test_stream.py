"""One stream in both directions: what is told, what must be told first, and what cuts the lane."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.recording import Level
from jupyter_hpcsec.audit.tap.stream import PIPELINE_LIMIT, StreamTap
from jupyter_hpcsec.errors import Refused
from tests.audit.tap.feeding import (
    KERNEL,
    V1,
    Deflater,
    Fed,
    agreed,
    answer,
    as_binary,
    as_text,
    as_v1,
    cell,
    frame,
    message,
    request,
    site,
    upgrade,
)

CHANNELS = f"/user/alice/api/kernels/{KERNEL}/channels?session_id=x"
CUTS = st.lists(st.integers(0, 5000), max_size=25)


# --- what cuts the lane


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        request("GET /", "Connection: close") + request(),
        upgrade(CHANNELS) + frame(1, b"early"),
        upgrade(CHANNELS) + request(),
        upgrade(CHANNELS) + b"G",
        request("GET /", "Upgrade: websocket", body=b"x"),
        request() * (PIPELINE_LIMIT + 1),
    ],
)
def test_bytes_that_may_not_follow(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        Fed().browser(data)
    assert refused.value.rule == "tap.http-malformed"


def test_bytes_that_the_server_may_not_send() -> None:
    for sent, answered in (
        (b"", answer()),
        (request(), answer() + answer()),
        (request(), agreed()),
        (upgrade(CHANNELS).replace(b"websocket", b"h2c"), agreed()),
        (upgrade(CHANNELS), agreed("Sec-WebSocket-Extensions: x-other")),
    ):
        with pytest.raises(Refused):
            Fed().browser(sent).server(answered)


def test_what_was_refused_is_not_told_as_done() -> None:
    fed = Fed().browser(upgrade(CHANNELS)).server(agreed())
    with pytest.raises(Refused):
        fed.browser(frame(1, as_text(cell("first"))) + frame(1, b"not a message"))
    fed.close()
    assert fed.of("cell.executed") == [] and fed.of("http.request")


def test_no_session_puts_a_service_worker_before_other_pages_of_the_host() -> None:
    with pytest.raises(Refused) as caught:
        Fed().browser(request("GET /user/alice/files/sw.js", "Service-Worker: script"))
    assert caught.value.rule == "tap.service-worker"


def test_a_refused_upgrade_leaves_http() -> None:
    fed = Fed().browser(upgrade(CHANNELS)).server(answer("403 Forbidden"))
    fed.browser(request("DELETE /user/alice/api/contents/a")).server(answer("204 No Content"))
    assert [each.status for each in fed.of("http.request")] == [403, 204] and len(fed.of("file.deleted")) == 1


def test_a_body_left_unread_ends_the_connection() -> None:
    fed = Fed().browser(request("PUT /user/alice/api/contents/a", "Content-Length: 10") + b"12345")
    fed.server(answer("413 Too Large")).browser(b"67890")
    with pytest.raises(Refused):
        fed.browser(request())


# --- requests


@given(CUTS, CUTS)
def test_pipelined_requests_and_their_answers(cuts: list[int], others: list[int]) -> None:
    sent = request("PUT /user/alice/api/contents/b%C3%A9/c.txt", body=b"x" * 300) + request() + request("HEAD /x")
    answered = (
        b"HTTP/1.1 100 (Continue)\r\n\r\n"
        + answer("201 Created", body=b"{}")
        + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        + b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"
    )
    fed = Fed().browser(sent, cuts).server(answered, others).close()
    told = [(e.method, e.status, e.bytes_from_browser, e.bytes_to_browser) for e in fed.of("http.request")]
    assert told == [("PUT", 201, 300, 2), ("GET", 200, 0, 3), ("HEAD", 200, 0, 0)]
    assert [each.event.request for each in fed.required] == ["r1"]
    (written,) = fed.of("file.written")
    assert written.object.name == "bé/c.txt" and written.object.size == 300 and written.decision == "allowed"
    assert {each.session for each in fed.events()} == {"5" * 32}


CHANGES: list[tuple[str, bytes, str, str, dict[str, Any]]] = [
    ("GET api/contents/a/../b.txt?content=1", b"", "200 OK", "file.read", {"object.name": "b.txt"}),
    ("GET files/data/x%2Fy.csv", b"", "200 OK", "file.downloaded", {"object.name": "data/x/y.csv"}),
    ("GET files/..%2f..%2fetc/passwd", b"", "403 F", "file.downloaded", {"object.name": "../../etc/passwd"}),
    ("GET nbconvert/html/n.ipynb?download=true", b"", "200 OK", "file.downloaded", {"object.name": "n.ipynb"}),
    ("PATCH api/contents/a", b'{"path": "b/c"}', "200 OK", "file.renamed", {"object.name": "a", "to": "b/c"}),
    ("DELETE api/contents/a", b"", "204 No Content", "file.deleted", {"object.name": "a", "decision": "allowed"}),
    ("POST api/contents/d", b"{}", "201 Created", "file.written", {"object.name": "made/n.ipynb"}),
    ("POST api/contents/a/checkpoints/1-2", b"", "204 No Content", "file.written", {"object.name": "a"}),
    ("POST api/kernels", b"{}", "201 Created", "kernel.started", {"kernel": "n.ipynb"}),
    (f"DELETE api/kernels/{KERNEL}", b"", "204 No Content", "kernel.shutdown", {"kernel": KERNEL}),
    (f"POST api/kernels/{KERNEL}/interrupt", b"", "204 No Content", "kernel.interrupted", {"kernel": KERNEL}),
    (f"POST api/kernels/{KERNEL}/restart", b"", "200 OK", "kernel.restarted", {"kernel": KERNEL}),
    (f"DELETE api/sessions/{KERNEL}", b"", "204 No Content", "kernel.shutdown", {"kernel": ""}),
]


@pytest.mark.parametrize(("line", "body", "status", "kind", "fields"), CHANGES, ids=lambda value: str(value)[:40])
def test_what_requests_mean(line: str, body: bytes, status: str, kind: str, fields: dict[str, Any]) -> None:
    method, _, rest = line.partition(" ")
    fed = Fed().browser(request(f"{method} /user/alice/{rest}", body=body))
    assert [type(each.event).__name__ for each in fed.required] == ["HttpBegun"]
    fed.server(answer(status, "Location: /user/alice/api/contents/made/n.ipynb"))
    (event,) = fed.of(kind)
    for name, value in fields.items():
        found = event
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value
    assert event.request == fed.required[0].event.request


def test_a_notebooks_kernel() -> None:
    model = json.dumps({"id": "s", "path": "d/n.ipynb", "kernel": {"id": KERNEL}}).encode()
    fed = Fed().browser(request("POST /user/alice/api/sessions", body=b"{}")).server(answer("201 Created", body=model))
    (started,) = fed.of("kernel.started")
    assert started.kernel == KERNEL and started.object.name == "d/n.ipynb"


@pytest.mark.parametrize(
    "line",
    [
        "GET /user/alice/lab",
        "GET /user/alice/static/x.js",
        "GET /user/alice/api/kernels",
        "GET /user/alice/api/contents/a?content=0",
        "HEAD /user/alice/files/a",
        "OPTIONS /user/alice/files/a",
        "GET /user/bob/files/a",
        "GET /files/a",
    ],
)
def test_looking_needs_no_record(line: str) -> None:
    assert Fed().browser(request(line)).required == []


@pytest.mark.parametrize(
    "line", ["GET /user/alice/ext/archive", "GET /hub-at/user/alice/files/a", "POST /user/alice/x", "PUT /files/a"]
)
def test_what_is_not_known_needs_one(line: str) -> None:
    assert len(Fed().browser(request(line)).required) == 1


def test_an_answer_until_the_end_and_none_at_all() -> None:
    fed = Fed().browser(request("GET /user/alice/files/a") + request("GET /user/alice/files/b"))
    fed.server(b"HTTP/1.1 200 OK\r\n\r\nabc").server(b"def").close()
    assert [(each.status, each.bytes_to_browser) for each in fed.of("http.request")] == [(200, 6), (0, 0)]
    assert [each.decision for each in fed.of("file.downloaded")] == ["allowed", ""]


def test_files_are_hashed_where_that_is_asked_for() -> None:
    for hashes in (False, True):
        fed = Fed(StreamTap(site(hashes_files=hashes)))
        fed.browser(request("GET /user/alice/files/a")).server(answer(body=b"abc"))
        (event,) = fed.of("file.downloaded")
        assert event.object.sha256.startswith("ba7816bf") is hashes and event.object.size == 3


def test_where_it_came_from() -> None:
    fed = Fed().browser(request("GET /", "X-Forwarded-For: 6.6.6.6, 10.0.0.7")).server(answer())
    assert fed.of("http.request")[0].source == "10.0.0.7"


def test_who_may_be_answered_here() -> None:
    fed = Fed()
    assert fed.tap.may_answer
    fed.browser(request()[:10])
    assert not fed.tap.may_answer
    fed.browser(request()[10:])
    assert not fed.tap.may_answer
    fed.server(answer())
    assert fed.tap.may_answer


# --- kernels


def opened(level: Level = Level.SOURCES, *headers: str, more: dict[str, Any] | None = None) -> Fed:
    fed = Fed(StreamTap(site(level, **(more or {}))))
    return fed.browser(upgrade(CHANNELS)).server(agreed(*headers))


FORMS = ["text", "binary", "v1"]


@settings(max_examples=60)
@given(st.sampled_from(FORMS), st.booleans(), st.lists(st.integers(0, 900), max_size=4), CUTS, st.text(max_size=50))
def test_a_cell_is_told_in_every_form(
    form: str, is_compressed: bool, inner: list[int], cuts: list[int], code: str
) -> None:
    headers = ["Sec-WebSocket-Extensions: permessage-deflate"] if is_compressed else []
    headers += [f"Sec-WebSocket-Protocol: {V1}"] if form == "v1" else []
    fed, deflater = opened(Level.SOURCES, *headers), Deflater()
    data = b""
    for number, silent in enumerate((False, True)):
        given_ = cell(code, silent=silent)
        given_["header"]["msg_id"] = f"m{number}"
        given_["metadata"] = {"cellId": "c1"} if silent else {"cellId": 1}
        payload = {"text": as_text, "binary": lambda m: as_binary(m, [b"buffer"]), "v1": as_v1}[form](given_)
        payload = deflater(payload) if is_compressed else payload
        edges = sorted({0, len(payload), *(at % len(payload) for at in inner)})
        for first, last in itertools.pairwise(edges):
            opcode = 0 if first else 1 if form == "text" else 2
            data += frame(opcode, payload[first:last], fin=last == len(payload), rsv1=is_compressed and not first)
            data += frame(9, b"ping")
    fed.browser(data, cuts)
    told = fed.of("cell.executed")
    facts = [(each.kernel, each.message, each.cell, each.silent) for each in told]
    assert facts == [(KERNEL, "m0", "", False), (KERNEL, "m1", "c1", True)]
    assert fed.values("cell.executed") == [{"source": code.encode()}] * 2
    assert [each.event for each in fed.required] == told


def test_expressions_are_code_too() -> None:
    fed = opened().browser(frame(1, as_text(cell("", user_expressions={"a": "evil()"}))))
    assert fed.of("cell.executed")[0].expressions == 1
    assert fed.values("cell.executed") == [{"source": b"", "expressions": b'{"a": "evil()"}'}]


@pytest.mark.parametrize("content", [{}, {"code": 1}, {"code": "x", "user_expressions": [1]}])
def test_a_cell_without_code_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        opened().browser(frame(1, as_text(message("execute_request", content))))


def test_a_long_source_is_told_whole() -> None:
    code = "".join(f"# {number}\n" for number in range(250_000))
    fed = opened().browser(frame(1, as_text(cell(code)), mask=b"\0\0\0\0"))
    (values,) = fed.values("cell.executed")
    assert list(values) == ["source", "source_2", "source_3"] and b"".join(values.values()).decode() == code


def test_other_messages() -> None:
    fed = opened()
    for kind, content, channel in (
        ("input_reply", {"value": "hunter2", "status": "ok"}, "stdin"),
        ("debug_request", {"command": "evaluate", "arguments": {"expression": "f()"}}, "control"),
        ("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "data": {}}, "shell"),
        ("interrupt_request", {}, "control"),
        ("shutdown_request", {"restart": True}, "control"),
        ("shutdown_request", {"restart": False}, "control"),
        ("kernel_info_request", {}, "shell"),
        ("mystery_request", {}, "shell"),
        ("execute_request", {"code": "hidden", "silent": True}, "control"),
    ):
        fed.browser(frame(1, as_text(message(kind, content, channel=channel))))
    assert fed.values("kernel.input") == [{"input": b"hunter2"}]
    assert fed.values("kernel.debug") == [{"arguments": b'{"expression": "f()"}'}]
    assert fed.of("kernel.debug")[0].command == "evaluate"
    assert [(each.action, each.target) for each in fed.of("kernel.comm")] == [("open", "jupyter.widget")]
    assert len(fed.of("kernel.interrupted")) == len(fed.of("kernel.restarted")) == len(fed.of("kernel.shutdown")) == 1
    assert [each.type for each in fed.of("kernel.message")] == ["mystery_request"]
    assert [each.channel for each in fed.of("cell.executed")] == ["control"]
    assert {type(each.event).__name__ for each in fed.noted} == {"KernelComm"}


def test_metadata_and_no_more() -> None:
    fed = opened(Level.METADATA).browser(frame(1, as_text(cell("secret = 1"))))
    (event,) = fed.of("cell.executed")
    assert fed.values("cell.executed") == [{}] and event.object.size == 10 and event.object.sha256


def test_what_looks_like_a_secret_is_taken_out() -> None:
    fed = opened().browser(frame(1, as_text(cell("password = 'hunter22'; x = 1"))))
    assert fed.values("cell.executed") == [{"source": b"[redacted]; x = 1"}]
    assert fed.of("cell.executed")[0].redacted == 1


# --- answers


def kernel_says(kind: str, content: dict[str, Any], parent: str = "m1") -> bytes:
    return frame(1, as_text(message(kind, content, channel="iopub", ident="k", parent=parent)), mask=b"")


DONE = kernel_says("execute_reply", {"status": "ok", "execution_count": 3}) + kernel_says(
    "status", {"execution_state": "idle"}
)


def test_outputs_are_told_where_they_are_recorded() -> None:
    shown = kernel_says("stream", {"name": "stdout", "text": "1\n"}) + kernel_says("stream", {"text": "x"}, "other")
    for level, count in ((Level.SOURCES, 0), (Level.OUTPUTS, 1)):
        fed = opened(level).browser(frame(1, as_text(cell()))).server(shown + DONE, [10, 200, 300])
        assert len(fed.of("kernel.reply")) == count
    (event,) = fed.of("kernel.reply")
    assert (event.message, event.status, event.execution_count, event.truncated) == ("m1", "ok", 3, 0)
    assert json.loads(fed.values("kernel.reply")[0]["outputs"]) == [
        {"output_type": "stream", "name": "stdout", "text": "1\n"}
    ]


def test_no_more_of_an_output_than_its_limit() -> None:
    fed = opened(Level.OUTPUTS, more={"output_limit": 200}).browser(frame(1, as_text(cell())))
    for text in ("a" * 100, "b" * 500):
        fed.server(kernel_says("stream", {"name": "stdout", "text": text}))
    fed.server(DONE)
    (event,) = fed.of("kernel.reply")
    assert event.truncated > 500 and len(json.loads(fed.values("kernel.reply")[0]["outputs"])) == 1


def test_answers_that_can_not_be_followed_cut_nothing() -> None:
    fed = opened(Level.OUTPUTS).browser(frame(1, as_text(cell()))).server(frame(1, b"nonsense", mask=b"")).server(DONE)
    (event,) = fed.of("kernel.reply")
    assert "could not be followed" in event.reason and event.status == ""
    fed.browser(frame(1, as_text(cell("next"))))
    assert len(fed.of("cell.executed")) == 2


# --- terminals


def typed(text: str) -> bytes:
    return frame(1, json.dumps(["stdin", text]).encode())


def terminal(level: Level = Level.SOURCES) -> Fed:
    fed = Fed(StreamTap(site(level)))
    return fed.browser(upgrade("/user/alice/terminals/websocket/1")).server(agreed())


def test_a_line_is_told_before_it_is_ended() -> None:
    fed = terminal().browser(frame(1, b'["set_size", 24, 80]') + typed("l") + typed("s"))
    assert fed.required == []
    fed.browser(typed("\r"))
    assert [dict(each.values) for each in fed.required] == [{"input": b"ls\r"}]
    fed.browser(typed("half")).server(b"\x81\x02ok").close()
    assert fed.values("terminal.input") == [{"input": b"ls\r"}, {"input": b"half"}]
    (closed,) = fed.of("terminal.closed")
    assert (closed.terminal, closed.bytes_typed, closed.bytes_shown) == ("1", 7, 4) and fed.of("terminal.opened")


def test_a_terminals_sizes_and_no_more() -> None:
    fed = terminal(Level.METADATA).browser(typed("ls\r")).close()
    assert fed.of("terminal.input") == [] and fed.of("terminal.closed")[0].bytes_typed == 3


@pytest.mark.parametrize("data", [b"ls", b"{}", b'["stdin"]', b'["stdin", 1]', b"[]"])
def test_what_is_no_message_to_a_terminal(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        terminal().browser(frame(1, data))
    assert refused.value.rule == "tap.terminal-malformed"


def test_another_websocket_is_counted() -> None:
    fed = Fed().browser(upgrade("/user/alice/ext/ws")).server(agreed("Sec-WebSocket-Protocol: any"))
    fed.browser(b"\xff" * 100).server(b"\0" * 50).close()
    (event,) = fed.of("http.request")
    assert (event.status, event.bytes_from_browser, event.bytes_to_browser) == (101, 100, 50)
