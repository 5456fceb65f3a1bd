"""The second place: a file elsewhere to which every checkpoint is appended, so that a log rolled back is found out.

One line is one signed note in base64. What writes here only appends (``chattr +a`` may hold it to that); it is the more
worth the less whoever can change the record can change it too: another file system, another host.
"""

import base64
import binascii
import os
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.notes import Checkpoint, Verifier, open_checkpoint
from jupyter_hpcsec.errors import HpcsecError, Malformed

FILE_LIMIT = 4 << 30
LINE_LIMIT = 4096
_TAIL = 64 * 1024


class SecondPlace:
    """Appends checkpoints to a file (0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with files.translated(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
            size = os.fstat(self._descriptor).st_size
            self._tail = os.pread(self._descriptor, _TAIL, max(0, size - _TAIL))

    def last(self, verifier: Verifier, origin: str) -> Checkpoint | None:
        """The checkpoint that was appended last, from the end of the file; a line that was cut by a crash is none."""
        return _last(self._tail, verifier, origin)

    def append(self, note: bytes) -> None:
        """Append one; durable when this returns. ``OSError``."""
        cut = b"" if not self._tail or self._tail.endswith(b"\n") else b"\n"
        line = cut + base64.b64encode(note) + b"\n"
        self._tail = b"?"  # until the whole line is there, the next one has to begin anew
        files.write_all(self._descriptor, line)
        os.fdatasync(self._descriptor)
        self._tail = b"\n"

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def newest(path: Path, verifier: Verifier, origin: str) -> Checkpoint | None:
    """The checkpoint that was appended last, for a reader who changes nothing; ``HpcsecError``."""
    with files.translated(path), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read(_TAIL)
    return _last(tail, verifier, origin)


def _last(tail: bytes, verifier: Verifier, origin: str) -> Checkpoint | None:
    for line in reversed(tail.split(b"\n")[:-1]):
        if line:
            return parse_line(line, verifier, origin)
    return None


def parse_line(line: bytes, verifier: Verifier, origin: str) -> Checkpoint:
    """The checkpoint of one line; raises what ``open_checkpoint`` does."""
    if len(line) > LINE_LIMIT:
        raise Malformed("a line of the second place is shorter than this")
    try:
        note = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Malformed("a line of the second place is no base64") from exc
    if base64.b64encode(note) != line:
        raise Malformed("a line of the second place is not in its one form")
    return open_checkpoint(note, verifier, origin)


def read_all(path: Path, verifier: Verifier, origin: str) -> list[tuple[int, Checkpoint | HpcsecError]]:
    """(line number, checkpoint or what is wrong with the line) of the whole file, in order. ``OSError``."""
    found: list[tuple[int, Checkpoint | HpcsecError]] = []
    data = files.read(path, FILE_LIMIT)
    lines = data.split(b"\n")
    if lines.pop():
        found.append((len(lines) + 1, Malformed("the last line is cut")))
    for number, line in enumerate(lines, 1):
        try:
            found.append((number, parse_line(line, verifier, origin)))
        except HpcsecError as error:
            found.append((number, error))
    return sorted(found, key=lambda each: each[0])
