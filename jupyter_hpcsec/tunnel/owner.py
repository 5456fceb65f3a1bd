"""What a lane and the one who made it expect of each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jupyter_hpcsec.tunnel.lane import Lane

Edit = Callable[[memoryview, int], int]
"""``edit(view, size)`` changes the first ``size`` bytes of a stream in place and returns their size afterwards."""


class LaneOwner(Protocol):
    """What a lane tells the one who made it. Calls come from the event loop and must not block."""

    def lane_idle(self, lane: "Lane") -> None:
        """The lane carries nothing and may be used."""

    def lane_opened(self, lane: "Lane", target: str) -> None:
        """The peer opened a stream; the owner calls ``attach``, ``refuse`` or ``hold`` before it returns."""

    def lane_closed(self, lane: "Lane", reason: str) -> None:
        """The lane is gone; ``reason`` says why."""
