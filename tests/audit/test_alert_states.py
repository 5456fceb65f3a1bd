"""Alerts are folded from the record: raised, again, acknowledged, over, reopened; and from nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.alert_states import Alert, take


class Board:
    """Alerts in memory."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}
        self.links: set[tuple[int, int]] = set()
        self.next = 0

    def by_key(self, key: str) -> Alert | None:
        return self.alerts.get(key)

    def by_id(self, event_id: str) -> Alert | None:
        return next((each for each in self.alerts.values() if each.id == event_id), None)

    def of_session(self, session: str) -> list[Alert]:
        return [each for each in self.alerts.values() if session and each.session == session and each.standing]

    def put(self, alert: Alert) -> None:
        self.alerts[alert.key] = alert

    def link(self, number: int, leaf: int) -> None:
        self.links.add((number, leaf))

    def tell(self, kind: str, *, at: int = 0, **fields: Any) -> str:
        told = f"id-{self.next}"
        time = f"2026-01-01T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.000000Z"
        take(self, self.next, {"kind": kind, "id": told, "time": time, **fields})
        self.next += 1
        return told

    def raises(self, rule: str = "R5", **fields: Any) -> str:
        return self.tell("gpu.alert", rule=rule, state="raised", **({"session": "s1"} | fields))

    @property
    def only(self) -> Alert:
        (alert,) = self.alerts.values()
        return alert


def test_an_acknowledgement_counts_for_what_was_seen() -> None:
    board = Board()
    first = board.raises()
    again = board.raises()
    board.tell("alert.acknowledged", alert=first, seen=first)  # somebody else raised it meanwhile
    assert board.only.state == "open"
    board.tell("alert.acknowledged", alert=first, seen=again)
    assert (board.only.state, board.only.acknowledged, board.only.count) == ("acknowledged", 3, 2)
    board.raises()
    assert (board.only.state, board.only.reopened, board.only.number) == ("open", 1, 0)
    assert {leaf for _, leaf in board.links} == {0, 1, 2, 3, 4}


def test_an_acknowledgement_of_nothing_changes_nothing() -> None:
    board = Board()
    board.tell("alert.acknowledged", alert="", seen="")
    board.tell("alert.acknowledged", alert="id-77", seen="id-77")
    assert not board.alerts
    board.raises()
    board.tell("alert.acknowledged", alert="id-77", seen="id-2")
    assert board.only.state == "open"


def test_a_node_can_close_nothing_that_somebody_has_to_see() -> None:
    board = Board()
    board.raises("R5")
    board.tell("gpu.alert", rule="R5", state="cleared", session="s1")
    assert (board.only.state, board.only.standing) == ("open", 0)


def test_an_idle_hold_is_over_when_the_last_warning_is() -> None:
    board = Board()
    board.raises("R3", kernel="k")
    board.raises("R3", kernel="k")  # the second warning is raised before the first is cleared
    board.tell("gpu.alert", rule="R3", state="cleared", session="s1", kernel="k")
    assert board.only.state == "open"
    board.tell("gpu.alert", rule="R3", state="cleared", session="s1", kernel="k")
    assert board.only.state == "over"
    board.raises("R3", kernel="k")
    assert (board.only.state, board.only.reopened) == ("open", 0)
    board.tell("session.ended", session="s1")
    assert (board.only.state, board.only.standing) == ("over", 0)


def test_the_end_of_a_session_leaves_open_what_happened_in_it() -> None:
    board = Board()
    board.raises("R1")
    board.raises("R1", session="s2")
    board.tell("session.ended", session="s1")
    states = {each.session: (each.state, each.standing) for each in board.alerts.values()}
    assert states == {"s1": ("open", 0), "s2": ("open", 1)}
    board.tell("session.ended", session="")  # of no session: nothing


def test_too_many_in_a_short_time_are_one_alert() -> None:
    board = Board()
    for second in range(9):
        board.tell("hub.login-refused", source="10.0.0.9", at=second)
    assert board.only.state == "counting"
    board.tell("hub.login-refused", source="10.0.0.7", at=9)
    board.tell("alert.acknowledged", alert="id-0", seen="id-8")
    assert board.by_key("hub.login-refused\x1f10.0.0.9") is not None
    assert all(each.state == "counting" for each in board.alerts.values())
    board.tell("hub.login-refused", source="10.0.0.9", at=10)
    assert [each.source for each in board.alerts.values() if each.state == "open"] == ["10.0.0.9"]


def test_a_few_over_a_day_are_none() -> None:
    board = Board()
    for hour in range(20):
        board.tell("hub.login-refused", source="10.0.0.9", at=hour * 3600)
    assert (board.only.state, board.only.count) == ("counting", 1)


def test_a_time_that_is_none_is_no_error() -> None:
    board = Board()
    for _ in range(12):
        take(board, board.next, {"kind": "hub.login-refused", "id": "x", "time": "never"})
        board.next += 1
    assert board.only.state == "open"


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(
                ["gpu.alert", "alert.acknowledged", "session.ended", "session.silent", "session.heard", "node.gap", "x"]
            ),
            "rule": st.sampled_from(["R1", "R3", "R5", ""]),
            "state": st.sampled_from(["raised", "cleared"]),
            "session": st.sampled_from(["", "s1", "s2"]),
            "alert": st.sampled_from(["id-0", "id-1", "id-5"]),
            "seen": st.sampled_from(["id-0", "id-1", "id-5", "id-9"]),
        }
    ),
    max_size=40,
)


@given(EVENTS)
def test_whatever_comes_no_alert_is_closed_but_by_an_acknowledgement(events: list[dict[str, str]]) -> None:
    board = Board()
    acknowledged: set[str] = set()
    for number, event in enumerate(events):
        told = f"id-{number}"
        take(board, number, event | {"id": told, "time": "2026-01-01T00:00:00Z"})
        if event["kind"] == "alert.acknowledged":
            acknowledged.add(event["alert"])
    for alert in board.alerts.values():
        assert alert.standing >= 0 and alert.last >= alert.number
        assert alert.state in {"open", "acknowledged"} or alert.name == "gpu.R3"
        assert alert.state != "acknowledged" or alert.id in acknowledged


def test_one_refusal_about_a_project_is_none_five_in_an_hour_are_one() -> None:
    board = Board()
    for minute in (0, 70, 71, 72, 73):  # the first is forgotten
        board.tell("project.refused", at=60 * minute, rule="project.not-yours", subject={"user": "eve"})
        assert board.only.state == "counting"
    board.tell("project.refused", at=60 * 74, rule="project.not-yours", subject={"user": "eve"})
    assert (board.only.state, board.only.user, board.only.count) == ("open", "eve", 5)


def test_who_came_stays_to_be_looked_at_after_the_session() -> None:
    board = Board()
    for _ in range(3):
        board.tell("session.visited", session="s1", subject={"user": "alice", "impersonator": "bob"})
    board.tell("session.ended", session="s1")
    assert (board.only.state, board.only.count, board.only.user) == ("open", 3, "alice")
