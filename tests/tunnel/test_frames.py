"""Frames: everything malformed is refused at its first byte, everything else comes back however it was cut."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel.frames import (
    DONE_FRAME,
    EOF_FRAME,
    MAX_DATA,
    Data,
    Done,
    Eof,
    Event,
    FrameDecoder,
    Open,
    Reset,
    check_target,
    data_header,
    open_frame,
    reset_frame,
)

TARGETS = st.sampled_from(["server", "hub-api", "app/dask", "app/tensor-board-2"])
REASONS = st.text("abcdefghijklmnopqrstuvwxyz0123456789 .-", max_size=64)
ENCODED = st.one_of(
    TARGETS.map(lambda name: (open_frame(name), Open(name))),
    st.binary(min_size=1, max_size=300).map(lambda data: (data_header(len(data)) + data, data)),
    st.just((EOF_FRAME, Eof())),
    REASONS.map(lambda reason: (reset_frame(reason), Reset(reason))),
    st.just((DONE_FRAME, Done())),
)


def joined(events: list[Event]) -> list[Event | bytes]:
    """Events with adjacent DATA joined to bytes: where a frame was cut is no part of the stream."""
    result: list[Event | bytes] = []
    for event in events:
        if not isinstance(event, Data):
            result.append(event)
        elif result and isinstance(result[-1], bytes):
            result[-1] += bytes(event.view)
        else:
            result.append(bytes(event.view))
    return result


@given(st.lists(ENCODED, max_size=12), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_back_however_they_were_cut(frames: list[tuple[bytes, Event | bytes]], cuts: list[int]) -> None:
    wire = b"".join(encoded for encoded, _ in frames)
    decoder, events, position, number = FrameDecoder(), [], 0, 0
    while position < len(wire):
        size = cuts[number % len(cuts)]
        found, taken = decoder.receive(memoryview(wire)[position : position + size], size % 3 + 1)
        assert len(found) <= size % 3 + 1
        events += found
        position, number = position + taken, number + 1
    expected: list[Event | bytes] = []
    for _, event in frames:
        if isinstance(event, bytes) and expected and isinstance(expected[-1], bytes):
            expected[-1] += event
        else:
            expected.append(event)
    assert joined(events) == expected


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_malformed(wire: bytes) -> None:
    with contextlib.suppress(Malformed):
        FrameDecoder().receive(memoryview(wire), 1000)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x00\x00\x00\x00\x00",
        b"\x06\x00\x00\x00\x00",
        b"\xff\x00\x00\x00\x00",
        b"\x02\x00\x00\x00\x00",
        b"\x02" + (MAX_DATA + 1).to_bytes(4, "big"),
        b"\x03\x00\x00\x00\x01x",
        b"\x05\x00\x00\x00\x01x",
        b"\x01\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x41" + b"a" * 65,
        b"\x04\x00\x00\x00\x41" + b"a" * 65,
        b"\x04\x00\x00\x00\x02\n\x1b",
        b"\x01\x00\x00\x00\x02\xff\xfe",
    ],
)
def test_malformed_frames_are_refused(wire: bytes) -> None:
    with pytest.raises(Malformed):
        FrameDecoder().receive(memoryview(wire), 1000)


def test_a_wrong_header_is_refused_before_its_payload_comes() -> None:
    with pytest.raises(Malformed):
        FrameDecoder().receive(memoryview(b"\x01\x7f\xff\xff\xff"), 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Server",
        "server ",
        "127.0.0.1:22",
        "host:80",
        "app/",
        "app/-x",
        "app/x-",
        "app/a/b",
        "app/..",
        "app/" + "a" * 33,
        "server\n",
        "hub-api/",
        "app/A",
        "\N{LATIN SMALL LETTER LONG S}erver",
    ],
)
def test_a_target_is_a_name_on_the_list(name: str) -> None:
    with pytest.raises(Malformed):
        check_target(name)


@pytest.mark.parametrize("name", ["server", "hub-api", "app/a", "app/" + "a" * 32])
def test_targets_on_the_list(name: str) -> None:
    assert check_target(name) == name


def test_a_reason_that_can_not_be_sent_is_a_bug() -> None:
    with pytest.raises(ValueError, match="BUG"):
        reset_frame("No\n")
