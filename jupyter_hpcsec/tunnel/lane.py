"""A lane: one TLS connection that carries one byte stream at a time between a plain socket and the peer.

The pump. It works on non-blocking sockets by readiness callbacks: bytes of the plain socket are read behind the space
of a frame header and leave as one DATA frame; frames that come in are cut without a copy and written to the plain
socket. What a socket does not take at once is kept, and the other side is not read until it is gone: TCP's own
back-pressure is the flow control. A lane holds a buffer only while bytes are in flight, so that an idle one costs its
TLS state and little else.

It knows nothing of HTTP, of who the peer is, or of where a stream leads: its owner says that.
"""

import asyncio
import socket
from collections import deque

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel.buffers import CHUNK, HEADROOM, RECORD, BufferPool, put_before, put_behind
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.frames import (
    DONE_FRAME,
    EOF_FRAME,
    Data,
    Done,
    Eof,
    Event,
    FrameDecoder,
    Open,
    Reset,
    Type,
    data_header,
    open_frame,
    reset_frame,
)
from jupyter_hpcsec.tunnel.opening import Opening
from jupyter_hpcsec.tunnel.owner import Edit, LaneOwner
from jupyter_hpcsec.tunnel.readiness import Interest, Poller, read_plain
from jupyter_hpcsec.tunnel.stream import Side, StreamState
from jupyter_hpcsec.tunnel.tap import LastWords, Tap, say_last
from jupyter_hpcsec.tunnel.watch import Watch

EVENTS = 128
"""Frames decoded at a time: a chunk of tiny frames, 40,000 of them, must not hold up the event loop."""


