"""What the tunnel tells of itself: typed events, for whoever keeps them. It knows no record.

An event carries what the place where it happened knows; the keeper adds whose session it was.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from jupyter_hpcsec.audit.events import Event, Trust
from jupyter_hpcsec.tunnel.peer import PeerCredentials

CALLER: ContextVar[PeerCredentials | None] = ContextVar("CALLER", default=None)
"""Who is at the other end of the admin call that is being answered, by the kernel's word."""


class Observer(Protocol):
    """Takes events."""

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        """Something happened. Never blocks, never raises."""

    async def keep(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        """Something is about to be granted: returns once the event is durable; ``Unavailable`` where it can't be.

        ``sealed`` is kept beside it, and can be destroyed later.
        """

    def require(self) -> None:
        """``Unavailable`` where events can't be kept now: nothing new may begin."""


class Unobserved:
    """Keeps nothing: for tests and tools. A gateway is given an observer that does."""

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        """Nothing is kept."""

    async def keep(self, event: Event, trust: Trust = "gateway", sealed: Mapping[str, bytes] | None = None) -> None:
        """Nothing is kept."""

    def require(self) -> None:
        """Nothing is needed."""


UNOBSERVED = Unobserved()
