"""The start benchmark's report and its rival's configuration; the run itself is the benchmark."""

import dataclasses
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.bench.start import BOUND, PlainPlan, PlainSite, Report
from jupyter_hpcsec.ops.bench.statistics import paired_ratio


def report(ours: list[float], plain: list[float]) -> Report:
    return Report({}, ours, plain, paired_ratio(ours, plain))


@pytest.mark.parametrize(("ours", "held"), [(4.8, False), (4.0, True)])
def test_what_is_not_held_is_said(ours: float, held: bool) -> None:
    made = report([ours, ours], [4.0, 4.0])
    assert made.is_held is held
    assert ("NOT HELD" in made.as_text()) is not held
    assert made.as_json()["bound"] == BOUND
    assert made.as_json()["held"] is held


def test_the_rivals_hub_is_reached_by_a_port_and_its_jobs_stay_with_the_demo(tmp_path: Path) -> None:
    fields = {field.name for field in dataclasses.fields(PlainPlan)}
    values = dict.fromkeys(fields, "x") | {"state": tmp_path, "hub_port": 4711, "attestors": ("none",)}
    settings = PlainSite().spawner_settings(tmp_path, tmp_path / "admin.sock")
    plan = PlainPlan(**{**values, "proxy_command": ("chp",), "spawner_settings": settings, "variables": {}})
    config = plan.hub_config()
    assert config["JupyterHub"]["hub_bind_url"] == "http://127.0.0.1:4711"
    assert config["PlainSpawner"]["environment"] == {"HPCSEC_LOCALJOB_DIR": str(tmp_path / "jobs")}
