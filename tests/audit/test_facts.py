"""What events say of themselves, stretch by stretch."""

import json

import pytest

from jupyter_hpcsec.audit.facts import Facts


def leaf(seq: int, boot: int = 1, kind: str = "lane.opened", **more: object) -> bytes:
    return json.dumps({"seq": seq, "boot": boot, "kind": kind, **more}).encode()


def what(facts: Facts) -> list[tuple[str, int | None]]:
    return [(finding.what, finding.first) for finding in facts.findings]


def joined(*stretches: tuple[int, list[bytes]]) -> Facts:
    whole = Facts(boot=0)
    for first, leaves in stretches:
        each = Facts(first=first)
        each.take(first, leaves)
        whole.join(each)
    return whole


def test_numbers_that_follow() -> None:
    assert what(joined((0, [leaf(1), leaf(2)]), (2, [leaf(3), leaf(4, 2)]), (4, [leaf(5, 3)]))) == []


@pytest.mark.parametrize(
    ("stretches", "found"),
    [
        ([(0, [leaf(1), leaf(3)])], [("numbering.hole", 1)]),
        ([(0, [leaf(1)]), (1, [leaf(3)])], [("numbering.hole", 1)]),
        ([(0, [leaf(2)])], [("numbering.hole", 0)]),
        ([(0, [leaf(1, 3)])], [("numbering.boot", 0)]),
        ([(0, [leaf(1, 1)]), (1, [leaf(2, 4)])], [("numbering.boot", 1)]),
        ([(0, [leaf(1, 1)]), (1, [leaf(2, 2), leaf(3, 1)])], [("numbering.boot", 2)]),
        ([(0, [b"{}"])], [("event.malformed", 0)]),
        ([(0, [b"[" * 10_000])], [("event.malformed", 0)]),
        ([(0, [leaf(1, kind="audit.shredded", name=7)])], [("event.malformed", 0)]),
        ([(0, [leaf(-1)])], [("event.malformed", 0)]),
    ],
)
def test_what_does_not_follow(stretches: list[tuple[int, list[bytes]]], found: list[tuple[str, int]]) -> None:
    assert what(joined(*stretches)) == found


def test_what_was_sealed_shredded_and_set_aside() -> None:
    facts = joined(
        (0, [leaf(1, sealed={"source": "ab"})]),
        (1, [leaf(2, kind="audit.shredded", name="source"), leaf(3, kind="audit.set-aside", sha256="cd")]),
    )
    assert facts.sealed == {(0, "source"): "ab"}
    assert facts.shredded == {(0, "source")}
    assert facts.aside == {"cd"}


def test_after_events_that_can_not_be_read() -> None:
    facts = Facts()
    facts.skip(256)
    facts.take(256, [leaf(257, 9), leaf(258, 9)])
    whole = Facts(boot=0)
    whole.join(facts)
    assert what(whole) == []
    facts.take(258, [leaf(259, 5)])
    assert what(facts) == [("numbering.boot", 258)]
