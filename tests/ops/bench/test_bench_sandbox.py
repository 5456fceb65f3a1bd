"""What the sandbox costs: the report's arithmetic, and one short run of all of it."""

import json
import os

import pytest

from jupyter_hpcsec.access import landlock, mounts
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench import sandbox
from jupyter_hpcsec.ops.bench.sandbox import WHAT, Report


def report(slower: float) -> Report:
    outside = {name: [1.0, 2.0, 4.0] for name in WHAT}
    inside = {name: [slower * value for value in values] for name, values in outside.items()}
    return Report({"cpu": "x"}, {"landlock_abi": 7}, inside, outside)


def test_numbers_that_do_not_hold_are_said_not_to() -> None:
    assert [verdict.is_held for verdict in report(1.10).verdicts()] == [False, False, False]
    assert report(1.10).as_text().count("NOT HELD") == 3
    assert [verdict.is_held for verdict in report(1.03).verdicts()] == [False, True, True]
    assert [verdict.is_held for verdict in report(1.0).verdicts()] == [True, True, True]


def test_a_start_counts_by_what_it_takes_more() -> None:
    numbers = report(1.5).as_json()["numbers"]
    assert (numbers[2]["value"], numbers[2]["unit"], numbers[0]["value"]) == (1000, "ms", 1.5)


async def test_a_program_that_fails_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sandbox.PROGRAMS, "import", "raise SystemExit(3)\n")
    with pytest.raises(Unavailable, match="import numpy, pandas failed with status 3"):
        await sandbox.run(rounds=1, caller=os.environ, say=lambda words: None)


@pytest.mark.skipif(landlock.abi() < 4 or bool(mounts.probe()), reason="needs Landlock ABI 4 and user namespaces")
async def test_all_of_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    made = await sandbox.run(rounds=1, caller=os.environ, say=said.append)
    assert said == ["round 0 of 1 (warm-up, not counted)", "round 1 of 1"]
    tree = json.loads(json.dumps(made.as_json()))
    assert set(tree["measures"]) == set(WHAT)
    assert tree["sandbox"]["masks"] == "1 hidden, 1 read-only"
    assert all(len(measure["inside_s"]) == 1 for measure in tree["measures"].values())
    assert "The numbers to hold" in made.as_text()
