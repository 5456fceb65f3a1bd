"""The record: events become leaves, durable in groups, under a signed checkpoint at most about a second later.

An event that waits for its receipt (``record``) is acknowledged after fsync and not before; those that do not, by
``note``, are gathered for a moment, and written in their turn. Where the disk does not take them, ``record`` and
``require`` raise ``Unavailable`` and the caller lets nothing new begin; what was only noted waits, in a bounded queue,
and what the queue could not hold is an event itself. One thread writes, one publishes; no caller waits for a disk but
by awaiting its receipt.
"""

import dataclasses
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from jupyter_hpcsec.audit import recovery, values
from jupyter_hpcsec.audit.events import Event, Subject, Trust, kind_of
from jupyter_hpcsec.audit.files import Lock, make_directory, replace
from jupyter_hpcsec.audit.journal import BATCH_LIMIT, SEGMENT_BYTES, Frame, Segment, sign_head
from jupyter_hpcsec.audit.kinds.record import AuditClosed, AuditGap, AuditOpened, AuditPruned, AuditShredded
from jupyter_hpcsec.audit.layout import Layout
from jupyter_hpcsec.audit.notes import Checkpoint, Verifier
from jupyter_hpcsec.audit.publisher import AT_ONCE, Publisher
from jupyter_hpcsec.audit.retention import Removed, due, remove, root_at
from jupyter_hpcsec.audit.secondplace import SecondPlace
from jupyter_hpcsec.audit.stamps import Queued, Stamper
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable

QUEUE_LIMIT = 16_384
"""Events that wait to be written."""
QUEUE_BYTES = 64 << 20
"""Bytes of sealed values among them."""
PENDING_LIMIT = 65_536
"""Leaves that wait for a checkpoint in memory; past this the writer waits for the publisher."""
RETRY_S = 1.0
NOTED_S = 0.05
"""How long events that nobody waits for are gathered: a batch takes as much of the process as several requests."""
CLOSE_S = 20.0


def _last(place: SecondPlace, verifier: Verifier, path: Path | None) -> Checkpoint | None:
    try:
        return place.last(verifier, verifier.name)
    except HpcsecError as error:
        raise Refused(
            "audit.second-place",
            f"{path} does not end with a checkpoint of this record ({error.reason}): it was changed, or is another"
            " record's. Keep it, and name another file in audit_checkpoints.",
        ) from error


@dataclass(frozen=True)
class Health:
    """How the record is: leaves durable and published, whether it can't be written (``why``), events lost so far."""

    durable: int
    published: int
    why: str
    lost: int


