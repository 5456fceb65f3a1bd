"""When a session's totals are due, and when its node has been silent for too long. Pure; the clock is passed in."""

from collections.abc import Mapping

from jupyter_hpcsec.audit.kinds.node import SessionHeartbeat

TOTALS_S = 300.0
"""Seconds between two totals of a session: the node tells its own, the gateway records what it saw itself."""
SILENT_S = 2.5 * TOTALS_S
"""A node that has told nothing for so long is silent: it would have told its totals twice."""


class Silence:
    """One session, from ``now`` on; all times are monotonic seconds."""

    __slots__ = ("_heard_at", "_is_silent", "_said_at")

    def __init__(self, now: float) -> None:
        self._said_at = self._heard_at = now
        self._is_silent = False

    def heard(self, now: float) -> float:
        """The node told something; after a silence that was noticed its length in seconds, else 0."""
        silence = now - self._heard_at if self._is_silent else 0.0
        self._heard_at, self._is_silent = now, False
        return silence

    def due(self, now: float) -> tuple[bool, float]:
        """Whether the totals are due, and how long the node has been silent, told once; 0: it is not."""
        total = now - self._said_at >= TOTALS_S
        if total:
            self._said_at = now
        silence = now - self._heard_at
        if self._is_silent or silence < SILENT_S:
            return total, 0.0
        self._is_silent = True
        return total, silence


def totals(session_id: str, counts: Mapping[str, int], *, connected: bool, told: int) -> SessionHeartbeat:
    """What the gateway saw of a session until now; ``counts`` are its port's."""
    return SessionHeartbeat(
        session=session_id,
        connected=connected,
        streams=counts["streams"],
        bytes_from_node=counts["bytes_from_node"],
        bytes_to_node=counts["bytes_to_node"],
        told=told,
    )
