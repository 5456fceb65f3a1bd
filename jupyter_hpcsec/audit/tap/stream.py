"""One stream between browser and session, followed in both directions: bytes in, events out. Pure.

It sees what the session's server sees, byte by byte, and reads it in the one way in which it can be read; what could
be read in two is refused, and the lane is closed. It holds a head that is not whole, a websocket's message that is not
whole, the beginning of a few short bodies, and nothing else.
"""

from collections import deque
from typing import Protocol

import msgspec

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.tap import head as h
from jupyter_hpcsec.audit.tap import websocket
from jupyter_hpcsec.audit.tap.channels import ChannelsSocket
from jupyter_hpcsec.audit.tap.exchange import Exchange
from jupyter_hpcsec.audit.tap.head import Body, malformed
from jupyter_hpcsec.audit.tap.http import HttpFollower
from jupyter_hpcsec.audit.tap.paths import Area
from jupyter_hpcsec.audit.tap.refusal import Answer
from jupyter_hpcsec.audit.tap.source import source_of
from jupyter_hpcsec.audit.tap.teller import Site, Told
from jupyter_hpcsec.audit.tap.terminal import TerminalSocket
from jupyter_hpcsec.errors import Refused

PIPELINE_LIMIT = 64
"""Requests that wait for their answers on one stream."""


class Socket(Protocol):
    """A websocket that is looked into."""

    def from_browser(self, view: memoryview) -> None:
        """Bytes of the browser's side."""

    def from_server(self, view: memoryview) -> None:
        """Bytes of the server's side."""

    def last_words(self, answer: Answer, unread: memoryview) -> bytes:
        """What to say in the server's stead when what came last may not pass; empty where nothing can be said."""

    def closed(self) -> None:
        """It is over."""


class StreamTap:
    """One stream's follower. What it has seen stands in ``take()`` after each call."""

    def __init__(self, site: Site) -> None:
        self._site, self._told = site, Told()
        self._browser = HttpFollower(_FromBrowser(self))
        self._server = HttpFollower(_FromServer(self))
        self.open: deque[Exchange] = deque()
        self.socket: Socket | None = None
        self.upgrading = False
        self.is_last = False

    @property
    def may_answer(self) -> bool:
        """Whether the browser waits for nothing that has been passed on, so that it could be answered here."""
        return not self.open and self.socket is None and self._browser.is_between and self._server.is_between

    def from_browser(self, view: memoryview) -> Told | None:
        """Bytes that are about to be passed to the server. ``Refused``: they must not be."""
        try:
            self._browser.feed(view)
            if self.upgrading and not self._browser.is_between:
                raise malformed("bytes follow a request for another protocol before its answer")
        except Refused:
            self._told.required.clear()  # it does not come to that
            raise
        return self._take()

    def from_server(self, view: memoryview) -> Told | None:
        """Bytes that are being passed to the browser. ``Refused``: the stream must be cut."""
        self._server.feed(view)
        return self._take()

    def last_words(self, sentence: str, date: str, unread: memoryview) -> bytes:
        """What a websocket says to its browser when what came last may not pass. ``unread`` will not pass either.

        Called at the moment when it is said (``date``, RFC 3339), and nothing after it but ``closed``.
        """
        if self.socket is None:
            return b""
        return self.socket.last_words(Answer(sentence, date, self._site.number), unread)

    def closed(self) -> Told | None:
        """The stream is over: what was not answered is told so."""
        if self.socket is not None:
            self.socket.closed()
        now = self._site.clock()
        while self.open:
            self._tell(self.open.popleft(), now)
        return self._take()

    def _take(self) -> Told | None:
        if not self._told:
            return None
        required, noted = self._told.required, self._told.noted
        self._told.required, self._told.noted = [], []  # the sockets hold on to this one
        return Told(required, noted)

    # What the two directions' listeners do

    def begin(self, raw: bytes) -> Exchange:
        """A request's head passed."""
        if self.is_last or self.upgrading:
            raise malformed("a request follows one after which the server reads no other")
        if len(self.open) >= PIPELINE_LIMIT:
            raise malformed(f"more than {PIPELINE_LIMIT} requests wait for their answers on one connection")
        head = h.parse_request(raw)
        if head.get(b"service-worker"):  # Jupyter has none; a user's server can name the whole host as its scope
            raise Refused("tap.service-worker", "a page wants to stand between the browser and this host from now on")
        site = self._site
        source = source_of(head.get(b"x-forwarded-for"), site.trusted) if site.is_forwarded else ""
        exchange = Exchange(
            head,
            base=site.base,
            number=site.number(),
            source=source,
            now=site.clock(),
            hashes=site.recording.hashes_files,
        )
        self.is_last = head.says(b"connection", b"close")
        self.upgrading = bool(head.get(b"upgrade"))
        if self.upgrading and h.request_body(head) is not Body.NONE:
            raise malformed("a request for another protocol has a body")
        if exchange.must_be_kept:
            self._told.require(self._placed(exchange.begun()))
        self.open.append(exchange)
        return exchange

    def answered(self, exchange: Exchange) -> None:
        """An answer is over."""
        if not exchange.is_sent:
            self.is_last = True  # the server closes a connection on which it left a body unread
        self._tell(exchange, self._site.clock())

    def switch(self, answer: h.Head) -> None:
        """The server agreed to another protocol: a websocket from here on."""
        exchange = self.open[-1]
        if not self.upgrading or len(self.open) > 1 or not exchange.head.says(b"upgrade", b"websocket"):
            raise malformed("the server changed to a protocol that was not asked for")
        agreed = websocket.agreed(
            answer.get(b"sec-websocket-extensions").decode("latin-1"),
            answer.get(b"sec-websocket-protocol").decode("latin-1"),
        )
        place, common = exchange.place, {"source": exchange.source}
        if place.area is Area.CHANNELS:
            self.socket = ChannelsSocket(self._site, self._told, agreed, kernel=place.name, **common)
        elif place.area is Area.TERMINAL_SOCKET:
            self.socket = TerminalSocket(self._site, self._told, agreed, terminal=place.name, **common)
        self.upgrading = False
        self._browser.leave()
        self._server.leave()

    def _tell(self, exchange: Exchange, now: float) -> None:
        for event in exchange.over(now):
            self._told.note(self._placed(event))

    def _placed(self, event: Event) -> Event:
        return msgspec.structs.replace(event, session=self._site.session)


