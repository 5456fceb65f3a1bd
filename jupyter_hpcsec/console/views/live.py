"""The Live page's values: one row for each running session."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A session as Live shows it. Times are Unix seconds, traffic is bytes by the gateway's count."""

    id: str
    user: str
    server: str
    project: str
    job: str
    node: str
    state: str
    is_connected: bool
    since: int
    ends_at: int
    from_node: int
    to_node: int


def row(session: Mapping[str, Any]) -> Row:
    """A row from the gateway's facts."""
    return Row(
        id=str(session["id"]),
        user=str(session["user"]),
        server=str(session["server"]),
        project=str(session.get("project", "")),
        job=str(session["job_id"]),
        node=str(session["node"]),
        state=str(session["state"]),
        is_connected=bool(session.get("connected")),
        since=int(session["created_at"]),
        ends_at=int(session["ends_at"]),
        from_node=int(session.get("bytes_from_node", 0)),
        to_node=int(session.get("bytes_to_node", 0)),
    )