class Log:
    """The one writer of a record. Its methods may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        origin: str,
        second_place: Path | None,
        version: str = "",
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        random: Callable[[int], bytes] = os.urandom,
        checkpoint_s: float = 0.8,
        seen: Sequence[Checkpoint] = (),
    ) -> None:
        """Open the record, or make it at the first start. ``seen`` are checkpoints that others have seen of it.

        ``Refused("audit.…")`` where it was changed, rolled back, or is another process's; ``Unavailable``.
        """
        self._layout = Layout(directory)
        self._random, self._checkpoint_s = random, checkpoint_s
        self._second: SecondPlace | None = None
        make_directory(directory)
        self._lock = Lock(self._layout.lock)
        try:
            signer = self._signer = recovery.open_signer(self._layout, origin)
            self._second = SecondPlace(second_place) if second_place else None
            elsewhere = _last(self._second, signer.verifier, second_place) if self._second else None
            found = recovery.find(self._layout, signer.verifier, [*seen, *([elsewhere] if elsewhere else [])])
        except BaseException:
            self._release()
            raise
        self._stamper = Stamper(found.seq, found.boot + 1, clock_ns, monotonic_ns, random)
        self._frontier, self._pending = found.frontier, found.pending
        self._publisher = Publisher(self._layout, signer, self._second, found.edge, self._note_own)
        for stretch in found.stretches:
            end = stretch.frames[-1].end if stretch.frames else 0
            self._publisher.retire(stretch.path, end, stretch.good)
        self._segment: Segment | None = None
        self._rotate, self._retaining = False, threading.Lock()
        self._values_clean = False
        self._values_lock = threading.Lock()
        self._state = threading.Condition()
        self._queue: deque[Queued] = deque()
        self._queue_bytes = self._awaited = 0
        self._lost: Counter[str] = Counter()
        self._lost_since, self._lost_total = "", 0
        self._why = {"write": "", "publish": ""}
        self._stopping = self._written_out = False
        self._note_own(AuditOpened(version=version, leaves=found.frontier.size))
        self._writer = threading.Thread(target=self._guard, args=(self._write_loop,), name="audit-writer", daemon=True)
        self._publishing = threading.Thread(
            target=self._guard, args=(self._publish_loop,), name="audit-publisher", daemon=True
        )
        self._writer.start()
        self._publishing.start()

    # What callers use

    @property
    def verifier(self) -> Verifier:
        """The record's public key."""
        return self._signer.verifier

    def health(self) -> Health:
        """How the record is."""
        with self._state:
            return Health(self._frontier.size, self._publisher.size, self._reason(), self._lost_total)

    def require(self) -> None:
        """``Unavailable`` where the record can't be written now: nothing new may begin."""
        with self._state:
            self._require()

    def record(self, event: Event, trust: Trust, sealed: Mapping[str, bytes] | None = None) -> "Future[int]":
        """Record an event; the receipt gives its leaf's index once it is durable, or raises ``Unavailable``.

        Raises ``Unavailable`` at once where the record can't be written or too many events wait.
        """
        receipt: Future[int] = Future()
        with self._state:
            self._require()
            if not self._enqueue(self._stamper.queue(event, trust, sealed or {}, receipt)):
                raise Unavailable("The audit record is too far behind; nothing new begins until it has caught up.")
        return receipt

    def note(self, event: Event, trust: Trust, sealed: Mapping[str, bytes] | None = None) -> None:
        """Record an event that nothing waits for. It never blocks and never raises; one too many is counted as lost."""
        with self._state:
            queued = self._stamper.queue(event, trust, sealed or {}, None)
            if not self._enqueue(queued):
                self._lose(queued)

    def shred(self, leaf: int, name: str, event: AuditShredded) -> bool:
        """Destroy a sealed value, after the event that says so is durable; False where there was none."""
        if not any(kept.name == name and kept.value is not None for kept in values.find(self._layout, leaf)):
            return False
        self.record(event, "gateway").result()
        with self._values_lock:
            return values.shred(self._layout, leaf, name)

    def retain(self, events_before: str, values_before: str, who: Subject) -> Removed:
        """Remove bundles of events, and sealed values, that are older than times (as in events; empty: remove none).

        First the file that says how far, then the event, then what is removed; what a crash left of that is ended.
        ``Unavailable``, ``OSError``: call again. Returns how far the record has been removed since its beginning.
        """
        with self._retaining:
            was = Removed.read(self._layout)
            size = self._publisher.size
            now = due(self._layout, size, events_before, values_before)
            if now == was and was.done:
                return now
            self.require()
            replace(self._layout.removed, dataclasses.replace(now, done=False).line())
            told = [
                ("events", was.events, now.events, events_before),
                ("values", was.values, now.values, values_before),
            ]
            for what, old, end, before in told:
                if end and (end != old or not was.done):
                    root = root_at(self._layout, size, end).hex()
                    self._rotate = True  # the journal's segment has what is removed too, if it is young
                    event = AuditPruned(what=what, end=end, before=before, root=root, subject=who)
                    self.record(event, "gateway").result()
            with self._values_lock:
                remove(self._layout, now)
            done = dataclasses.replace(now, done=True)
            replace(self._layout.removed, done.line())
            return done

    def close(self) -> None:
        """Write out what waits, publish it, and let the next writer in."""
        self.note(AuditClosed(), "gateway")
        with self._state:
            self._stopping = True
            self._state.notify_all()
        self._writer.join(CLOSE_S)
        self._publishing.join(CLOSE_S)
        self._release()

    # The queue; the caller holds the state's lock

    def _reason(self) -> str:
        return self._why["write"] or self._why["publish"]

    def _require(self) -> None:
        if self._stopping:
            raise Unavailable("The audit record is closed.")
        if self._reason():
            raise Unavailable(f"The audit record can't be written, so nothing new begins: {self._reason()}.")

    def _enqueue(self, queued: Queued) -> bool:
        if self._written_out or len(self._queue) >= QUEUE_LIMIT or self._queue_bytes + queued.bytes > QUEUE_BYTES:
            return False
        self._queue.append(queued)
        self._queue_bytes += queued.bytes
        self._awaited += queued.receipt is not None
        if len(self._queue) == 1 or self._is_urgent():
            self._state.notify_all()
        return True

    def _is_urgent(self) -> bool:
        """Whether no more events are gathered: somebody waits, they are many, or the record closes."""
        is_much = len(self._queue) >= BATCH_LIMIT - 2 or self._queue_bytes > QUEUE_BYTES // 2
        return bool(self._awaited) or is_much or self._stopping

    def _lose(self, queued: Queued) -> None:
        self._lost[kind_of(queued.event)] += 1
        self._lost_total += 1
        self._lost_since = self._lost_since or queued.time

    def _note_own(self, event: Event) -> None:
        self.note(event, "gateway")

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            with self._state:
                self._why["write"] = f"BUG: {type(error).__name__} in {threading.current_thread().name}"
                waiting, self._queue = list(self._queue), deque()
            self._fail(waiting, self._why["write"])
            raise

    # The writer's thread

    def _write_loop(self) -> None:
        while (batch := self._take()) is not None:
            try:
                self._commit(batch)
            except (OSError, HpcsecError) as error:
                self._put_back(batch, error.reason if isinstance(error, HpcsecError) else error.strerror or str(error))
        with self._state:
            self._written_out = True
            left, self._queue = list(self._queue), deque()
            self._state.notify_all()
        self._fail(left, "it is closed")

    def _take(self) -> list[Queued] | None:
        """The next batch; None when all is written and the record closes, or it closes and can't be written."""
        with self._state:
            if self._why["write"]:
                self._state.wait_for(lambda: self._stopping, RETRY_S)
                if self._stopping:
                    return None
            else:
                self._state.wait_for(lambda: self._stopping or (self._queue and len(self._pending) < PENDING_LIMIT))
                self._state.wait_for(self._is_urgent, NOTED_S)
                if not self._queue:
                    return None
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT - 2))]
            self._queue_bytes -= sum(queued.bytes for queued in batch)
            self._awaited -= sum(queued.receipt is not None for queued in batch)
            return batch

    def _commit(self, batch: list[Queued]) -> None:
        """Make a batch durable: values, then the signed frame, then say so."""
        with self._state:
            own = self._own_events()
            lost = dict(self._lost)
        frontier = self._frontier.copy()
        leaves, kept = self._stamper.leaves([*own, *batch], frontier, self._random)
        self._keep(kept)
        note = sign_head(self._signer, self._signer.verifier.name, frontier.size, frontier.root())
        first = self._frontier.size
        self._append(Frame(first, [leaf for leaf, _ in leaves], note).encode())
        with self._state:
            self._stamper.advance(len(leaves))
            self._frontier = frontier
            self._pending += leaves
            self._why["write"] = ""
            self._lost.subtract(lost)
            self._lost = +self._lost
            self._lost_since = self._lost_since if self._lost else ""
            self._state.notify_all()
        for index, queued in enumerate(batch, first + len(own)):
            if queued.receipt is not None:
                queued.receipt.set_result(index)

    def _keep(self, kept: list[values.Kept]) -> None:
        """Write sealed values, having removed those of a batch that did not become durable."""
        with self._values_lock:
            if not self._values_clean:
                values.drop_from(self._layout, self._frontier.size)
                self._values_clean = True
            if kept:
                self._values_clean = False
                values.append(self._layout, kept)
                self._values_clean = True

    def _own_events(self) -> list[Queued]:
        """What the record has to say before a batch: a clock that stepped, events that were lost, an outage."""
        own = []
        step = self._stamper.step()
        if step is not None:
            own.append(self._stamper.queue(step, "gateway", {}, None))
        if self._lost or self._why["write"]:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._lost.items()))
            gap = AuditGap(lost=self._lost.total(), kinds=kinds, since=self._lost_since, why=self._why["write"])
            own.append(self._stamper.queue(gap, "gateway", {}, None))
        return own

    def _append(self, data: bytes) -> None:
        if self._segment is not None and (self._rotate or self._segment.size > SEGMENT_BYTES):
            self._drop_segment()
        self._rotate = False
        if self._segment is None:
            self._segment = Segment(self._layout.next_segment(self._frontier.size))
        try:
            self._segment.append(data)
        except OSError:
            self._values_clean = False
            self._drop_segment()
            raise

    def _drop_segment(self) -> None:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.close()
            with self._state:
                self._publisher.retire(segment.path, self._frontier.size, segment.size)

    def _put_back(self, batch: list[Queued], why: str) -> None:
        """The batch was not written: who waits is told, what was only noted waits on."""
        with self._state:
            self._why["write"] = why
            noted = [queued for queued in batch if queued.receipt is None]
            self._queue.extendleft(reversed(noted))
            self._queue_bytes += sum(queued.bytes for queued in noted)
        self._fail(batch, why)

    @staticmethod
    def _fail(batch: list[Queued], why: str) -> None:
        error = Unavailable(f"The audit record can't be written, so nothing new begins: {why}.")
        for queued in batch:
            if queued.receipt is not None:
                queued.receipt.set_exception(error)

    # The publisher's thread

    def _publish_loop(self) -> None:
        while True:
            with self._state:
                # What is there is joined by more, so that checkpoints come once in a while only.
                self._state.wait_for(lambda: bool(self._pending) or self._written_out)
                self._state.wait_for(lambda: self._written_out, self._checkpoint_s)
                batch, done = self._pending[:AT_ONCE], self._written_out
            if done and not batch:
                self._drop_segment()
                self._publish([])  # nothing but the journal is left to be removed
                return
            if not self._publish(batch) and done:
                return

    def _publish(self, batch: list[tuple[bytes, bytes]]) -> bool:
        try:
            self._publisher.publish(batch)
        except (OSError, HpcsecError) as error:
            why = error.reason if isinstance(error, HpcsecError) else error.strerror or str(error)
            with self._state:
                self._why["publish"] = f"no checkpoint can be made: {why}"
            return False
        with self._state:
            del self._pending[: len(batch)]
            self._why["publish"] = ""
            self._state.notify_all()
        return True

    def _release(self) -> None:
        if self._second:
            self._second.close()
        self._lock.release()
