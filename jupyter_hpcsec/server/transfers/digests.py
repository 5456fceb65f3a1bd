"""SHA-256 of files, made in threads, remembered by what identifies a file's content, and no longer than asked for."""

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from jupyter_hpcsec.access.etag import etag_of

READ_SIZE = 2**20
AT_ONCE = 2
"""Files that are read at the same time."""
WAITING_LIMIT = 32
"""Files that are read or wait to be."""
REMEMBERED = 1024
PATIENCE_S = 60.0
"""A file that nobody asks about any more for so long is not read on."""


class TooMany(Exception):
    """So many files are being read that another one has to wait with its sender."""


@dataclass
class Job:
    """One file on its way through SHA-256: ``done`` of ``size`` bytes."""

    etag: str
    size: int
    done: int = 0
    asked: float = 0.0
    task: "asyncio.Task[bytes | None] | None" = None
    stop: threading.Event = field(default_factory=threading.Event)


class Digests:
    """Of one server. For one event loop; ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._jobs: dict[str, Job] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    def known(self, facts: os.stat_result) -> bytes | None:
        """The digest of a file with these facts, if it is remembered."""
        found = self._known.get(etag_of(facts))
        if found is not None:
            self._known.move_to_end(etag_of(facts))
        return found

    def remember(self, facts: os.stat_result, digest: bytes) -> None:
        """Keep a digest for as long as the file's facts stay what they are."""
        self._known[etag_of(facts)] = digest
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def begin(self, descriptor: int) -> Job:
        """Have an open file hashed, or join in who has it hashed. The descriptor is duplicated. ``TooMany``."""
        facts = os.fstat(descriptor)
        etag = etag_of(facts)
        job = self._jobs.get(etag)
        if job is None:
            if len(self._jobs) >= WAITING_LIMIT:
                raise TooMany
            job = self._jobs[etag] = Job(etag, facts.st_size)
            job.asked = self._clock()
            job.task = asyncio.create_task(self._run(job, os.dup(descriptor)))
        job.asked = self._clock()
        return job

    async def _run(self, job: Job, descriptor: int) -> bytes | None:
        """The digest; None for a file that changed meanwhile, or that nobody waited for."""
        try:
            async with self._free:
                found = await asyncio.to_thread(self._hash, job, descriptor)
            facts = os.fstat(descriptor)
            if found is None or etag_of(facts) != job.etag:
                return None
            self.remember(facts, found)
            return found
        finally:
            os.close(descriptor)
            del self._jobs[job.etag]

    def _hash(self, job: Job, descriptor: int) -> bytes | None:
        state = hashlib.sha256()
        while data := os.pread(descriptor, READ_SIZE, job.done):
            state.update(data)
            job.done += len(data)
            if job.stop.is_set() or self._clock() - job.asked > PATIENCE_S:
                return None
        return state.digest()

    async def close(self) -> None:
        """Stop reading."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        await asyncio.gather(*(job.task for job in jobs if job.task is not None), return_exceptions=True)
