"""How a changed bundle is called: each change by its name, whatever stands beside it."""

import pytest

from jupyter_hpcsec.audit.findings import Finding, compare

SIGNED = [bytes([n]) * 32 for n in range(10)]
KNOWN = {hashed: 100 + n for n, hashed in enumerate(SIGNED)} | {b"e" * 32: 7}
NEW = b"n" * 32


def found(*change: bytes) -> list[tuple[str, int | None]]:
    return [(each.what, each.first) for each in compare(SIGNED, list(change), 100, "here", KNOWN)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SIGNED, []),
        ([*SIGNED[:3], NEW, *SIGNED[4:]], [("event.altered", 103)]),
        ([*SIGNED[:3], *SIGNED[4:]], [("event.dropped", 103)]),
        ([*SIGNED[:3], NEW, *SIGNED[3:]], [("event.inserted", 103)]),
        ([*SIGNED[:3], SIGNED[2], *SIGNED[3:]], [("event.duplicated", 102)]),
        ([*SIGNED[:3], b"e" * 32, *SIGNED[4:]], [("event.swapped", 103)]),
        (SIGNED[:8], [("event.dropped", 108), ("event.dropped", 109)]),
        ([], [("event.dropped", 100 + n) for n in range(10)]),
    ],
)
def test_changes_by_name(change: list[bytes], expected: list[tuple[str, int]]) -> None:
    assert found(*change) == expected


def test_two_that_changed_places() -> None:
    changed = [*SIGNED]
    changed[4], changed[5] = changed[5], changed[4]
    ((what, first),) = found(*changed)
    assert what == "event.moved"
    assert first in (104, 105)


def test_as_text() -> None:
    assert str(Finding("a.b", "f", "said", 3)) == "a.b: event 3: said [f]"
    assert str(Finding("a.b", "f", "said", 3, 9)) == "a.b: events 3 to 9: said [f]"
    assert str(Finding("a.b", "f", "said")) == "a.b: said [f]"
