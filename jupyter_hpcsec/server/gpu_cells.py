"""Which execution a kernel works on, by the id of the message that asked for it: heard, not guessed from the time.

Every kernel says on IOPub when it begins and ends with a message, and with which (``parent_header``; Jupyter's
messaging specification, "Kernel status"). The server listens to each kernel's IOPub anyway, to know when it was last
active; this hears what that stream brings and changes nothing of it. The record's ``cell.executed`` has the same id.
It is the kernel's own word: who runs code in a kernel can make it say what they like.
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jupyter_hpcsec.gpu.samples import Ran

DELIMITER = b"<IDS|MSG>"
HEADER_LIMIT = 64 * 1024
RUNS_LIMIT = 64
"""Executions of one kernel that are remembered. More of them between two samples are no single one anyway."""
_ID = re.compile(r"[0-9A-Za-z_.:-]{1,128}")


class Cells:
    """What all kernels of a server execute. ``clock`` gives seconds of the monotonic clock, as samples have it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._runs: dict[str, deque[Ran]] = {}
        self._process: dict[str, tuple[int, int]] = {}

    def follow(self, kernel_id: str) -> None:
        """From now on this kernel is heard: what it was at before is over, or not known."""
        self._runs[kernel_id] = deque(maxlen=RUNS_LIMIT)

    def heard(self, kernel_id: str, parts: Sequence[bytes]) -> None:
        """One message of IOPub, as ZeroMQ brought it. What is no kernel's status, and what is malformed, is nothing."""
        runs = self._runs.get(kernel_id)
        try:
            header = parts.index(DELIMITER) + 2
            if runs is None or b'"status"' not in parts[header] or max(map(len, parts[header:])) > HEADER_LIMIT:
                return
            kind, parent, content = (json.loads(parts[header + at]) for at in (0, 1, 3))
            if kind["msg_type"] != "status" or parent.get("msg_type") != "execute_request":
                return
            message, state = parent["msg_id"], content["execution_state"]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return
        if not isinstance(message, str) or not _ID.fullmatch(message):
            return
        if state == "busy" and not any(run.id == message and run.ended is None for run in runs):
            runs.append(Ran(id=message, begun=self._clock()))
        elif state == "idle":
            self._end(kernel_id, lambda run: run.id == message)

    def _end(self, kernel_id: str, which: Callable[[Ran], bool]) -> None:
        now = self._clock()
        runs = self._runs[kernel_id]
        for at, run in enumerate(runs):
            if run.ended is None and which(run):
                runs[at] = Ran(id=run.id, begun=run.begun, ended=now)

    def of(self, kernel_id: str, process: tuple[int, int]) -> tuple[Ran, ...] | None:
        """A kernel's executions, the last ones; None where it is not heard. ``process``: its pid and start."""
        if kernel_id not in self._runs:
            return None
        if self._process.setdefault(kernel_id, process) != process:  # another one has taken its place
            self._process[kernel_id] = process
            self._end(kernel_id, lambda run: True)
        return tuple(self._runs[kernel_id])

    def keep(self, kernels: Iterable[str]) -> None:
        """Forget all others."""
        gone = self._runs.keys() - set(kernels)
        for kernel_id in gone:
            del self._runs[kernel_id]
            self._process.pop(kernel_id, None)


def listen(manager: Any, cells: Cells) -> None:
    """Have ``cells`` hear every kernel that the server's manager of kernels watches from now on.

    A stream has one receiver (``ZMQStream.on_recv``): ours, which passes everything on to the one that was there. Where
    that one can't be had, nothing is heard, and the watch goes by time alone.
    """
    watch = manager.start_watching_activity

    def start_watching_activity(kernel_id: str) -> None:
        watch(kernel_id)
        stream = getattr(manager.get_kernel(kernel_id), "_activity_stream", None)
        first = getattr(stream, "_recv_callback", None)
        if stream is None or first is None:
            return

        def both(parts: Sequence[bytes]) -> None:
            cells.heard(kernel_id, parts)
            first(parts)

        cells.follow(kernel_id)
        stream.on_recv(both)

    manager.start_watching_activity = start_watching_activity