class _FromBrowser:
    """The browser's direction."""

    __slots__ = ("_current", "_tap")

    def __init__(self, tap: StreamTap) -> None:
        self._tap = tap
        self._current: Exchange | None = None

    def head(self, raw: bytes) -> tuple[Body, int]:
        self._current = exchange = self._tap.begin(raw)
        return h.request_body(exchange.head), max(0, exchange.head.length)

    def body(self, view: memoryview) -> None:
        if self._current is not None:
            self._current.took(view)

    def end(self) -> None:
        if self._current is not None:
            self._current.is_sent = True
            self._current = None

    def raw(self, view: memoryview) -> None:
        self._tap.open[-1].sent += len(view)
        if self._tap.socket is not None:
            self._tap.socket.from_browser(view)


class _FromServer:
    """The server's direction."""

    __slots__ = ("_is_interim", "_tap")

    def __init__(self, tap: StreamTap) -> None:
        self._tap = tap
        self._is_interim = False

    def head(self, raw: bytes) -> tuple[Body, int]:
        tap = self._tap
        if not tap.open:
            raise malformed("the server answers what nobody asked")
        head, exchange = h.parse_response(raw), tap.open[0]
        self._is_interim = head.first[0] == "1"
        if self._is_interim and head.first != "101":
            return Body.NONE, 0
        exchange.status, exchange.answer = int(head.first), head
        if self._is_interim:
            tap.switch(head)
            return Body.NONE, 0
        tap.upgrading = tap.upgrading and len(tap.open) > 1
        tap.is_last = tap.is_last or head.says(b"connection", b"close")
        return h.response_body(head, exchange.head.first), max(0, head.length)

    def body(self, view: memoryview) -> None:
        self._tap.open[0].gave(view)

    def end(self) -> None:
        if not self._is_interim:
            self._tap.answered(self._tap.open.popleft())

    def raw(self, view: memoryview) -> None:
        self._tap.open[-1].received += len(view)
        if self._tap.socket is not None:
            self._tap.socket.from_server(view)
