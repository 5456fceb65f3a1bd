"""Who but its owner comes into a session, by the hub's own word on the login or the token that they brought.

A single-user server asks the Hub API who its visitor is, through the gateway: the answer passes here. So an admin, a
user of a share or a service with a token is on record, whether they came by a browser or not. Whether the server lets
them in is its own decision; requests are events of their own.
"""

import json
from collections import OrderedDict
from collections.abc import Callable

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.sessions import SessionVisited
from jupyter_hpcsec.tunnel.observer import Observer

AGAIN_S = 300.0
"""The server itself asks anew so often; a visitor who goes on is told as often."""
REMEMBERED = 64


class Visits:
    """Of one session; ``clock`` gives monotonic seconds."""

    def __init__(self, session: str, owner: str, observer: Observer, clock: Callable[[], float]) -> None:
        self._session, self._owner, self._observer, self._clock = session, owner, observer, clock
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def answered(self, body: bytes) -> None:
        """The hub answered ``GET /user``: whose credential it was asked about."""
        try:
            model = json.loads(body)
            name, kind = str(model["name"]), str(model.get("kind", "user"))
            credential = str(model.get("token_id") or "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            name, kind, credential = "", "unknown", ""  # the server may understand what we don't: it is on record
        if (kind, name) == ("user", self._owner):
            return
        visitor = (kind, name, credential)
        now = self._clock()
        if now - self._told.get(visitor, now - AGAIN_S) < AGAIN_S:
            return
        self._told[visitor] = now
        self._told.move_to_end(visitor)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        who = Subject(user=self._owner, impersonator=name)
        event = SessionVisited(session=self._session, subject=who, visitor=kind, credential=credential)
        self._observer.note(event)
