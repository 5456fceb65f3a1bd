"""Downloads: pages that send a file piece by piece, as it is taken, and never half of one as if it were whole."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from tornado.iostream import StreamClosedError

from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.console.page import SELF, Page
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.ops.audit.reading import Record

PIECE = 1 << 18
"""Bytes that wait for the visitor at most."""

T = TypeVar("T")


class Reading(Page):
    """A page that reads the record."""

    async def read(self, work: Callable[[Record, Index], T]) -> T:
        """What ``work`` finds. A record that does not hold is no fault of who asks: it is ``Unavailable``."""
        record = self.desk.record
        try:
            return await (record.run_own(self.reader.name, work) if self.scope == SELF else record.run(work))
        except Malformed as exc:
            raise Unavailable(f"The record does not hold: {exc.reason}. Run `hpcsec audit verify`.") from exc

    async def toil(self, work: Callable[[Record], T]) -> T:
        """The same for work of minutes, without an index."""
        record = self.desk.record
        try:
            return await (record.toil_own(self.reader.name, work) if self.scope == SELF else record.toil(work))
        except Malformed as exc:
            raise Unavailable(f"The record does not hold: {exc.reason}. Run `hpcsec audit verify`.") from exc

    def as_file(self, name: str, kind: str) -> None:
        """The answer is a file of this name (ours, plain) and type; no browser shows it as a page."""
        self.set_header("Content-Type", kind)
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')

    async def send(self, data: bytes) -> None:
        """All of it, no faster than it is taken."""

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(data), PIECE):
                yield data[at : at + PIECE]

        self.set_header("Content-Length", str(len(data)))
        await self.stream(pieces())

    async def stream(self, pieces: AsyncIterator[bytes]) -> None:
        """What comes, no faster than it is taken. Where it breaks, the connection does: the file is seen to be cut."""
        try:
            async for piece in pieces:
                self.write(piece)
                await self.flush()
            await self.finish()
        except StreamClosedError:
            return  # the visitor has left
        except HpcsecError as error:
            if not self._headers_written:
                raise
            self.desk.log.warning("%s is cut: %s", self.request.path, error)
            self._cut()

    def _cut(self) -> None:
        connection: Any = self.request.connection
        connection.stream.close()
