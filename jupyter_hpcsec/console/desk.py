"""What pages ask: the gateway, and the record in worker threads. They get it as ``self.desk``."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.console import ConsoleRefused
from jupyter_hpcsec.config_console import ConsoleSettings
from jupyter_hpcsec.console.comparing import Comparing
from jupyter_hpcsec.console.verifying import Verifying
from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.tunnel.admin import AdminClient

THREADS = 4
OWN_THREADS = 2
"""For everybody's own records, apart from the staff's: who keeps these busy keeps no officer waiting."""
OWN_WAITING = 4
"""Pages of one person's own records that are made or wait; they are made one after another."""
COUNTED = 1000
"""Open alerts that are counted for the navigation; more are "1000+"."""
TELLING, WAITING = 8, 256
"""Events that are told to the gateway at once, and that wait for it: strangers can make as many refusals as they like,
and the gateway's admin socket is the hub's, too. Refusals beyond are counted, and the count is told."""
CATCH_UP_S = 2.0
"""Between two looks for new events, so that whoever asks finds the index nearly up to date."""

T = TypeVar("T")


class Books:
    """The record and its index. All that reads them runs in a thread: ``run`` for what is quick, ``toil`` for the rest.

    ``work(record, index)`` gets an index that knows every event under the checkpoint of now; it may not keep it.
    """

    def __init__(self, settings: ConsoleSettings) -> None:
        self._directory = settings.record
        self._quick = ThreadPoolExecutor(THREADS, thread_name_prefix="record")
        self._slow = ThreadPoolExecutor(2, thread_name_prefix="toil")
        self._own = ThreadPoolExecutor(OWN_THREADS, thread_name_prefix="own")
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
        self._adding = Lock()
        self.open_alerts = 0
        """Alerts that nobody has looked at yet, as of the last look; ``COUNTED`` at most."""

    async def run(self, work: Callable[[Record, Index], T]) -> T:
        """What ``work`` returns; ``Unavailable`` or ``Refused`` where the record can't be read."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, self._with_index, work)

    async def toil(self, work: Callable[[Record], T]) -> T:
        """The same for work of minutes (verifying, exporting), which keeps no page waiting; without an index."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, lambda: work(Record(self._directory)))

    async def run_own(self, reader: str, work: Callable[[Record, Index], T]) -> T:
        """As ``run``, for a page of the reader's own records: one of each reader at a time, in threads of their own."""
        return await self._in_turn(reader, lambda: self._with_index(work))

    async def toil_own(self, reader: str, work: Callable[[Record], T]) -> T:
        """As ``toil``, for the reader's own records."""
        return await self._in_turn(reader, lambda: work(Record(self._directory)))

    async def _in_turn(self, reader: str, work: Callable[[], T]) -> T:
        with self.counted(reader):
            async with self._turns.setdefault(reader, asyncio.Lock()):
                return await asyncio.get_running_loop().run_in_executor(self._own, work)

    @contextlib.contextmanager
    def counted(self, reader: str) -> Iterator[None]:
        """As long as it is open something of the reader's waits; ``Unavailable`` where too much does already."""
        if self._waiting[reader] >= OWN_WAITING:
            raise Unavailable(f"{OWN_WAITING} pages of your records are being made; open this one when they are there.")
        self._waiting[reader] += 1
        try:
            yield
        finally:
            self._waiting[reader] -= 1
            if not self._waiting[reader]:
                del self._waiting[reader]
                self._turns.pop(reader, None)

    def _with_index(self, work: Callable[[Record, Index], T]) -> T:
        record = Record(self._directory)
        index = Index(record.layout.index, record.reader, record.verifier)
        with contextlib.closing(index):
            with self._adding:  # one adds, the others find it added
                index.catch_up()
            return work(record, index)

    async def follow(self, log: logging.Logger) -> None:
        """Keep the index near the record, until cancelled: a first page should not have to wait for it."""
        said = ""
        while True:
            try:
                self.open_alerts = await self.run(lambda _, index: sum(index.open_alerts(COUNTED).values()))
                said = ""
            except HpcsecError as error:
                if error.reason != said:
                    log.warning("the record can't be read: %s", error)
                said = error.reason
            await asyncio.sleep(CATCH_UP_S)

    def close(self) -> None:
        """Let go of the threads; work that has begun ends by itself."""
        for pool in (self._quick, self._slow, self._own):
            pool.shutdown(wait=False, cancel_futures=True)


class Desk:
    """``gateway``: the admin API. ``record``: the record (``Books``). ``settings``: the console's own.

    ``verifying``: the verification of the record that runs, or the last one.
    """

    def __init__(self, settings: ConsoleSettings, log: logging.Logger) -> None:
        self.settings, self.log = settings, log
        self.gateway = AdminClient(settings.admin_socket)
        self.record = Books(settings)
        self.comparing = Comparing()
        self.verifying = Verifying(self.gateway.console_event, log)
        self._telling: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(TELLING)
        self._left_out = 0

    def note(self, event: Event, on_behalf: str = "") -> None:
        """Have an event recorded in its turn; where no gateway takes it, the console's own log has it.

        A refusal among too many of them is counted instead.
        """
        if event.decision == "refused" and len(self._telling) >= WAITING:
            self._left_out += 1
            return
        task = asyncio.get_running_loop().create_task(self._tell(event, on_behalf))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, event: Event, on_behalf: str) -> None:
        async with self._turns:
            await self._told(event, on_behalf)
            if self._left_out:
                count, self._left_out = self._left_out, 0
                reason = f"{count} more requests were refused than could be told one by one"
                await self._told(ConsoleRefused(decision="refused", rule="console.flood", reason=reason), "")

    async def _told(self, event: Event, on_behalf: str) -> None:
        try:
            await self.gateway.console_event(event, on_behalf)
        except HpcsecError as error:
            self.log.warning("not on record (%s): %s of %s", error, event, on_behalf or "nobody known")

    async def close(self) -> None:
        """End what runs, wait for what is being told, and let go."""
        await self.verifying.stop()
        if self._telling:
            await asyncio.wait(self._telling)
        self.record.close()
