import json

import pytest

from jupyter_hpcsec.ops.bench import report
from jupyter_hpcsec.ops.bench.hub_path import OPEN_PORT
from jupyter_hpcsec.ops.bench.results import Results
from jupyter_hpcsec.ops.bench.tunnel import Report, verdicts


def slow_and_fat() -> Results:
    """A run in which no number is held."""
    results = Results()
    for measure in ("download", "download8", "hub_download"):
        results.add(measure, "tunnel", gib_per_s=1.0, cpu_s_per_gib=3.0)
        results.add(measure, "ssh", gib_per_s=2.0, cpu_s_per_gib=1.0)
    results.add("keystroke", "tunnel", p50_s=0.001, p99_s=0.004)
    results.add("keystroke", "ssh", p50_s=0.001, p99_s=0.004)
    results.add("hub_small", "tunnel", p50_s=0.004)
    results.add("hub_small", "ssh", p50_s=0.002)
    results.add("hub_small", OPEN_PORT, p50_s=0.001)
    results.add("hub_download", OPEN_PORT, gib_per_s=4.0)
    results.add("idle", "tunnel", bytes=70000.0, lanes=2)
    return results


def made(results: Results) -> Report:
    return Report({"cpu": "some"}, {"quick": True}, results, verdicts(results))


def test_an_unknown_measure_is_a_bug() -> None:
    with pytest.raises(ValueError, match="BUG"):
        Results().add("nonsense", "tunnel", x=1.0)


def test_what_is_not_held_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = report.as_text(made(slow_and_fat()))
    assert text.count("NOT HELD") == 9
    assert "  held" not in text
    assert "70000 bytes" in text


def test_nothing_measured_gives_no_verdict() -> None:
    assert verdicts(Results()) == []
    assert Results().ratio("download", "gib_per_s", "tunnel", "ssh") is None


def test_a_good_run_holds_everything() -> None:
    results = Results()
    results.add("download", "tunnel", gib_per_s=1.3, cpu_s_per_gib=0.8)
    results.add("download", "ssh", gib_per_s=1.0, cpu_s_per_gib=1.0)
    results.add("idle", "tunnel", bytes=20000.0)
    found = report.as_json(made(results))
    assert [number["held"] for number in found["numbers"]] == [True, True, True]
    assert [number["meets_aim"] for number in found["numbers"]] == [True, True, None]


def test_the_object_has_every_round_and_is_json() -> None:
    results = Results()
    for value in (3.0, 1.0, 2.0):
        results.add("download", "tunnel", gib_per_s=value)
    found = json.loads(json.dumps(report.as_json(made(results))))
    figure = found["measures"]["download"]["ways"]["tunnel"]["gib_per_s"]
    assert figure == {"median": 2.0, "low": 1.0, "high": 3.0, "rounds": 3, "values": [3.0, 1.0, 2.0]}
    assert found["machine"] == {"cpu": "some"}


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("gib_per_s", 1.234, "1.23 GiB/s"),
        ("p99_s", 0.0001234, "123 µs"),
        ("p99_s", 0.0123, "12.3 ms"),
        ("cpu_s_per_gib_gateway", 0.5, "0.50 CPU s/GiB"),
        ("load_cpu_s_per_gib", 0.5, "0.50 CPU s/GiB"),
        ("bytes", 20480, "20.0 KiB"),
        ("lanes", 2, "2"),
    ],
)
def test_figures_have_units(figure: str, value: float, text: str) -> None:
    assert report.value_text(figure, value) == text
