"""What state each alert is in: folded from the events of the record in their order, and from nothing else. Pure.

The same record gives the same alerts, whoever folds it and however often: there is no other place in which an alert
could be closed. An acknowledgement is an event too (``alert.acknowledged``), and counts for what its writer had seen:
what occurred after that leaves the alert open.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from jupyter_hpcsec.audit.alerts import WATCHED, Watched, ended, raised, text_of

State = Literal["counting", "open", "acknowledged", "over"]
"""``counting`` is no alert yet: it has not occurred often enough. ``over`` ended by itself and needs nobody."""

ACKNOWLEDGED = "alert.acknowledged"
SESSION_ENDED = "session.ended"
CONCERNED = frozenset((ACKNOWLEDGED, SESSION_ENDED))


class Alert(Struct, frozen=True, kw_only=True):
    """One alert. ``number`` is the leaf of its first event, and names it; ``id`` is that event's id.

    ``last``, ``last_id``, ``last_time`` are of its newest occurrence, of which there were ``count``; ``standing`` of
    them were not said to be over. ``acknowledged`` is the leaf of the newest acknowledgement that counted (-1: none);
    ``reopened`` counts how often it occurred again after one.
    """

    number: int
    id: str
    key: str
    name: str
    severity: str
    user: str
    session: str
    source: str
    node: str
    since: str
    last: int
    last_id: str
    last_time: str
    count: int = 1
    standing: int = 1
    state: State = "open"
    acknowledged: int = -1
    reopened: int = 0


class Board(Protocol):
    """Where alerts are kept while they are folded."""

    def by_key(self, key: str) -> Alert | None:
        """The alert with this key."""

    def by_id(self, event_id: str) -> Alert | None:
        """The alert whose first event has this id."""

    def of_session(self, session: str) -> Iterable[Alert]:
        """All alerts of a session that stand, or wait for more."""

    def put(self, alert: Alert) -> None:
        """Keep it in the place of the one with its key."""

    def link(self, number: int, leaf: int) -> None:
        """The event at ``leaf`` belongs to the alert."""


def take(board: Board, leaf: int, event: Mapping[str, Any]) -> None:
    """One event of the record, in its turn."""
    kind = event.get("kind", "")
    if kind == ACKNOWLEDGED:
        _acknowledge(board, leaf, event)
    elif kind == SESSION_ENDED:
        for alert in list(board.of_session(str(event.get("session", "")))):
            _end(board, leaf, alert, 0)
    elif (watched := raised(event)) is not None:
        _raise(board, leaf, event, watched)
    elif (watched := ended(event)) is not None:
        found = board.by_key(watched.key(event))
        if found is not None and found.standing:
            _end(board, leaf, found, found.standing - 1)


def _raise(board: Board, leaf: int, event: Mapping[str, Any], watched: Watched) -> None:
    old = board.by_key(watched.key(event))
    if old is None or (old.state == "counting" and _seconds(old.since, event) > watched.within_s):
        alert = _first(leaf, event, watched)
    else:
        alert = replace(
            old,
            last=leaf,
            last_id=str(event.get("id", "")),
            last_time=str(event.get("time", "")),
            count=old.count + 1,
            standing=old.standing + 1,
            node=str(event.get("node", "")) or old.node,
        )
    board.put(_opened(alert, watched))
    board.link(alert.number, leaf)


def _first(leaf: int, event: Mapping[str, Any], watched: Watched) -> Alert:
    told, time = str(event.get("id", "")), str(event.get("time", ""))
    return Alert(
        number=leaf,
        id=told,
        key=watched.key(event),
        name=watched.name,
        severity=watched.severity,
        user=text_of(event, "user"),
        session=str(event.get("session", "")),
        source=str(event.get("source", "")),
        node=str(event.get("node", "")),
        since=time,
        last=leaf,
        last_id=told,
        last_time=time,
        state="counting",
    )


def _opened(alert: Alert, watched: Watched) -> Alert:
    if alert.state == "counting" and alert.count < watched.at_least:
        return alert
    again = alert.state == "acknowledged"
    return replace(alert, state="open", reopened=alert.reopened + again)


def _acknowledge(board: Board, leaf: int, event: Mapping[str, Any]) -> None:
    alert = board.by_id(str(event.get("alert", "")))
    if alert is None or alert.state == "counting":
        return
    if event.get("seen") == alert.last_id:
        board.put(replace(alert, state="acknowledged", acknowledged=leaf))
    board.link(alert.number, leaf)


def _end(board: Board, leaf: int, alert: Alert, standing: int) -> None:
    is_over = not standing and alert.state == "open" and WATCHED[alert.name].ends_itself
    board.put(replace(alert, standing=standing, state="over" if is_over else alert.state))
    board.link(alert.number, leaf)


def _seconds(since: str, event: Mapping[str, Any]) -> float:
    """From an event's time to this one's; a clock that was set back makes it nothing, never an error."""
    try:
        passed = datetime.fromisoformat(str(event.get("time", ""))) - datetime.fromisoformat(since)
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, passed.total_seconds())
