"""Expectations and verdicts: what could not be tried is never refused, and nothing open is ever forgiven."""

import pytest

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.report import as_text, as_values, holds, totals
from jupyter_hpcsec.ops.attack.suite import ATTEMPTS
from jupyter_hpcsec.ops.attack.values import (
    Attempt,
    Conditions,
    Ending,
    Expected,
    Group,
    Outcome,
    Stop,
    Tried,
)


def attempt(stops: dict[Stop, int], lawful: frozenset[Bind] = frozenset()) -> Attempt:
    return Attempt("files.x", Group.FILES, "Do x", "Tries x.", lambda _: "", stops, lawful)


def tried(ending: Ending, stops: dict[Stop, int] | None = None, *, abi: int = 7, bind: Bind = Bind.NONE) -> Tried:
    made = attempt({Stop.LANDLOCK: 6} if stops is None else stops, frozenset({Bind.UNSAFE_ALLOW}))
    return Tried(made, made.expect(Conditions(abi, bind)), Outcome(ending, "detail"))


def test_it_is_open_below_the_version_that_stops_it() -> None:
    prospect = attempt({Stop.LANDLOCK: 6}).expect(Conditions(5))
    assert (prospect.expected, prospect.needs_abi, prospect.reason) == (Expected.OPEN, 6, "needs ABI 6")


def test_it_is_stopped_from_that_version_on() -> None:
    assert attempt({Stop.LANDLOCK: 6}).expect(Conditions(6)).expected is Expected.STOPPED


def test_mounts_stop_nothing_where_the_session_has_none() -> None:
    found = attempt({Stop.MOUNTS: 0})
    assert found.expect(Conditions(7, mounts=False)).expected is Expected.OPEN
    assert found.expect(Conditions(0, mounts=True)).expected is Expected.STOPPED


def test_what_the_policy_allows_is_no_escape() -> None:
    found = attempt({}, frozenset({Bind.PRIVATE}))
    assert found.expect(Conditions(7, Bind.PRIVATE)).expected is Expected.NOT_APPLICABLE
    assert found.expect(Conditions(7)).expected is Expected.OPEN


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (tried(Ending.NOT_TRIED), "not tried"),
        (tried(Ending.REFUSED), "refused"),
        (tried(Ending.SUCCEEDED), "GOT THROUGH"),
        (tried(Ending.SUCCEEDED, abi=5), "open (needs ABI 6)"),
        (tried(Ending.SUCCEEDED, bind=Bind.UNSAFE_ALLOW), "lawful"),
        (tried(Ending.FAILED), "failed"),
    ],
)
def test_verdicts(one: Tried, verdict: str) -> None:
    assert one.verdict == verdict


@pytest.mark.parametrize("bad", [tried(Ending.SUCCEEDED), tried(Ending.SUCCEEDED, abi=5), tried(Ending.FAILED)])
def test_one_that_is_open_or_broken_spoils_the_run(bad: Tried) -> None:
    assert not holds([tried(Ending.REFUSED), bad])
    assert bad.attempt.id in as_text([tried(Ending.REFUSED), bad], Conditions(7)).split("To look into:")[1]


def test_nothing_tried_shows_nothing() -> None:
    assert not holds([tried(Ending.NOT_TRIED)])
    assert "Nothing was refused" in as_text([tried(Ending.NOT_TRIED)], Conditions(7))


def test_a_run_that_holds() -> None:
    run = [tried(Ending.REFUSED), tried(Ending.NOT_TRIED), tried(Ending.SUCCEEDED, bind=Bind.UNSAFE_ALLOW)]
    assert holds(run)
    assert totals(run) == {"tried": 2, "refused": 1, "open": 0, "lawful": 1, "not tried": 1, "failed": 0}
    assert as_values(run, Conditions(7))["ok"] is True


def test_no_text_says_that_something_is_protected() -> None:
    run = [tried(Ending.NOT_TRIED), tried(Ending.REFUSED)]
    assert "protected" not in as_text(run, Conditions(7)).lower()


def test_the_suite_is_complete() -> None:
    assert len(ATTEMPTS) >= 80
    assert len({found.id for found in ATTEMPTS}) == len(ATTEMPTS)
    assert {found.group for found in ATTEMPTS} == set(Group)


@pytest.mark.parametrize("found", ATTEMPTS, ids=[found.id for found in ATTEMPTS])
def test_every_attempt_says_what_it_is(found: Attempt) -> None:
    assert found.tries.endswith("."), "a sentence"
    assert found.stops, "what stops it"
    assert found.granted or found.expect(Conditions(7)).expected is Expected.STOPPED
