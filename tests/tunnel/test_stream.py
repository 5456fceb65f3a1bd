"""The stream's table: two ends that follow it agree at every step, and what it lacks is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.tunnel.frames import Type
from jupyter_hpcsec.tunnel.stream import Side, StreamState


def legal(state: StreamState) -> list[Type]:
    """The frames that this end may send now."""
    found = []
    for kind in Type:
        probe = StreamState(state.local, state.remote)
        try:
            probe.send(kind)
        except ValueError:
            continue
        found.append(kind)
    return found


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 9)), max_size=60))
def test_two_ends_that_follow_the_table_never_break_it(steps: list[tuple[bool, bool, int]]) -> None:
    """Frames cross on their way; only one end opens, as on a lane."""
    opener, server = StreamState(), StreamState()
    to_server: list[Type] = []
    to_opener: list[Type] = []
    for by_opener, deliver, pick in steps:
        state, out, inbox = (opener, to_server, to_opener) if by_opener else (server, to_opener, to_server)
        if deliver:
            if inbox:
                state.receive(inbox.pop(0))
            continue
        kinds = [
            kind
            for kind in legal(state)
            if (by_opener or kind is not Type.OPEN)
            and not (kind is Type.DONE and not state.may_say_done)
            and not (kind is Type.RESET and state.local is Side.CLOSED and state.remote is not Side.OPEN)
        ]
        if kinds:
            kind = kinds[pick % len(kinds)]
            state.send(kind)
            out.append(kind)
    for state, inbox in ((server, to_server), (opener, to_opener)):
        while inbox:
            state.receive(inbox.pop(0))
    assert (opener.local, opener.remote) == (server.remote, server.local)


@pytest.mark.parametrize("kind", [Type.DATA, Type.EOF, Type.RESET, Type.DONE])
def test_an_idle_lane_takes_only_open(kind: Type) -> None:
    with pytest.raises(Malformed):
        StreamState().receive(kind)


def test_nothing_follows_an_end_but_done_or_reset() -> None:
    state = StreamState(local=Side.OPEN, remote=Side.CLOSED)
    for kind in (Type.DATA, Type.EOF, Type.OPEN):
        with pytest.raises(Malformed):
            state.receive(kind)


def test_done_before_the_other_side_is_over_is_refused() -> None:
    with pytest.raises(Malformed):
        StreamState(local=Side.OPEN, remote=Side.CLOSED).receive(Type.DONE)


def test_a_fresh_lane_says_for_whom_it_is() -> None:
    waiting, own = StreamState(remote=Side.NEW), StreamState(remote=Side.NEW)
    waiting.receive(Type.DONE)
    assert waiting.is_idle
    own.receive(Type.OPEN)
    assert own.local is Side.OPEN
    with pytest.raises(Malformed):
        StreamState(remote=Side.NEW).receive(Type.DATA)


def test_sending_out_of_order_is_a_bug() -> None:
    with pytest.raises(ValueError, match="BUG"):
        StreamState().send(Type.EOF)