class Lane:
    """One lane over a handshaken connection, which it owns from here on.

    ``state`` says where a new lane begins (see ``stream.py``). ``bytes_in`` and ``bytes_out`` count payload bytes since
    the lane was made; ``last_active`` is in the loop's seconds. ``is_faulty``: the peer broke the protocol.
    """

    __slots__ = (
        "_decoder", "_edit", "_events", "_held_in", "_is_blocked", "_is_held", "_is_scheduled", "_loop",
        "_opening", "_owner", "_plain", "_plain_interest", "_poller", "_pool", "_state", "_tls",
        "_tls_interest", "_undecoded", "_was_filled", "_watch", "bytes_in", "bytes_out", "is_closed",
        "is_faulty", "last_active",
    )  # fmt: skip

    def __init__(
        self,
        tls: TlsConnection,
        *,
        loop: asyncio.AbstractEventLoop,
        owner: LaneOwner,
        pool: BufferPool,
        state: StreamState,
    ) -> None:
        self._tls, self._loop, self._owner, self._pool, self._state = tls, loop, owner, pool, state
        self._decoder = FrameDecoder()
        self._events: deque[Event] = deque()
        self._held_in: memoryview | None = None
        self._undecoded: memoryview | None = None
        self._is_blocked = self._is_held = self._is_scheduled = self._was_filled = False
        self._plain: socket.socket | None = None
        self._plain_interest: Interest | None = None
        self._edit: Edit | None = None
        self._opening = Opening()
        self._watch = Watch(self, None)
        self._poller = Poller.of(loop)
        self._tls_interest = Interest(self._poller, tls.fileno(), self._receive, self._on_tls_writable)
        self._tls_interest.read(True)
        self._go_on_soon()  # the last message of the handshake may have brought frames with it
        self.is_closed = self.is_faulty = False
        self.bytes_in = self.bytes_out = 0
        self.last_active = loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether a stream may be opened on it."""
        return self._state.is_idle and not self.is_closed

    def announce(self) -> None:
        """Tell the peer that this lane is there for its streams: the first frame of the side that dialled."""
        self._state.send(Type.DONE)
        self._write(DONE_FRAME)

    def open(self, target: str, plain: socket.socket, edit: Edit | None = None, tap: Tap | None = None) -> None:
        """Begin a stream to ``target`` for a connected non-blocking socket, which the lane owns from here on.

        ``edit(view, size)`` may change the stream's first bytes in place, before they leave; it returns their size.
        ``tap`` sees what leaves, after that, and what comes back.
        """
        self._state.send(Type.OPEN)
        self._edit, self._watch = edit, Watch(self, tap)
        self._opening.set(open_frame(target))
        self._adopt(plain)
        self._on_plain_readable()
        self._opening.wait(self._loop, self._send_open)

    def hold(self) -> None:
        """Take nothing more from the peer until ``attach`` or ``refuse``: what is opened is not there yet."""
        self._is_held = True

    def attach(self, plain: socket.socket) -> None:
        """Serve the stream that the peer has opened with this connected non-blocking socket."""
        self._release()
        self._adopt(plain)

    def refuse(self, reason: str) -> None:
        """Turn down the stream that the peer has opened."""
        self._release()
        self._reset(reason)

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._loop.call_soon(self._on_plain_writable)

    def close(self, reason: str) -> None:
        """Cut the lane now, with whatever it carries."""
        if self.is_closed:
            return
        self.is_closed = True
        self._tls_interest.none()
        self._opening.take()
        self._drop_plain()
        self._events.clear()
        self._held_in = self._undecoded = None
        self._tls.close()
        self._owner.lane_closed(self, reason)

    # Readiness

    def _go_on_soon(self) -> None:
        """Go on after the other lanes: what the TLS layer or this lane holds makes no socket readable."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        self._receive()

    def _on_tls_writable(self) -> None:
        try:
            self._note_blocked(is_blocked=not self._tls.flush())
        except OSError as exc:
            self.close(f"the connection broke: {exc.strerror or exc}")

    def _on_plain_readable(self) -> None:
        if self._plain is not None and self._may_read:
            self._send_chunk(self._plain)

    def _on_plain_writable(self) -> None:
        if self._deliver():
            self._tls_interest.read(True)
            self._receive()

    # Plain -> TLS

    def _send_chunk(self, plain: socket.socket) -> None:
        """Move what is there, up to one chunk, as one write."""
        buffer = self._pool.take()
        try:
            self._send_chunk_through(plain, buffer)
        finally:
            self._pool.give(buffer)

    def _send_chunk_through(self, plain: socket.socket, view: memoryview) -> None:
        try:
            size, is_end = read_plain(plain, view[HEADROOM : HEADROOM + CHUNK])
        except OSError:
            self._reset("closed by the reader")
            return
        if not size and not is_end:
            return
        if self._edit and size:
            size = self._edit(view[HEADROOM : HEADROOM + CHUNK], size)
            self._edit = None
        if self._watch.holds(view[HEADROOM : HEADROOM + size], is_end=is_end):
            self._read_plain()
        else:
            self._send_framed(view, size, is_end)

    def go_on(self, data: bytes, *, is_end: bool) -> None:
        """Watched: pass on what waited."""
        buffer, size = self._pool.take(), len(data)
        try:
            buffer[HEADROOM : HEADROOM + size] = data
            self._send_framed(buffer, size, is_end)
        finally:
            self._pool.give(buffer)
        self._read_plain()

    def end_with(self, words: LastWords) -> None:
        """Watched: answer in the peer's stead."""
        if self._plain is not None:
            say_last(self._plain, words)
        self._reset("refused by the gateway")

    def _send_framed(self, view: memoryview, size: int, is_end: bool) -> None:
        start, end = HEADROOM, HEADROOM + size
        if size:
            self.last_active = self._loop.time()
            self.bytes_out += size
            self._state.send(Type.DATA)
            start = put_before(view, start, data_header(size))
        if self._opening:
            start = put_before(view, start, self._opening.take())
        if is_end:
            self._state.send(Type.EOF)
            end = put_behind(view, end, EOF_FRAME)
            if self._plain_interest:
                self._plain_interest.read(False)
            if self._state.may_say_done:
                self._state.send(Type.DONE)
                end = put_behind(view, end, DONE_FRAME)
        self._write(view[start:end])
        if is_end:
            self._settle()

    def _send_open(self) -> None:
        """The wait for the first bytes is over: the peer's side may have to speak first."""
        if self._opening:
            self._write(self._opening.take())

    def _write(self, data: memoryview | bytes) -> None:
        """Send, and read no more of the plain socket while the peer takes no more."""
        try:
            self._note_blocked(is_blocked=not self._tls.write(data))
        except OSError as exc:
            self.close(f"the connection broke: {exc.strerror or exc}")

    def _note_blocked(self, *, is_blocked: bool) -> None:
        if is_blocked == self._is_blocked:
            return
        self._is_blocked = is_blocked
        self._tls_interest.write(is_blocked)
        self._read_plain()

    @property
    def _may_read(self) -> bool:
        return not self._is_blocked and not self._watch.is_waiting and self._state.local is Side.OPEN

    def _read_plain(self) -> None:
        """Watch the plain socket for bytes, or do not while they could go nowhere."""
        if self._plain_interest and self._state.local is Side.OPEN:
            self._plain_interest.read(self._may_read)

    # TLS -> plain

    def _receive(self) -> None:
        """Move one buffer's worth, then let the other lanes have their turn: a keystroke waits no longer than that."""
        if self._events or self.is_closed or not self._refill() or not self._deliver():
            return
        if self._undecoded is not None or self._was_filled:
            self._go_on_soon()  # a buffer that was not filled has taken all there was

    def _refill(self) -> bool:
        """Decode the next events of what came in; False when there is nothing, or nothing more."""
        if self._held_in is None:
            buffer = self._pool.take()
            try:
                size = self._tls.read_into(buffer)
            except OSError as exc:
                self._pool.give(buffer)
                self.close(str(exc))
                return False
            if not size:
                self._pool.give(buffer)
                return False
            self._held_in, self._undecoded = buffer, buffer[:size]
            self._was_filled = size + RECORD > len(buffer)
        if self._undecoded is not None:
            try:
                events, taken = self._decoder.receive(self._undecoded, EVENTS)
            except Malformed as exc:
                self._break_off(exc)
                return False
            self._events.extend(events)
            self._undecoded = self._undecoded[taken:] if taken < len(self._undecoded) else None
        return True

    def _break_off(self, error: Malformed) -> None:
        self.is_faulty = True
        self.close(error.reason)

    def _deliver(self) -> bool:
        """Act on the events that came in; whether all are done (else the plain socket must take bytes first)."""
        while self._events:
            if self._is_held:
                self._tls_interest.read(False)
                return False
            event = self._events.popleft()
            try:
                rest = self._act(event)
            except Malformed as exc:
                self._break_off(exc)
                return False
            if rest is not None:
                self._events.appendleft(Data(rest))
                self._tls_interest.read(False)
                if self._plain_interest:
                    self._plain_interest.write(True)
                return False
        if self._plain_interest:
            self._plain_interest.write(False)
        if self._held_in is not None and self._undecoded is None:
            self._pool.give(self._held_in)
            self._held_in = None
        return not self.is_closed

    def _act(self, event: Event) -> memoryview | None:
        """Act on one event; the bytes that the plain socket did not take, if any."""
        match event:
            case Data(view):
                self._state.receive(Type.DATA)
                return self._write_plain(view)
            case Open(target):
                self._state.receive(Type.OPEN)
                self._owner.lane_opened(self, target)
            case Eof():
                self._state.receive(Type.EOF)
                if self._state.local is Side.OPEN:
                    self._end_plain()  # else both sides are over, and the socket is closed below
            case Reset():
                self._state.receive(Type.RESET)
                self._reset("")
            case Done():
                self._state.receive(Type.DONE)
        self._settle()
        return None

    def _write_plain(self, view: memoryview) -> memoryview | None:
        if self._plain is None:
            return None  # this end gave the stream up; what was on its way is dropped
        self.last_active = self._loop.time()
        try:
            sent = self._plain.send(view)
        except BlockingIOError:
            return view
        except OSError:
            self._reset("closed by the reader")
            return None
        self.bytes_in += sent
        self._watch.saw(view[:sent])
        return view[sent:] if sent < len(view) else None

    def _end_plain(self) -> None:
        try:
            if self._plain is not None:
                self._plain.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset("closed by the reader")

    def _adopt(self, plain: socket.socket) -> None:
        self._plain = plain
        self.last_active = self._loop.time()  # a lane may have been idle for longer than a stream may be silent
        self._plain_interest = Interest(self._poller, plain.fileno(), self._on_plain_readable, self._on_plain_writable)
        self._plain_interest.read(not self._is_blocked)

    def _drop_plain(self) -> None:
        if self._plain_interest:
            self._plain_interest.none()
            self._plain_interest = None
        if self._plain is not None:
            self._plain.close()
            self._plain = None
        self._watch.over()
        if self._events:
            self._loop.call_soon(self._on_plain_writable)  # what waited for the plain socket is now dropped

    def _reset(self, reason: str) -> None:
        """Give the stream up at this end; the peer is told unless its side is over."""
        self._drop_plain()
        self._send_open()
        if self._state.local is Side.OPEN or (self._state.local is Side.CLOSED and self._state.remote is Side.OPEN):
            self._state.send(Type.RESET)
            self._write(reset_frame(reason))
        self._settle()

    def _settle(self) -> None:
        if self.is_closed or not self._state.is_over:
            return
        self._drop_plain()
        if self._state.may_say_done:
            self._state.send(Type.DONE)
            self._write(DONE_FRAME)
        if self._state.is_idle and not self.is_closed:
            self._owner.lane_idle(self)
