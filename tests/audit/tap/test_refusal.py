"""What a browser reads when its cell can't be recorded: frames and messages that clients understand, or the end."""

import itertools
import json
from typing import Any

import pytest
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side

from jupyter_hpcsec.audit.tap.refusal import HEADER_LIMIT, WORDS_LIMIT, Answer, echo, to_cells
from tests.audit.tap.feeding import (
    KERNEL,
    V1,
    Deflater,
    Fed,
    agreed,
    as_binary,
    as_text,
    as_v1,
    cell,
    frame,
    message,
    request,
    upgrade,
)

SENTENCE = "This was not done: «why»."
DATE = "2026-01-02T03:04:05+00:00"
CHANNELS = f"/user/alice/api/kernels/{KERNEL}/channels?session_id=x"


def opened(*headers: str) -> Fed:
    return Fed().browser(upgrade(CHANNELS)).server(agreed(*headers))


def said(fed: Fed, unread: bytes = b"") -> bytes:
    return fed.tap.last_words(SENTENCE, DATE, memoryview(unread))


def read(words: bytes, *before: bytes, is_deflated: bool = False) -> list[Frame]:
    """The frames that a client gets behind what it got before; the last is the close frame."""
    client = Protocol(Side.CLIENT)
    if is_deflated:
        client.extensions = [PerMessageDeflate(False, False, 15, 15)]
    for data in (*before, words):
        client.receive_data(data)
    closed = client.close_rcvd
    assert client.parser_exc is None and closed is not None
    assert closed.code == CloseCode.TRY_AGAIN_LATER and "recorded" in closed.reason
    frames = [each for each in client.events_received() if isinstance(each, Frame)]
    assert frames[-1].opcode is Opcode.CLOSE
    return frames[:-1]


def messages(frames: list[Frame], form: str) -> list[dict[str, Any]]:
    if form != "v1":
        assert {each.opcode for each in frames} <= {Opcode.TEXT}
        return [json.loads(each.data) for each in frames]
    assert {each.opcode for each in frames} <= {Opcode.BINARY}
    found = []
    for each in frames:
        channel, parts = deserialize_msg_from_ws_v1(each.data)
        names = ("header", "parent_header", "metadata", "content")
        found.append({"channel": channel, **{name: json.loads(part) for name, part in zip(names, parts, strict=True)}})
    return found


# --- when there is nothing to say


def test_nothing_within_what_the_server_says() -> None:
    for unfinished in (b"\x81", frame(1, b"abc", mask=b"")[:-1], frame(1, b"abc", mask=b"", fin=False)):
        fed = opened().server(unfinished).browser(frame(1, as_text(cell())))
        assert said(fed) == b""


def test_nothing_behind_the_servers_last_word_and_nothing_elsewhere() -> None:
    assert said(opened().browser(frame(1, as_text(cell()))).server(frame(8, b"", mask=b""))) == b""
    assert said(Fed().browser(request())) == b""
    assert said(Fed().browser(upgrade("/user/alice/ext/ws")).server(agreed())) == b""


@pytest.mark.parametrize(
    "header",
    [
        {"msg_id": "x" * 600},
        {"n" * 65: ""},
        {str(number): "" for number in range(33)},
        {str(number): "\u2028" * 400 for number in range(2)},
        {"msg_id": {"deep": []}},
        {"msg_id": 1e400},
        {"msg_id": 7},
    ],
    ids=range(7),
)
def test_no_header_is_repeated_that_no_client_would_send(header: dict[str, Any]) -> None:
    assert echo(header) is None
    sent = cell() | {"header": {"msg_type": "execute_request", **header}}
    assert read(said(opened().browser(frame(1, as_text(sent))))) == []


def test_others_than_cells_only_see_the_end() -> None:
    for kind, content in (("input_reply", {"value": "x"}), ("debug_request", {"command": "evaluate"}), ("odd", {})):
        assert read(said(opened().browser(frame(1, as_text(message(kind, content)))))) == []


def test_no_more_is_said_than_fits() -> None:
    count = itertools.count()
    answer = Answer(SENTENCE, DATE, lambda: str(next(count)))
    headers = [{"msg_id": str(number), "more": "x" * 500} for number in range(100)]
    words = to_cells(answer, headers, V1)
    assert WORDS_LIMIT // 2 < len(words) <= WORDS_LIMIT and len(read(words)) % 3 == 0
    assert HEADER_LIMIT * 3 < WORDS_LIMIT


# --- what a cell is told


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize("form", ["text", "binary", "v1"])
def test_a_cell_is_told_that_it_failed_and_why(form: str, is_deflated: bool) -> None:
    headers = ["Sec-WebSocket-Extensions: permessage-deflate"] if is_deflated else []
    headers += [f"Sec-WebSocket-Protocol: {V1}"] if form == "v1" else []
    pack = {"text": as_text, "binary": lambda m: as_binary(m, [b"buffer"]), "v1": as_v1}[form]
    to_browser, from_browser = Deflater(), Deflater()

    def browser(asked: dict[str, Any]) -> bytes:
        data = from_browser(pack(asked)) if is_deflated else pack(asked)
        return frame(1 if form == "text" else 2, data, rsv1=is_deflated)

    def server(text: bytes) -> bytes:
        return frame(1, to_browser(text) if is_deflated else text, rsv1=is_deflated, mask=b"")

    passed, asked, behind = cell(), cell("fail()"), cell("next()")
    for number, each in enumerate((passed, asked, behind)):
        each["header"] |= {"msg_id": f"m{number}", "session": "sé", "subshell_id": None}
    fed = opened(*headers).browser(browser(passed))
    before = [server(b"earlier"), server(b"earlier")]
    for each in before:
        fed.server(each)
    fed.browser(browser(asked))
    words = said(fed, browser(behind) + frame(1, b"no message"))
    frames = read(words, *before, is_deflated=is_deflated)
    assert [bytes(each.data) for each in frames[:2]] == [b"earlier"] * 2
    told = messages(frames[2:], form)
    assert [(each["channel"], each["header"]["msg_type"]) for each in told] == [
        ("iopub", "error"),
        ("shell", "execute_reply"),
        ("iopub", "status"),
    ] * 2
    assert [each["parent_header"] for each in told] == [asked["header"]] * 3 + [behind["header"]] * 3
    error, reply, status = (each["content"] for each in told[:3])
    assert (error["ename"], error["evalue"], error["traceback"]) == ("NotRecorded", SENTENCE, [SENTENCE])
    assert reply["status"] == "error" and reply["evalue"] == SENTENCE and status == {"execution_state": "idle"}
    assert len({each["header"]["msg_id"] for each in told}) == 6
    for each in told:  # what JupyterLab and jupyter_client want of every message
        assert each["metadata"] == {} and {"username", "session", "version", "date"} <= each["header"].keys()


def test_a_terminal_says_so() -> None:
    fed = Fed().browser(upgrade("/user/alice/terminals/websocket/1")).server(agreed())
    fed.browser(frame(1, b'["stdin", "ls\\r"]'))
    (line,) = read(said(fed))
    assert json.loads(line.data) == ["stdout", f"\r\n{SENTENCE}\r\n"]
    assert said(fed.server(b"\x81\x05")) == b""
