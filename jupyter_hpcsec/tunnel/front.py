"""The gateway's front door: the TLS port. It limits, shakes hands, and hands each connection on by its ALPN protocol.

Nothing that a stranger sends costs more than a handshake, and handshakes are counted: by address and second, and by how
many are unfinished. What is refused is refused before any session is looked at.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from jupyter_hpcsec.audit.kinds.connections import ConnectionRefused
from jupyter_hpcsec.config import Limits
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.limits import Cap, Counters, RateLimit, address_key
from jupyter_hpcsec.tunnel.messages import ENROL, NODE, PROTOCOLS
from jupyter_hpcsec.tunnel.observer import UNOBSERVED, Observer
from jupyter_hpcsec.tunnel.tls import handshake, parse_endpoint, tune

ACCEPTS_AT_ONCE = 64
ONE_ADDRESS = 4
"""One address may have this fraction of all unfinished handshakes: it can't keep everybody else out."""
PAUSE_S = 0.2
"""How long the port rests when the process has no descriptor left; the kernel's queue holds who comes meanwhile."""

Handler = Callable[[str, TlsConnection, str], Coroutine[Any, Any, None]]
"""``handler(protocol, tls, address)``: owns the socket from there on; a ``HpcsecError`` that it raises is logged."""


def listen_tcp(endpoint: str, backlog: int) -> socket.socket:
    """A listening socket for ``host:port`` or ``[address]:port``; IPv6 sockets take IPv6 only."""
    host, port = parse_endpoint(endpoint)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as exc:
        raise Unavailable(f"the gateway can't listen on {endpoint}: {exc.strerror or exc}") from exc
    listener.setblocking(False)
    return listener


def _checked_protocol(tls: TlsConnection) -> str:
    protocol = tls.protocol
    if protocol not in PROTOCOLS:
        raise Refused("tls.protocol", "the client named no protocol of the tunnel (ALPN)")
    return protocol


def _rule(refusal: HpcsecError) -> str:
    if isinstance(refusal, Refused):
        return refusal.rule
    return "port.malformed" if isinstance(refusal, Malformed) else "port.cut"


class FrontDoor:
    """Accepts connections on the TLS port(s) and finishes their handshakes within the limits.

    ``context()`` is asked anew for each connection, so that a key rotation needs no restart.
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        *,
        context: Callable[[], ssl.SSLContext],
        handler: Handler,
        limits: Limits,
        counters: Counters,
        log: logging.Logger,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._observer = observer
        self._listeners, self._context, self._handler = listeners, context, handler
        self._limits, self._counters, self._log = limits, counters, log
        self._rate = RateLimit(limits.handshakes_per_second, limits.handshake_burst)
        self._unfinished = Cap(limits.unfinished_handshakes)
        self._by_address: Counter[str] = Counter()
        self.handshakes: Counter[str] = Counter()
        """Since the start: ``done``, and ``failed``, which were begun. What the limits turned away is neither."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def endpoints(self) -> list[str]:
        """What is listened on, as host:port, with the real port where 0 was asked for."""
        names = [listener.getsockname()[:2] for listener in self._listeners]
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in names]

    def open(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Accept nothing more and cut what is in progress."""
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                raw, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                self._rest(listener, exc)
                return
            self._admit(raw, peer[0])

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        self._counters.count("port.no-descriptor" if error.errno == errno.EMFILE else "port.accept")
        self._log.error("the TLS port can't accept for now: %s", error)
        descriptor = listener.fileno()
        self._loop.remove_reader(descriptor)
        self._loop.call_later(PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _admit(self, raw: socket.socket, address: str) -> None:
        key = address_key(address)
        rule = self._obstacle(key)
        if rule:
            self._counters.count(rule)  # no log line: a flood must not fill the log as well
            raw.close()
            return
        self._by_address[key] += 1
        place = contextlib.ExitStack()
        place.callback(self._leave, key)
        task = self._loop.create_task(self._serve(raw, address, place))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._served(done, raw, place))

    def _obstacle(self, key: str) -> str:
        """The rule that says no before a handshake may cost anything, or ``""`` and a place among the unfinished.

        Steps: 1 the address's rate; 2 its unfinished handshakes; 3 all unfinished handshakes.
        """
        if not self._rate.allow(key, self._loop.time()):
            return "port.rate"
        if self._by_address[key] >= max(1, self._unfinished.limit // ONE_ADDRESS):
            return "port.unfinished-address"
        return "" if self._unfinished.acquire() else "port.unfinished"

    def _leave(self, key: str) -> None:
        self._unfinished.release()
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]

    def _served(self, task: "asyncio.Task[None]", raw: socket.socket, place: contextlib.ExitStack) -> None:
        self._tasks.discard(task)
        place.close()
        if task.cancelled():
            raw.close()  # it may have been cancelled before its first step
        elif error := task.exception():
            self._counters.count("port.bug")
            self._log.error("BUG: a connection failed in an unforeseen way", exc_info=error)

    async def _serve(self, raw: socket.socket, address: str, place: contextlib.ExitStack) -> None:
        """One connection. An enrolment keeps its place among the unfinished: a stranger can hold no more than that."""
        protocol = ""
        try:
            protocol, tls = await self._handshake(raw)
            if protocol != ENROL and (protocol != NODE or tls.certificate):
                place.close()
            await self._handler(protocol, tls, address)
        except HpcsecError as refusal:
            rule = _rule(refusal)
            self._counters.count(rule)
            self._log.warning("refused a connection from %s: %s [%s]", address, refusal.reason, rule)
            if protocol not in (ENROL, NODE):  # who refused an enrolment has told of it, and knows more
                event = ConnectionRefused(source=address, decision="refused", rule=rule, reason=refusal.reason)
                self._observer.note(event)

    async def _handshake(self, raw: socket.socket) -> tuple[str, TlsConnection]:
        try:
            tune(raw, self._limits.dead_after_s)
            tls = TlsConnection(raw, self._context())
            await handshake(tls, self._limits.handshake_s)
            protocol = _checked_protocol(tls)
        except OSError as exc:
            self.handshakes["failed"] += 1
            raw.close()
            raise Unavailable(f"no TLS connection could be made: {exc.strerror or exc}") from exc
        except BaseException:
            self.handshakes["failed"] += 1
            raw.close()
            raise
        self.handshakes["done"] += 1
        return protocol, tls
