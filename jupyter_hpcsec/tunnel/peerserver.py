"""An HTTP server on a unix socket that only listed users may speak to, by the kernel's word (``SO_PEERCRED``)."""

import logging
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.gateway import AdminRefused
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.limits import Cap, Counters
from jupyter_hpcsec.tunnel.observer import Observer
from jupyter_hpcsec.tunnel.peer import peer_credentials

log = logging.getLogger(__name__)

CONNECTIONS = 256
"""Admin connections at once; long polls of the spawn pages of many users are among them."""


class PeerCheckedServer(HTTPServer):
    """Closes what an unlisted user connects, before reading from it."""

    def initialize(  # type: ignore[override]
        self,
        application: Application,
        *,
        allowed_uids: frozenset[int],
        counters: Counters,
        observer: Observer,
        **settings: Any,
    ) -> None:
        """Tornado's; ``counters`` and ``observer`` hear of who was turned away."""
        super().initialize(application, **settings)
        self._allowed_uids = allowed_uids
        self._counters, self._observer = counters, observer
        self._cap = Cap(CONNECTIONS)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """One connection; its handler finds who it is as the connection's address."""
        try:
            peer = peer_credentials(stream.socket)
        except Unavailable as error:
            self._close(stream, "admin.peer", error.reason, Subject())
            return
        who, account = f"process {peer.pid} of {peer.account}", Subject(account=peer.account)
        if peer.uid not in self._allowed_uids:
            self._close(stream, "admin.peer", f"{who} may not use the admin socket", account)
        elif not self._cap.acquire():
            self._close(stream, "admin.connections", f"{who} is one too many", account)
        else:
            super().handle_stream(stream, (peer,))

    def on_close(self, server_conn: object) -> None:
        """One connection less."""
        self._cap.release()
        super().on_close(server_conn)

    def _close(self, stream: IOStream, rule: str, reason: str, who: Subject) -> None:
        self._counters.count(rule)
        log.warning("Admin connection closed [%s]: %s", rule, reason)
        self._observer.note(AdminRefused(subject=who, decision="refused", rule=rule, reason=reason))
        stream.close()
