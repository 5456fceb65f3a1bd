"""Tells the user that the session ends because the rules have changed: in each open terminal, as a node's own messages
of that kind come, and in the server's log. Front ends with a panel of ours read it at ``hpcsec/api/access``.

It informs; the end comes from the gateway, whatever happens here.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.server.access_facts import read_stale

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

LOOK_S = 5.0
"""Seconds between two looks at the agent's file."""


class Teller:
    """``read`` gives what the agent wrote (``access_facts.read_stale``), ``tell`` shows a sentence to the user."""

    def __init__(self, read: Callable[[], Mapping[str, Any] | None], tell: Callable[[str], None]) -> None:
        self._read, self._tell = read, tell
        self._told: Mapping[str, Any] | None = None

    def look(self) -> None:
        """Tell what has changed since the last look; a file that can't be read says nothing new."""
        try:
            stale = self._read()
        except HpcsecError:
            return
        if stale != self._told:
            self._told = stale
            self._tell(in_words(stale))


def in_words(stale: Mapping[str, Any] | None) -> str:
    """Why and when the session ends, by the node's clock, and what to do."""
    if stale is None:
        return "The rules are those again under which this session began: it goes on."
    at = time.strftime("%H:%M %Z", time.localtime(int(stale["ends_at"])))
    return f"{stale['reason']} IT ENDS AT {at}. Save your work, stop the server, and start it again."


def keep_told(app: "ServerApp") -> PeriodicCallback:
    """Begin to look, until the server ends."""

    def tell(sentence: str) -> None:
        app.log.warning("hpcsec: %s", sentence)
        show = getattr(app.web_app.settings.get("terminal_manager"), "show_to_all", None)
        if show is not None:
            show(f"hpcsec: {sentence}")

    callback = PeriodicCallback(Teller(lambda: read_stale(os.environ), tell).look, LOOK_S * 1000)
    callback.start()
    return callback
