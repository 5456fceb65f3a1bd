"""The journal's frames: what is read is what was written, and nothing else is a frame."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.journal import MAGIC, Frame, Segment, parse_segment, read_journal, sign_head
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import Signer
from jupyter_hpcsec.errors import HpcsecError, Refused

SIGNER = Signer.make("test.example/audit")


def frame(first: int, *leaves: bytes) -> Frame:
    return Frame(first, list(leaves), sign_head(SIGNER, "test.example/audit", first + len(leaves), bytes(32)))


@given(st.lists(st.lists(st.binary(max_size=50), max_size=5), max_size=4), st.binary(max_size=40))
def test_frames_there_and_back_and_what_follows(batches: list[list[bytes]], rest: bytes) -> None:
    frames = [frame(number * 10, *leaves) for number, leaves in enumerate(batches)]
    data = b"".join(each.encode() for each in frames)
    assert parse_segment(data) == (frames, len(data))
    assert parse_segment(data + rest)[0][: len(frames)] == frames
    if data:
        assert len(parse_segment(data[:-1])[0]) == len(frames) - 1


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_frames(data: bytes) -> None:
    assert parse_segment(data) == ([], 0)
    assert parse_segment(MAGIC + data) == ([], 0)


def test_every_flipped_bit_ends_the_frames() -> None:
    data = frame(0, b"one", b"two").encode()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert parse_segment(bytes(changed))[0] == []


def test_the_head_is_the_journals_and_not_the_logs() -> None:
    made = frame(5, b"x")
    assert made.head(SIGNER.verifier, "test.example/audit").size == 6
    with pytest.raises(HpcsecError):
        made.head(Signer.make("test.example/audit").verifier, "test.example/audit")
    with pytest.raises(Refused, match="another log"):
        made.head(SIGNER.verifier, "other.example/audit")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.journal.mkdir()
    return layout


def test_a_later_segment_replaces_what_an_earlier_one_could_not_finish(layout: Layout) -> None:
    one, lost, again = frame(0, b"a"), frame(1, b"lost"), frame(1, b"b")
    layout.next_segment(0).write_bytes(one.encode() + lost.encode() + b"torn")
    layout.next_segment(1).write_bytes(again.encode())
    first, second = read_journal(layout)
    assert first.frames == [one]
    assert first.rest == lost.encode() + b"torn"
    assert second.frames == [again]


def test_names_of_segments_are_never_used_twice(layout: Layout) -> None:
    names = []
    for _ in range(3):
        path = layout.next_segment(7)
        path.touch()
        names.append(path.name)
    assert len(set(names)) == 3
    assert [path.name for _, path in layout.segments()] == names
    layout.segments()[0][1].unlink()
    assert layout.next_segment(7).name not in names


def test_frames_after_broken_bytes_are_no_crash(layout: Layout) -> None:
    layout.next_segment(0).write_bytes(b"broken" + frame(0, b"a").encode())
    with pytest.raises(Refused, match="damaged in its middle"):
        read_journal(layout)


def test_a_write_that_fails_leaves_no_trace(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(layout.next_segment(0))
    segment.append(b"first")

    assert set(segment.path.read_bytes()[5:]) == {0}

    def half(descriptor: int, data: bytes, at: int) -> None:
        os.pwrite(descriptor, data[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(files, "write_all", half)
    with pytest.raises(OSError, match="full"):
        segment.append(b"second and third")
    assert segment.path.read_bytes() == b"first"
    assert segment.path.stat().st_mode & 0o777 == 0o600
    segment.close()


def test_zeros_written_ahead_are_no_rest_and_go_with_the_close(layout: Layout) -> None:
    segment = Segment(layout.next_segment(0))
    segment.append(frame(0, b"a").encode())
    segment.append(frame(1, bytes(300_000 % 65_535), *[bytes(60_000)] * 9).encode())
    (stretch,) = read_journal(layout)
    assert [each.end for each in stretch.frames] == [1, 11]
    assert stretch.rest == b""
    assert segment.path.stat().st_size > segment.size
    segment.close()
    assert segment.path.stat().st_size == segment.size
