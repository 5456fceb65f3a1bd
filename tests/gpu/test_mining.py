"""R5: never by one kind of evidence, never an action; hit, miss, borderline, blind, flapping, restart, jumps, many."""

import pytest

from jupyter_hpcsec.gpu.samples import Holder, KernelFact
from jupyter_hpcsec.gpu.settings import Settings
from jupyter_hpcsec.gpu.signs import in_command
from tests.gpu.scenes import GIB, Scene, context, device, raised

HALF_HOUR = 1800


def hot(pid: int = 100, index: int = 0, **changes: object) -> object:
    return device(context(pid, utilisation=99), index=index, **{"utilisation": 99, "power_mw": 650_000, **changes})


def holder(*signs: str, pid: int = 100) -> Holder:
    return Holder(pid=pid, start=1, whose="mine", by="tree", kernel="k", signs=signs)


def mined(scene: Scene, seconds: float, seen: object, **more: object) -> int:
    return raised(scene.steps(seconds, seen, **more)).count("R5")  # type: ignore[arg-type]


@pytest.mark.parametrize("signs", [("pool", "cpu"), ("program", "connection"), ("algorithm", "payout", "cpu")])
def test_words_and_another_kind_are_a_hit_at_once(signs: tuple[str, ...]) -> None:
    scene = Scene()
    assert mined(scene, 60, device(), holders=[holder(*signs)]) == 1
    [alert] = [alert for alert in scene.alerts if alert.finding.rule == "R5"]
    assert alert.finding.action == "notify"


def test_words_and_half_an_hour_of_steady_work_without_a_cell() -> None:
    scene = Scene()
    assert mined(scene, HALF_HOUR, hot(), holders=[holder("pool")]) == 0
    assert mined(scene, 10, hot(), holders=[holder("pool")]) == 1


@pytest.mark.parametrize(
    "signs",
    [(), ("pool",), ("pool", "algorithm", "payout", "program"), ("connection",), ("cpu",), ("cpu", "connection")],
)
def test_one_kind_or_weak_ones_are_a_clear_miss(signs: tuple[str, ...]) -> None:
    assert mined(Scene(), 5 * 3600, device(context()), holders=[holder(*signs)]) == 0


def test_steady_work_in_a_cell_is_training() -> None:
    busy = KernelFact(id="k", pid=90, start=1, busy=True, since=1.0)
    assert mined(Scene(), 5 * 3600, hot(), holders=[holder("connection", "cpu")], kernels=[busy]) == 0


def test_everything_hidden_but_behaviour_is_low_confidence() -> None:
    scene = Scene()
    assert mined(scene, HALF_HOUR + 60, hot(), holders=[holder("connection", "cpu")]) == 1
    assert [a.finding.confidence for a in scene.alerts if a.finding.rule == "R5"] == ["low"]


@pytest.mark.parametrize(
    "changes", [{"utilisation": 89}, {"power_mw": 419_999}, {"power_mw": None}, {"power_limit_mw": None}]
)
def test_the_borderline_of_steady(changes: dict[str, object]) -> None:
    seen = device(context(utilisation=None), **{"utilisation": 90, "power_mw": 420_000, **changes})  # type: ignore[arg-type]
    assert mined(Scene(), 3600, seen, holders=[holder("pool")]) == 0
    exactly = device(context(utilisation=None), utilisation=90, power_mw=420_000)
    assert mined(Scene(), 3600, exactly, holders=[holder("pool")]) == 1


def test_flapping_work_is_not_steady() -> None:
    scene = Scene()
    for _ in range(200):
        mined(scene, 60, hot(), holders=[holder("pool")])
        mined(scene, 10, device(context()), holders=[holder("pool")])
    assert "R5" not in raised(scene.alerts)


@pytest.mark.parametrize("blind", ["kernel", "driver", "power"])
def test_blind(blind: str) -> None:
    scene = Scene()
    unknown = KernelFact(id="k", pid=90, start=1, busy=None, since=1.0)
    if blind == "kernel":
        assert mined(scene, 3600, hot(), holders=[holder("pool")], kernels=[unknown]) == 0
    elif blind == "driver":
        assert raised(scene.steps(3600, state="error", holders=[holder("pool")])).count("R5") == 0
    else:
        assert mined(scene, 3600, hot(power_mw=None), holders=[holder("pool")]) == 0


def test_a_driver_s_restart_and_clock_jumps_do_not_add_time() -> None:
    scene = Scene()
    mined(scene, HALF_HOUR - 600, hot(), holders=[holder("pool")])
    scene.time += 1e6
    scene.mono += 1e6
    assert mined(scene, 500, hot(), holders=[holder("pool")]) == 0
    scene.steps(600, state="lost", holders=[])
    assert mined(scene, 500, hot(), holders=[holder("pool")]) == 0


def test_eight_gpus_with_sixty_four_processes_each() -> None:
    seen = [device(*(context(64 * i + n, GIB, 99) for n in range(64)), index=i) for i in range(8)]
    holders = [holder("pool", "cpu", pid=pid) for pid in range(512)]
    scene = Scene()
    assert raised(scene.steps(60, *seen, holders=holders)).count("R5") == 512


def test_others_processes_are_not_judged() -> None:
    foreign = Holder(pid=100, start=1, whose="foreign", signs=("pool", "cpu"))
    assert mined(Scene(), 3600, hot(), holders=[foreign]) == 0


def test_no_setting_makes_it_act() -> None:
    with pytest.raises(ValueError, match="review"):
        Settings(actions={"R5": "end session"})


@pytest.mark.parametrize(
    ("command", "signs"),
    [
        (b"/tmp/.x/xmrig\0-o\0stratum+tcp://pool.example:3333\0", {"pool", "program"}),
        (b"python\0train.py\0--algo\0ppo\0", set()),
        (b"./worker\0--algo\0kawpow\0--wallet=x\0", {"algorithm", "payout"}),
        (b"sshd\0-o\0stratum2+ssl://x\0", {"pool"}),
        (b"python\0-m\0ipykernel_launcher\0-f\0/run/kernel.json\0", set()),
        (b"python\0cluster/stratum_layers.py\0", set()),
        (b"\xff\xfe\0\0", set()),
        (b"", set()),
    ],
)
def test_what_a_command_line_says(command: bytes, signs: set[str]) -> None:
    assert set(in_command(command)) == signs
