"""The example notebook's reading and judging: each refusal, then what is accepted, then a real kernel."""

import base64
import io
import json
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.ops.notebook import (
    STATISTIC,
    Cell,
    KernelSocket,
    Output,
    code_cells,
    figure_facts,
    find_example,
    judge,
)

mpl.use("agg")


def png(points: int) -> bytes:
    figure = Figure(figsize=(6, 4))
    figure.subplots().scatter(range(points), range(points))
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def outputs(statistic: str = STATISTIC, figure: bytes | None = None) -> dict[str, Output]:
    encoded = base64.b64encode(png(150) if figure is None else figure).decode()
    return {"statistic": Output({"text/plain": statistic}), "figure": Output({"image/png": encoded})}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 1}', '{"cells": [{}]}', '{"cells": []}', '"x"', "nul"])
def test_what_is_no_notebook_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        code_cells(text)


def test_only_code_cells_are_run_in_order() -> None:
    cells = [
        {"cell_type": "code", "id": "b", "source": ["1\n", "2"]},
        {"cell_type": "markdown", "id": "m", "source": "text"},
        {"cell_type": "code", "id": "a", "source": "3"},
    ]
    assert code_cells(json.dumps({"cells": cells})) == [Cell("b", "1\n2"), Cell("a", "3")]


@pytest.mark.parametrize("statistic", ["0.963", "0.962", "'0.9629'", "", "nan"])
def test_another_statistic_is_refused(statistic: str) -> None:
    with pytest.raises(Refused, match="statistic"):
        judge(outputs(statistic))


def test_missing_parts_are_refused() -> None:
    for missing in ("statistic", "figure"):
        given_outputs = outputs()
        del given_outputs[missing]
        with pytest.raises(Refused) as refused:
            judge(given_outputs)
        assert refused.value.rule == f"notebook.{missing}"


def test_an_empty_figure_is_refused() -> None:
    with pytest.raises(Refused, match="trivial"):
        judge(outputs(figure=png(0)))


def test_a_figure_that_is_cut_short_or_not_base64_is_malformed() -> None:
    with pytest.raises(Malformed):
        judge(outputs(figure=png(150)[:2000]))
    broken = outputs()
    broken["figure"].data["image/png"] = "@@@"
    with pytest.raises(Malformed):
        judge(broken)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_figure(data: bytes) -> None:
    with pytest.raises(Malformed):
        figure_facts(data)


def test_the_right_outputs_are_reported() -> None:
    facts = judge(outputs())
    assert facts["statistic"] == STATISTIC and facts["figure_px"] == [600, 400]


class Script:
    """A websocket that answers from a list; ``{id}`` stands for the request's id."""

    def __init__(self, *messages: dict[str, Any] | str | None) -> None:
        self.messages = deque(messages)
        self.sent: list[dict[str, Any]] = []

    def write_message(self, message: str) -> Any:
        self.sent.append(json.loads(message))

        async def done() -> None:
            return None

        return done()

    async def read_message(self) -> str | None:
        message = self.messages.popleft()
        return message if message is None or isinstance(message, str) else json.dumps(message)


def message(kind: str, parent: str = "one", **content: Any) -> dict[str, Any]:
    return {"msg_type": kind, "parent_header": {"msg_id": parent}, "content": content}


def socket_of(script: Script) -> KernelSocket:
    return KernelSocket(script, "session", iter(["one", "two"]).__next__)


IDLE, REPLY = message("status", execution_state="idle"), message("execute_reply", status="ok")


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([None], Unavailable),
        (["not json"], Malformed),
        (["[1]"], Malformed),
        ([message("error", ename="ValueError", evalue="no"), REPLY, IDLE], Refused),
        ([IDLE, None], Unavailable),
        ([message("status", parent="other", execution_state="idle"), REPLY, None], Unavailable),
    ],
)
async def test_a_run_that_does_not_end_well_is_an_error(messages: list[Any], kind: type[HpcsecError]) -> None:
    with pytest.raises(kind):
        await socket_of(Script(*messages)).run("x")


async def test_a_run_ends_when_idle_and_replied_in_either_order() -> None:
    for last in ([IDLE, REPLY], [REPLY, IDLE]):
        script = Script(
            message("status", execution_state="busy"),
            message("stream", name="stdout", text="a"),
            message("execute_result", data={"text/plain": "1"}),
            message("display_data", parent="other", data={"text/plain": "not mine"}),
            *last,
        )
        output = await socket_of(script).run("print('a'); 1")
        assert output == Output({"text/plain": "1"}, "a")
        assert script.sent[0]["content"]["code"] == "print('a'); 1" and not script.messages


def test_the_example_is_found_and_holds_what_is_judged() -> None:
    cells = {cell.id for cell in code_cells(find_example().read_text())}
    assert {"statistic", "figure"} <= cells


def test_without_an_example_the_places_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("jupyter_hpcsec.ops.notebook.__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(Unavailable, match=r"eda\.ipynb"):
        find_example()


class KernelConnection:
    """A real kernel in place of the websocket: the same messages over zmq."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def write_message(self, text: str) -> None:
        sent = json.loads(text)
        made = self.client.session.msg(sent["header"]["msg_type"], content=sent["content"])
        made["header"]["msg_id"] = made["msg_id"] = sent["header"]["msg_id"]
        self.client.shell_channel.send(made)

    async def read_message(self) -> str:
        received: dict[str, Any] = {}
        while not received:
            for channel in (self.client.iopub_channel, self.client.shell_channel):
                if await channel.socket.poll(20):
                    received = await channel.get_msg(timeout=60)
                    break
        return json.dumps(received, default=str)


@pytest.mark.e2e
async def test_the_example_gives_what_is_judged_in_a_real_kernel() -> None:
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager()
    await manager.start_kernel()
    try:
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready()
        kernel = KernelSocket(KernelConnection(client), client.session.session, lambda: uuid.uuid4().hex)
        given_outputs = {cell.id: await kernel.run(cell.source) for cell in code_cells(find_example().read_text())}
        assert judge(given_outputs)["statistic"] == STATISTIC
        client.stop_channels()
    finally:
        await manager.shutdown_kernel(now=True)
