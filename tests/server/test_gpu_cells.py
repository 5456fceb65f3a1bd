"""Which execution a kernel works on: what its status messages say, and what is no such message."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.gpu.samples import Ran
from jupyter_hpcsec.server.gpu_cells import RUNS_LIMIT, Cells, listen

K, PROCESS = "k1", (90, 900)


def message(
    state: Any = "busy", parent: Any = "m1", kind: str = "status", asked: str = "execute_request"
) -> list[bytes]:
    parts = [{"msg_type": kind}, {"msg_id": parent, "msg_type": asked}, {}, {"execution_state": state}]
    return [b"kernel.x.status", b"<IDS|MSG>", b"signature", *(json.dumps(part).encode() for part in parts)]


class Place:
    def __init__(self) -> None:
        self.now = 0.0
        self.cells = Cells(self.clock)
        self.cells.follow(K)

    def clock(self) -> float:
        self.now += 1
        return self.now

    def ran(self) -> list[tuple[str, float | None]]:
        return [(run.id, run.ended) for run in self.cells.of(K, PROCESS) or ()]


def test_begin_and_end_by_the_request_s_id() -> None:
    place = Place()
    place.cells.heard(K, message())
    assert place.cells.of(K, PROCESS) == (Ran(id="m1", begun=1.0),)
    place.cells.heard(K, message())  # said twice
    place.cells.heard(K, message("idle"))
    place.cells.heard(K, message(parent="m2"))
    assert place.ran() == [("m1", 2.0), ("m2", None)]
    place.cells.heard(K, message())  # one that uses an id again executes again
    assert place.ran() == [("m1", 2.0), ("m2", None), ("m1", None)]


@pytest.mark.parametrize(
    "parts",
    [
        message(asked="kernel_info_request"), message(kind="stream"), message(parent=7), message(parent="a b"),
        message(parent="x" * 129), message("starting"), message()[:4], message()[2:], [], [b"<IDS|MSG>"],
        [*message()[:-1], b"[]"], [*message()[:3], b'"status"', *message()[4:]],
        [*message()[:-1], b" " * 70_000 + b"{}"],
    ],
)  # fmt: skip
def test_everything_else_is_nothing(parts: list[bytes]) -> None:
    place = Place()
    place.cells.heard(K, parts)
    place.cells.heard("another", message())
    assert place.ran() == [] and place.cells.of("another", PROCESS) is None


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"<IDS|MSG>", b'{"msg_type": "status"}', b"[" * 5000]), max_size=8
    )
)
def test_no_message_is_an_error(parts: list[bytes]) -> None:
    Place().cells.heard(K, parts)


def test_a_kernel_that_died_in_a_cell_and_was_started_anew_executes_nothing() -> None:
    place = Place()
    place.cells.heard(K, message())
    assert place.ran() == [("m1", None)]
    assert [run.ended for run in place.cells.of(K, (91, 950)) or ()] == [2.0]


def test_it_is_bounded_and_forgets_kernels_that_are_gone() -> None:
    place = Place()
    for number in range(RUNS_LIMIT + 1):
        place.cells.heard(K, message(parent=f"m{number}"))
    assert len(place.ran()) == RUNS_LIMIT
    place.cells.keep(["another"])
    assert place.cells.of(K, PROCESS) is None


class Stream:
    """Like a ``ZMQStream``."""

    def __init__(self, receive: Callable[[list[bytes]], None] | None) -> None:
        self._recv_callback = receive

    def on_recv(self, receive: Callable[[list[bytes]], None]) -> None:
        self._recv_callback = receive


class Manager:
    """Like the server's manager of kernels."""

    def __init__(self, receive: Callable[[list[bytes]], None] | None) -> None:
        self._activity_stream: Stream | None = None
        self._receive = receive

    def start_watching_activity(self, kernel_id: str) -> None:
        self._activity_stream = Stream(self._receive)

    def get_kernel(self, kernel_id: str) -> "Manager":
        return self


def test_every_message_still_reaches_the_server_s_own_receiver() -> None:
    got: list[list[bytes]] = []
    manager, cells = Manager(got.append), Cells()
    listen(manager, cells)
    manager.start_watching_activity(K)
    assert manager._activity_stream and manager._activity_stream._recv_callback
    for parts in (message(), [b"no message"]):
        manager._activity_stream._recv_callback(parts)
    assert got == [message(), [b"no message"]]
    assert [run.id for run in cells.of(K, PROCESS) or ()] == ["m1"]


def test_where_it_can_t_listen_nothing_is_known() -> None:
    manager, cells = Manager(None), Cells()
    listen(manager, cells)
    manager.start_watching_activity(K)
    assert cells.of(K, PROCESS) is None
