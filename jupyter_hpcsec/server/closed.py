"""Places of jupyter_server that are closed in a session: its event bus, which is not the record.

``POST /api/events`` lets a browser invent any event, and its time; subscribers get every one. Nothing that a session
offers needs either. The subscription's socket is answered all the same and stays silent: JupyterLab opens it at its
start and, refused, would ask for it again and again for as long as its page is open.
"""

from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web, websocket

from jupyter_hpcsec.server.refusals import refusals

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerWebApplication

VIOLATION = 1008
"""RFC 6455, 7.4.1: a message that violates a policy."""
CLOSED = "Events can't be sent here: in a session the gateway records what happens."


class ClosedEventsHandler(APIHandler):
    """``/api/events``: refused, whoever asks, and recorded."""

    _track_activity = False

    @web.authenticated
    async def get(self) -> None:
        """Refused, whatever the method."""
        refusals.tell(self.request.path, "events.closed", CLOSED)
        raise web.HTTPError(403, CLOSED, reason="events are closed")

    post = put = patch = delete = get


class SilentEventsSocket(JupyterHandler, websocket.WebSocketHandler):
    """``/api/events/subscribe``: a socket on which nothing is ever said or heard."""

    _track_activity = False

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open it, for its owner alone."""
        answer = super().get(*args, **kwargs)
        if answer is not None:
            await answer

    def on_message(self, message: str | bytes) -> None:
        """An event that somebody wants to forge: not heard, but recorded. JupyterLab never says a word here."""
        refusals.tell(self.request.path, "events.closed", CLOSED)
        self.close(VIOLATION, CLOSED)


def close_events(web_app: "ServerWebApplication") -> None:
    """Mount them over jupyter_server's own."""
    api = url_path_join(web_app.settings["base_url"], "api", "events")
    handlers = [(api, ClosedEventsHandler), (f"{api}/subscribe", SilentEventsSocket)]
    web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
