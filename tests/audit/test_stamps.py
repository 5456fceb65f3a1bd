"""Leaves are canonical, whatever an event holds; numbers are given away only once they are durable."""

import json
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.record import AuditExported
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.merkle import Frontier
from jupyter_hpcsec.audit.stamps import Stamper, as_leaf, timestamp

NS = 10**9


def stamper(seq: int = 0) -> Stamper:
    return Stamper(seq, 3, lambda: 1_700_000_000 * NS, lambda: 5 * NS, lambda n: bytes(n))


@given(st.text(max_size=50), st.binary(max_size=50), st.integers(-(2**70), 2**70), st.booleans())
def test_leaves_are_what_the_rfc8785_library_writes(text: str, path: bytes, number: int, flag: bool) -> None:
    for event in (
        SessionEnded(
            subject=Subject(user=text), object=Object.of_path(path, number), reason=text, bytes_to_node=number
        ),
        AuditExported(query=text, found=number, with_values=flag),
    ):
        leaf = as_leaf(stamper().queue(event, "node", {}, None), 7, 3, {"b": "00", "a": "ff"})
        assert leaf == rfc8785.dumps(json.loads(leaf))


def test_numbers_are_given_away_when_they_are_durable() -> None:
    made = stamper(41)
    queued = made.queue(LaneOpened(), "gateway", {}, None)

    def number() -> dict[str, Any]:
        ((leaf, _),), _ = made.leaves([queued], Frontier(), lambda n: bytes(n))
        return dict(json.loads(leaf))

    assert [number()["seq"], number()["seq"]] == [42, 42]
    made.advance(1)
    assert number()["seq"] == 43
    assert number()["boot"] == 3
    assert number()["mono"] == 5 * NS


def test_a_step_is_told_until_it_is_durable() -> None:
    wall = [0]
    made = Stamper(0, 1, lambda: wall[0], lambda: 0, lambda n: bytes(n))
    assert made.step() is None
    wall[0] = -3600 * NS
    for _ in range(2):
        step = made.step()
        assert step is not None
        assert (step.forward_ms, step.back_ms) == (0, 3_600_000)
    made.advance(1)
    assert made.step() is None


def test_times() -> None:
    assert timestamp(1_700_000_000 * NS + 123_456_789) == "2023-11-14T22:13:20.123456Z"
