"""What a session is: the values that gateway, store and admin API hand to each other. No I/O, no clock."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

SESSION_ID = re.compile(r"[0-9a-f]{32}")
"""128 random bits in lower-case hexadecimal: JupyterHub's unix-socket routes need lower-case paths."""


By = Literal["gateway", "hub", "staff"]
"""Who ended a session, as its user reads it: the gateway's rules, the hub (a stopped server), or the site's staff."""


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
    groups: tuple[str, ...] = ()
    """The user's groups as the hub knew them at the registration."""
    project: str = ""
    home: str = ""
    """The user's home directory as the hub's host knows it; empty in sessions of versions before access control."""
    access: str = ""
    """What the session may do, as a hash of it (``hub.policies``); empty before the enrolment, or without a policy."""
    stale_at: int = 0
    """Since when the policy would give this user something else; 0: it would not."""


@dataclass(frozen=True)
class Progress:
    """One step of a session, for the spawn page. ``seq`` counts from 1 within a session."""

    seq: int
    at: int
    state: str
    message: str
