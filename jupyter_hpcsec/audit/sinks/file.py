"""The file sink: one JSON object a line, durable before it counts as delivered.

The file is opened by its name for each batch and appended to, so that another program may rename or truncate it.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks.items import Item, Rejected
from jupyter_hpcsec.config_forward import FileSink


class FileTarget:
    """Writes to ``settings.path``. ``now`` gives Unix seconds."""

    window = 1
    settle_s = 0.0

    def __init__(self, settings: FileSink, now: Callable[[], float]) -> None:
        self._settings, self._path, self._now = settings, Path(settings.path), now

    async def send(self, items: Sequence[Item]) -> list[Rejected]:
        """Append and fsync. ``Unavailable``: nothing of it stays, where the disk lets that be."""
        await asyncio.to_thread(self._write, b"".join(item.line(self._settings.format) + b"\n" for item in items))
        return []

    async def confirm(self) -> None:
        """What ``send`` has returned from is on disk."""

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, data: bytes) -> None:
        with files.translated(self._path):
            self._rotate()
            is_new = not self._path.exists()
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
            )
            try:
                self._append(descriptor, data)
            finally:
                os.close(descriptor)
            if is_new:
                files.sync_directory(self._path.parent)

    @staticmethod
    def _append(descriptor: int, data: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data  # a crash cut the last line; it comes again whole
        try:
            files.write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    def _rotate(self) -> None:
        """Move a file that is full, or of another day, out of the way; the oldest of those go."""
        settings = self._settings
        if not (settings.rotate_bytes or settings.rotate_daily):
            return
        try:
            about = self._path.lstat()
        except FileNotFoundError:
            return
        moment = datetime.fromtimestamp(self._now(), UTC)
        is_full = 0 < settings.rotate_bytes <= about.st_size
        is_old = settings.rotate_daily and datetime.fromtimestamp(about.st_mtime, UTC).date() < moment.date()
        if not is_full and not is_old:
            return
        name = f"{self._path.name}.{moment:%Y%m%dT%H%M%S.%f}"
        self._path.rename(self._path.with_name(name))
        files.sync_directory(self._path.parent)
        pattern = re.compile(re.escape(self._path.name) + r"\.[0-9]{8}T[0-9]{6}\.[0-9]{6}")
        rotated = sorted(path for path in self._path.parent.iterdir() if pattern.fullmatch(path.name))
        for path in rotated[: -settings.keep]:
            path.unlink()
