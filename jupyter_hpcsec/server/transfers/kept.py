"""What is remembered of uploads that are not over: one small file each, in a directory of the user's own.

They outlive the server, so that an upload goes on in it once it is back, or in the next session. It touches none of
the uploaded bytes.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from jupyter_hpcsec.errors import Malformed

NOTE_LIMIT = 32_768
OPEN_LIMIT = 64
"""Uploads of one user that are not over."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upload: ``offset`` bytes of ``length`` are in the partial file ``device``/``inode``, beside ``name``.

    ``directory`` and ``name`` are where the file will be, without a link on the way. ``replaces`` is the entity tag of
    the file that it may replace, empty where there must be none. Times are Unix seconds.
    """

    id: str
    directory: bytes
    name: bytes
    device: int
    inode: int
    length: int
    offset: int
    replaces: str
    touched: float


class Notes:
    """The files. Blocking."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, upload: str) -> Path:
        return self.directory / f"{upload}.json"

    def write(self, kept: Kept) -> None:
        """Remember; what was remembered of it before is replaced as a whole."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.directory / f".{kept.id}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(kept))
        new.replace(self._path(kept.id))

    def read(self, upload: str) -> Kept:
        """What is remembered; FileNotFoundError for nothing, ``Malformed`` for what this version did not write."""
        descriptor = os.open(self._path(upload), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(NOTE_LIMIT + 1)
        try:
            kept = msgspec.json.decode(content[: NOTE_LIMIT + 1], type=Kept)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed("What was remembered of this upload can't be read.") from error
        if kept.id != upload or not 0 <= kept.offset <= kept.length or b"/" in kept.name or kept.name in {b"", b".."}:
            raise Malformed("What was remembered of this upload can't be used.")
        return kept

    def forget(self, upload: str) -> None:
        """It is over."""
        with contextlib.suppress(FileNotFoundError):
            self._path(upload).unlink()

    def all(self) -> Iterator[Kept]:
        """All that is remembered, as far as it can be read; what can't be is removed."""
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self.directory.glob("*.json")):
                try:
                    yield self.read(path.stem)
                except Malformed:
                    path.unlink(missing_ok=True)
                except OSError:
                    continue
