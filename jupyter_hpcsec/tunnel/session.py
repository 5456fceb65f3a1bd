"""What a session is: the values that gateway, store and admin API hand to each other. No I/O, no clock."""

import re
from dataclasses import dataclass
from enum import StrEnum

SESSION_ID = re.compile(r"[0-9a-f]{32}")
"""128 random bits in lower-case hexadecimal: JupyterHub's unix-socket routes need lower-case paths."""


class State(StrEnum):
    """Where a session is between the click on *Start* and the end of its job."""

    WAITING = "waiting"
    """Registered by the spawner; its job is queued or has not enrolled yet."""
    ENROLLED = "enrolled"
    """The job's agent holds a certificate."""
    STARTING = "starting"
    """The single-user server is starting on the node."""
    READY = "ready"
    """The server answers."""
    AWAY = "away"
    """The agent's control connection is lost; it is expected back."""
    ENDED = "ended"
    """Revoked for good: nothing of it is accepted again."""


@dataclass(frozen=True)
class Session:
    """One user's server in one job. Times are Unix seconds; ``ends_at`` bounds every certificate of the session."""

    id: str
    user: str
    server: str
    uid: int
    state: State
    job_id: str
    node: str
    created_at: int
    ends_at: int
    serial: str
    reason: str


@dataclass(frozen=True)
class Progress:
    """One step of a session, for the spawn page. ``seq`` counts from 1 within a session."""

    seq: int
    at: int
    state: str
    message: str
