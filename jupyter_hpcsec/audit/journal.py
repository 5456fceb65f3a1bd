"""The journal: batches of leaves, each durable by one fsync and signed, until tiles and a checkpoint hold them.

A segment is a sequence of frames: magic, length, body, SHA-256 of all that. A body is the first leaf's index, a signed
note with the tree's size and root after the batch, and the leaves as in an entry bundle. The notes' origin is not the
log's: a batch that could not be written is no promise, a checkpoint is one.

Segments are only appended to, each by one process. A frame that a crash or a full disk left unfinished stays where it
is until the leaves before it are published; then the whole segment is set aside.
"""

import contextlib
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import NOTE_LIMIT, Checkpoint, Signer, Verifier, open_checkpoint
from jupyter_hpcsec.audit.tiles import BUNDLE_LIMIT, decode_bundle, encode_bundle
from jupyter_hpcsec.errors import HpcsecError, Refused

MAGIC = b"HSJ1"
SEGMENT_BYTES = 8 << 20
"""A segment that has grown past this is followed by a new one."""
BATCH_LIMIT = 1024
"""Leaves of one frame."""
BODY_LIMIT = BUNDLE_LIMIT * (BATCH_LIMIT // 256) + NOTE_LIMIT + 10
AHEAD = 256 << 10
"""Bytes that are written ahead at a time."""
SEGMENT_LIMIT = SEGMENT_BYTES + BODY_LIMIT + AHEAD + 40

_HEADER = struct.Struct(">4sI")
_BODY = struct.Struct(">QH")
_DIGEST = 32


def journal_origin(origin: str) -> str:
    """The origin of the notes in the journal of the log of this origin."""
    return f"{origin}/journal"


@dataclass(frozen=True)
class Frame:
    """One batch: leaves from ``first`` on, and the signed head after them."""

    first: int
    leaves: list[bytes]
    note: bytes

    @property
    def end(self) -> int:
        """The index after its last leaf."""
        return self.first + len(self.leaves)

    def encode(self) -> bytes:
        """The frame's bytes."""
        body = _BODY.pack(self.first, len(self.note)) + self.note + encode_bundle(self.leaves)
        head = _HEADER.pack(MAGIC, len(body)) + body
        return head + hashlib.sha256(head).digest()

    def head(self, verifier: Verifier, origin: str) -> Checkpoint:
        """The verified head; raises what ``open_checkpoint`` does."""
        return open_checkpoint(self.note, verifier, journal_origin(origin))


def sign_head(signer: Signer, origin: str, size: int, root: bytes) -> bytes:
    """The note of a frame."""
    return signer.sign(Checkpoint(journal_origin(origin), size, root).text())


def parse_segment(data: bytes) -> tuple[list[Frame], int]:
    """The frames of a segment and how many of its bytes they are: what follows is unfinished or damaged."""
    frames, at = [], 0
    while at < len(data):
        frame, end = _parse_frame(data, at)
        if frame is None:
            break
        frames.append(frame)
        at = end
    return frames, at


def rest_of(data: bytes, good: int) -> bytes:
    """What follows the frames of a segment; empty where that is nothing but zeros, written ahead."""
    rest = data[good:]
    return rest if rest.strip(b"\x00") else b""


def _parse_frame(data: bytes, at: int) -> tuple[Frame | None, int]:
    if len(data) - at < _HEADER.size + _DIGEST:
        return None, at
    magic, length = _HEADER.unpack_from(data, at)
    end = at + _HEADER.size + length
    if magic != MAGIC or length > BODY_LIMIT or length < _BODY.size or end + _DIGEST > len(data):
        return None, at
    if hashlib.sha256(data[at:end]).digest() != data[end : end + _DIGEST]:
        return None, at
    first, note_length = _BODY.unpack_from(data, at + _HEADER.size)
    start = at + _HEADER.size + _BODY.size
    try:
        leaves = decode_bundle(data[start + note_length : end])
    except HpcsecError:
        return None, at
    return Frame(first, leaves, data[start : start + note_length]), end + _DIGEST


@dataclass(frozen=True)
class Stretch:
    """What counts of one segment: its frames that no later segment replaces, and the bytes that they are."""

    path: Path
    data: bytes
    frames: list[Frame]
    good: int

    @property
    def rest(self) -> bytes:
        """What does not count: unfinished, damaged, or written again later."""
        return rest_of(self.data, self.good)


def read_journal(layout: Layout) -> list[Stretch]:
    """All segments in order. A segment's frames count as long as the next segment does not begin before their end.

    ``Refused("audit.damaged")`` where whole frames follow broken bytes: that was no crash. ``OSError``.
    """
    found = []
    named = layout.segments()
    for number, (_, path) in enumerate(named):
        limit = named[number + 1][0] if number + 1 < len(named) else None
        data = files.read(path, SEGMENT_LIMIT)
        frames, good = parse_segment(data)
        if _has_frame(data, good):
            raise Refused("audit.damaged", f"{path} is damaged in its middle; keep it and run `hpcsec audit verify`")
        while frames and limit is not None and frames[-1].end > limit:
            good -= len(frames.pop().encode())
        found.append(Stretch(path, data, frames, good))
    return found


def _has_frame(data: bytes, start: int) -> bool:
    at = start
    while (at := data.find(MAGIC, at)) >= 0:
        if _parse_frame(data, at)[0] is not None:
            return True
        at += 1
    return False


class Segment:
    """The segment that is written to. Every ``append`` that returns is durable; one that raises left no trace.

    The file is longer than its frames, by zeros that were written ahead: an fsync that changes no file's length does
    not wait for the file system's own journal (0.5 instead of 4 ms at the 99th percentile, where it was measured).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            files.sync_directory(path.parent)
        except BaseException:
            self.close()
            raise
        self.size = self._ahead = 0

    def append(self, data: bytes) -> None:
        """Write and fsync. On ``OSError`` what was written is taken back, and the caller has to go on in a new segment:

        after a failed fsync the kernel may call pages clean that are not on disk (so said since Linux 4.13).
        """
        try:
            if self.size + len(data) > self._ahead:
                zeros = -(-(self.size + len(data) - self._ahead) // AHEAD) * AHEAD
                files.write_all(self._descriptor, bytes(zeros), self._ahead)
                os.fsync(self._descriptor)
                self._ahead += zeros
            files.write_all(self._descriptor, data, self.size)
            os.fdatasync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # where even that fails, what is left of the frame is set aside later
                os.ftruncate(self._descriptor, self.size)
                os.fdatasync(self._descriptor)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Close it; its file stays, without the zeros."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.size)
        os.close(self._descriptor)
