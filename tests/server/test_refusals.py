"""Refused requests on record: the first ones each, a flood as a number, and nothing lost of it."""

from collections.abc import Callable
from typing import Any

from jupyter_hpcsec.server.refusals import AT_ONCE, PERIOD_S, Refusals


class Site:
    def __init__(self) -> None:
        self.now, self.told, self.calls = 0.0, list[Any](), list[tuple[float, Callable[[], None]]]()
        self.refusals = Refusals(self.told.append, clock=lambda: self.now, later=self._later)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append((seconds, call))


def test_a_flood_is_counted_and_the_count_is_told_though_nothing_follows() -> None:
    site = Site()
    for number in range(AT_ONCE + 30):
        site.refusals.tell(f"/{number}", "app.owner", "no")
    site.refusals.tell("/x", "events.closed", "no")
    assert [event.object.name for event in site.told] == [*(f"/{number}" for number in range(AT_ONCE)), "/x"]
    ((seconds, end),) = site.calls
    assert seconds == PERIOD_S
    end()
    assert (site.told[-1].rule, site.told[-1].count) == ("app.owner", 30)
    site.refusals.tell("/y", "app.owner", "no")
    assert site.told[-1].object.name == "/y"


def test_a_new_period_tells_what_the_last_one_left() -> None:
    site = Site()
    for _ in range(AT_ONCE + 1):
        site.refusals.tell("/", "app.owner", "no")
    site.now = PERIOD_S + 1
    site.refusals.tell("/again", "app.owner", "no")
    assert [event.count for event in site.told[-2:]] == [1, 1]
    assert site.told[-1].object.name == "/again" and site.told[-2].reason.startswith("further")
    site.calls[0][1]()  # nothing is told twice
    assert site.told[-1].object.name == "/again"
