"""The tap of each stream, and the record: what was seen is noted, what must be on record first is waited for.

``audit.tap`` says what passes; the auditor keeps it; here they meet the lanes. Where the record can't be written, what
must be on record does not pass, and the browser is told why; what is running on the node goes on.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Protocol

from jupyter_hpcsec.audit.events import Event, Recordable, Trust
from jupyter_hpcsec.audit.kinds.requests import TapRefused
from jupyter_hpcsec.audit.tap.paths import base_path
from jupyter_hpcsec.audit.tap.source import Network
from jupyter_hpcsec.audit.tap.stream import StreamTap
from jupyter_hpcsec.audit.tap.teller import Site, Told
from jupyter_hpcsec.config import GatewaySettings
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.hub.recordings import Recordings, recordings
from jupyter_hpcsec.tunnel.session import Session
from jupyter_hpcsec.tunnel.sorry import sorry
from jupyter_hpcsec.tunnel.tap import LastWords, Tap, Verdict

NOT_RECORDED = (
    "This was not done: it has to be recorded, and the record can't be written now. What runs in your session goes on. "
    "Try again soon, or tell your administrators."
)
_HEAD = 4096
"""Bytes of a request that are looked at for the form of an answer."""


class Recorder(Protocol):
    """Where events go: ``hub.auditor``."""

    def note(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        """Something happened."""

    def receipt(self, event: Event, sealed: Mapping[str, bytes]) -> "Future[int]":
        """Something is about to happen; the receipt comes once that is durable. ``Unavailable``."""


class Taps:
    """Makes the tap of each stream. ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        recordings: Recordings,
        trusted: tuple[Network, ...],
        is_forwarded: bool,
        clock: Callable[[], float],
    ) -> None:
        self._recorder, self._recordings = recorder, recordings
        self._trusted, self._is_forwarded, self._clock = trusted, is_forwarded, clock
        self._boot, self._count = secrets.token_hex(4), itertools.count(1)
        self._loop = asyncio.get_running_loop()

    def tap(self, session: Session) -> "LaneTap":
        """The tap of one stream of a session."""
        site = Site(
            session=session.id,
            base=base_path(session.user, session.server),
            recording=self._recordings.of(session.groups),
            trusted=self._trusted,
            is_forwarded=self._is_forwarded,
            clock=self._clock,
            number=self._number,
        )
        return LaneTap(StreamTap(site), self._recorder, session=session.id, loop=self._loop)

    def _number(self) -> str:
        return f"{self._boot}-{next(self._count)}"


MakeTap = Callable[[Session], Tap]


def make_tap(settings: GatewaySettings, recorder: Recorder) -> MakeTap | None:
    """What follows the sessions' streams, by the configuration."""
    taps = Taps(
        recorder,
        recordings=recordings(settings.recording),
        trusted=tuple(map(ipaddress.ip_network, settings.trusted_proxies)),
        is_forwarded=settings.is_forwarded,
        clock=time.monotonic,
    )
    return taps.tap


class LaneTap:
    """A ``tunnel.tap.Tap``."""

    __slots__ = ("_loop", "_recorder", "_session", "_stream")

    def __init__(self, stream: StreamTap, recorder: Recorder, *, session: str, loop: asyncio.AbstractEventLoop) -> None:
        self._stream, self._recorder, self._session, self._loop = stream, recorder, session, loop

    def from_browser(self, view: memoryview) -> Verdict | None:
        """Bytes that are about to be passed on."""
        may_answer = self._stream.may_answer
        try:
            told = self._stream.from_browser(view)
        except Refused as refusal:
            self._tell_refused(refusal.rule, refusal.reason)
            raise
        if told is None:
            return None
        self._note(told.noted)
        if not told.required:
            return None
        page = sorry(NOT_RECORDED, bytes(view[:_HEAD])) if may_answer else b""
        return self._kept(told.required, lambda unread: page or self._say(unread))

    def from_server(self, view: memoryview) -> None:
        """Bytes that are being passed to the browser."""
        try:
            told = self._stream.from_server(view)
        except Refused as refusal:
            self._tell_refused(refusal.rule, refusal.reason)
            raise
        self._tell(told)

    def closed(self) -> None:
        """The stream is over."""
        self._tell(self._stream.closed())

    def _say(self, unread: bytes) -> bytes:
        """The last words on a websocket; within an HTTP answer there are none."""
        return self._stream.last_words(NOT_RECORDED, datetime.now(UTC).isoformat(), memoryview(unread))

    def _tell(self, told: Told | None) -> None:
        if told is not None:
            self._note(told.required)
            self._note(told.noted)

    def _note(self, recordables: list[Recordable]) -> None:
        for each in recordables:
            self._recorder.note(each.event, each.trust, each.values)

    def _tell_refused(self, rule: str, reason: str) -> None:
        event = TapRefused(session=self._session, decision="refused", rule=rule, reason=reason)
        self._recorder.note(event)

    def _kept(self, recordables: list[Recordable], words: LastWords) -> Verdict:
        """None once all are durable; the last words where they can't be."""
        pending: Verdict = self._loop.create_future()
        left = len(recordables)

        def done(receipt: "Future[int]") -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the gateway has stopped
                self._loop.call_soon_threadsafe(count, receipt.exception())

        def count(error: BaseException | None) -> None:
            nonlocal left
            left -= 1
            if pending.done():
                return
            if error is not None:
                self._tell_refused("tap.unrecorded", str(error))
                pending.set_result(words)
            elif not left:
                pending.set_result(None)

        try:
            for each in recordables:
                self._recorder.receipt(each.event, each.values).add_done_callback(done)
        except Unavailable as error:
            self._loop.call_soon(count, error)
        except HpcsecError as error:
            raise AssertionError(f"BUG: the record refused an event: {error}") from error
        return pending
