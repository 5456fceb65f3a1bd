"""A session's watch and root's: what is a difference, what is none, and when it becomes an alert."""

import pytest

from jupyter_hpcsec.gpu.compare import FRESH_S, MEMORY_LEAST, STAND_S, Change, Memory, Row, View, differences, follow

GIB = 1 << 30
NS = 4026531836
ONE = Row(frozenset({100}), 4 * GIB)


def view(at: float = 0.0, *, namespace: int = NS, blind: frozenset[str] = frozenset(), **rows: Row) -> View:
    return View(
        at=at, rows={name.replace("_", "-"): row for name, row in rows.items()}, blind=blind, namespace=namespace
    )


def what(own: View | None, root: View, now: float = 0.0) -> list[str]:
    return [difference.what for _, difference in differences(own, root, now)]


class Pair:
    """Both are shown every 10 s."""

    def __init__(self) -> None:
        self.memory, self.now = Memory(), 0.0

    def step(self, own: dict[str, Row] | None, root: dict[str, Row] | None) -> list[Change]:
        self.now += 10
        mine = None if own is None else View(at=self.now, rows=own, namespace=NS)
        theirs = None if root is None else View(at=self.now, rows=root, namespace=NS)
        self.memory, changes = follow(self.memory, mine, theirs, self.now)
        return changes

    def steps(self, seconds: float, own: dict[str, Row] | None, root: dict[str, Row] | None) -> list[Change]:
        return [change for _ in range(int(seconds / 10)) for change in self.step(own, root)]


@pytest.mark.parametrize(
    ("own", "root", "expected"),
    [
        (view(), view(GPU_0=ONE), ["hidden"]),
        (view(GPU_0=ONE), view(), ["invented"]),
        (view(GPU_0=Row(frozenset({101}), 4 * GIB)), view(GPU_0=ONE), ["processes"]),
        (view(GPU_0=Row(frozenset({100}), GIB)), view(GPU_0=ONE), ["memory"]),
        (None, view(GPU_0=ONE), ["silent"]),
        (view(GPU_0=ONE, GPU_1=ONE), view(GPU_0=ONE), ["invented"]),
    ],
)
def test_lies_and_silence_are_differences(own: View | None, root: View, expected: list[str]) -> None:
    assert what(own, root) == expected


@pytest.mark.parametrize(
    ("own", "root"),
    [
        (view(GPU_0=ONE), view(GPU_0=ONE)),
        (view(), view()),
        (None, view()),
        (view(GPU_0=Row(frozenset({7}), 4 * GIB), namespace=1), view(GPU_0=ONE)),
        (view(GPU_0=Row(frozenset({100}), None)), view(GPU_0=ONE)),
        (view(GPU_0=Row(frozenset({100}), 4 * GIB - MEMORY_LEAST)), view(GPU_0=ONE)),
        (view(GPU_0=Row(frozenset({100}), 74 * GIB)), view(GPU_0=Row(frozenset({100}), 80 * GIB))),
        (view(), view(blind=frozenset({"GPU-0"}), GPU_0=ONE)),
        (view(blind=frozenset({"GPU-0"})), view(GPU_0=ONE)),
    ],
    ids=["equal", "nothing", "no watch, nothing held", "other pids in another namespace", "not measurable", "little",
         "a tenth", "root is blind", "the session is blind"],
)  # fmt: skip
def test_what_is_none(own: View | None, root: View) -> None:
    assert what(own, root) == []


def test_it_is_raised_after_a_while_once_and_cleared_once() -> None:
    pair = Pair()
    assert pair.steps(STAND_S, {}, {"GPU-0": ONE}) == []
    (raised,) = pair.steps(3600, {}, {"GPU-0": ONE})
    assert (raised.raised, raised.device, raised.difference.what) == (True, "GPU-0", "hidden")
    assert pair.steps(STAND_S - 10, {"GPU-0": ONE}, {"GPU-0": ONE}) == []
    (cleared,) = pair.steps(60, {"GPU-0": ONE}, {"GPU-0": ONE})
    assert not cleared.raised


def test_a_start_that_one_of_them_sees_first_is_none() -> None:
    pair = Pair()
    assert pair.steps(40, {}, {"GPU-0": ONE}) + pair.steps(3600, {"GPU-0": ONE}, {"GPU-0": ONE}) == []


def test_flapping_is_one_alert() -> None:
    pair = Pair()
    changes = pair.steps(70, {}, {"GPU-0": ONE})
    for _ in range(100):
        changes += pair.step({"GPU-0": ONE}, {"GPU-0": ONE})
        changes += pair.step({}, {"GPU-0": ONE})
    assert [change.raised for change in changes] == [True]


def test_while_root_s_watch_is_away_nothing_is_raised_or_cleared() -> None:
    pair = Pair()
    assert pair.steps(3600, {"GPU-0": ONE}, None) == []
    pair.steps(70, {}, {"GPU-0": ONE})
    assert pair.steps(3600, {"GPU-0": ONE}, None) == []
    assert pair.memory.standing["GPU-0"].raised


@pytest.mark.parametrize("jump", [-1e6, 1e6, FRESH_S + 1])
def test_a_jump_or_a_gap_is_no_time_that_it_stood(jump: float) -> None:
    pair = Pair()
    pair.steps(20, {}, {"GPU-0": ONE})
    pair.now += jump
    assert pair.step({}, {"GPU-0": ONE}) == []


def test_eight_gpus_with_sixty_four_processes_each() -> None:
    rows = {f"GPU-{i}": Row(frozenset(range(64 * i, 64 * i + 64)), 64 * GIB) for i in range(8)}
    pair = Pair()
    assert pair.steps(600, rows, rows) == []
    assert len(pair.steps(600, {}, rows)) == 8
