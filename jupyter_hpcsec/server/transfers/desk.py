"""What outlives a request of ``transfers.handlers``: who writes to which upload, the digests, and what is told of them.

All of it lives in the server's event loop; what blocks is done in threads.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Callable

from jupyter_hpcsec.audit.events import Object, Told
from jupyter_hpcsec.audit.kinds.transfers import NodeFileHashed, NodeUploadCompleted, NodeUploadFailed
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.server.transfers.digests import Digests
from jupyter_hpcsec.server.transfers.kept import Kept
from jupyter_hpcsec.server.transfers.tus import Piece
from jupyter_hpcsec.server.transfers.uploads import Failed, Uploads

BUFFER = 2**20
"""Bytes of a piece that wait in memory to be written at once."""
SLOWEST = 64 * 2**10
"""Bytes a second: a sender that is slower is cut off, and may come back."""
PATIENCE_S = 60.0
HASH_AHEAD = 256 * 2**20
"""Bytes that are hashed behind one piece at most, where a restart left more to read: it is caught up step by step."""


class Desk:
    """One for a server."""

    def __init__(self, uploads: Uploads, tell: Callable[[Told], None]) -> None:
        self.uploads, self._tell = uploads, tell
        self.digests = Digests(time.monotonic)
        self._writers: dict[str, Writer] = {}

    @staticmethod
    def time_for(size: int) -> float:
        """Seconds that a piece of this size may take to arrive."""
        return PATIENCE_S + size / SLOWEST

    def writer(self, upload: str, cut: Callable[[], None]) -> "Writer | None":
        """The right to write to an upload; None while somebody has it."""
        if upload in self._writers:
            return None
        made = self._writers[upload] = Writer(self, upload, cut)
        return made

    def over(self, upload: str) -> None:
        """The writer of this upload is done."""
        del self._writers[upload]

    async def cut(self, upload: str) -> None:
        """End the connection of whoever still sends to this upload, and wait until what came is put down."""
        writer = self._writers.get(upload)
        if writer is not None and writer.is_reading:
            writer.cut()
            await writer.released.wait()

    async def complete(self, kept: Kept, digest: bytes) -> os.stat_result:
        """Give a whole upload its name; tell it, and whatever keeps it from that."""
        try:
            path, facts = await asyncio.to_thread(self.uploads.finish, kept, digest)
        except HpcsecError as error:
            what = Object.of_path(os.path.join(kept.directory, kept.name), kept.length, digest.hex())
            rule = f"upload.{error.why.name.lower()}" if isinstance(error, Failed) else "upload.refused"
            self._tell(NodeUploadFailed(upload=kept.id, object=what, rule=rule, reason=error.reason))
            raise
        self.digests.remember(facts, digest)
        what = Object.of_path(os.fsencode(path), facts.st_size, digest.hex())
        self._tell(NodeUploadCompleted(upload=kept.id, object=what))
        return facts

    def hashed(self, path: str, size: int, digest: bytes) -> None:
        """Somebody was given a file's SHA-256."""
        self._tell(NodeFileHashed(object=Object.of_path(os.fsencode(path), size, digest.hex())))


class Writer:
    """One request that writes to an upload. Without a checksum what came counts also when the rest does not come."""

    def __init__(self, desk: Desk, upload: str, cut: Callable[[], None]) -> None:
        self._desk, self._upload, self.cut = desk, upload, cut
        self.released = asyncio.Event()
        self.is_reading = True
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._busy = asyncio.Lock()
        self._failure: Exception | None = None
        self._kept: Kept | None = None
        self._piece: Piece | None = None
        self._at = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self, kept: Kept, piece: Piece) -> None:
        """The piece is admitted."""
        self._kept, self._piece, self._at = kept, piece, kept.offset

    def _begun(self) -> tuple[Kept, Piece]:
        if self._kept is None or self._piece is None:
            raise AssertionError("BUG: a writer that did not begin")
        return self._kept, self._piece

    async def take(self, chunk: bytes) -> None:
        """Bytes of the piece. Once one could not be written the rest is let go by."""
        async with self._busy:
            self._buffer += chunk
            if len(self._buffer) >= BUFFER:
                await self._flush()

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        if data and self._failure is None:
            try:
                await asyncio.to_thread(self._put, data)
            except (HpcsecError, OSError) as error:
                self._failure = error

    def _put(self, data: bytearray) -> None:
        kept, _ = self._begun()
        self._desk.uploads.write(kept, self._at, data)
        self._hash.update(data)
        self._at += len(data)

    async def finish(self) -> Kept | None:
        """The whole piece came: what the upload is now; None where the piece is not what its checksum says."""
        self.is_reading = False
        async with self._busy:
            kept, piece = self._begun()
            await self._flush()
            if self._failure is not None:
                raise self._failure
            if piece.checksum is not None and not hmac.compare_digest(piece.checksum, self._hash.digest()):
                return None
            return await asyncio.to_thread(self._arrived, kept)

    def _arrived(self, kept: Kept) -> Kept:
        now = self._desk.uploads.arrived(kept, self._at) if self._at != kept.offset else kept
        self._desk.uploads.hash_on(now, HASH_AHEAD)
        return now

    def abandon(self) -> None:
        """The connection is gone before the piece was whole."""
        if self._task is None:
            self._task = asyncio.create_task(self._abandon())

    async def _abandon(self) -> None:
        try:
            async with self._busy:
                kept, piece = self._begun()
                if piece.checksum is None:
                    await self._flush()
                    with contextlib.suppress(HpcsecError, OSError):  # asked for again, it is told
                        await asyncio.to_thread(self._arrived, kept)
        finally:
            self.release()

    def release(self) -> None:
        """Let others write."""
        if not self.released.is_set():
            self.released.set()
            self._desk.over(self._upload)
