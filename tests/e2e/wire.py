"""A way for TCP on this computer that a test can cut and mend: connections break, and new ones are closed at once."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

LOOPBACK = "127.0.0.1"
CHUNK = 64 * 1024


class Wire:
    """Leads from ``port`` to where ``lead`` says, in a thread of its own. Before that, and while cut, to nowhere."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._target = 0
        self._is_cut = False
        self._ends: set[asyncio.StreamWriter] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server: asyncio.Server = self._do(asyncio.start_server(self._carry, LOOPBACK, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def lead(self, port: int) -> None:
        self._target = port

    def cut(self) -> None:
        """Every connection is broken when this returns."""
        self._do(self._cut())

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        """Cut for good."""
        self._server.close()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _cut(self) -> None:
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()
        if self._carriers:
            await asyncio.wait(self._carriers)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrier = asyncio.current_task()
        assert carrier is not None
        self._carriers.add(carrier)
        self._ends.add(writer)
        try:
            if self._target and not self._is_cut:
                await self._join(reader, writer)
        except OSError:
            return  # an end is gone, as it may at any time
        finally:
            writer.transport.abort()
            self._ends.discard(writer)
            self._carriers.discard(carrier)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        self._ends.add(far_writer)
        try:
            if not self._is_cut:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()
            self._ends.discard(far_writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the one end says that it is over; the other is told so."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
