"""What JupyterLab's start costs: the report's arithmetic, the two servers' differences, and what is missing is said."""

import gzip
import json
import os
from pathlib import Path

import pytest

from jupyter_hpcsec.access.gate import delivered
from jupyter_hpcsec.access.values import ACCESS_VARIABLE, Right
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench import lab
from jupyter_hpcsec.ops.bench.lab import MEASURES, Report
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, read_facts


def report(slower: float, bundle_bytes: int = 30_000) -> Report:
    plain = {name: [1.0, 2.0, 4.0] for name in MEASURES}
    ours = {name: [slower * value for value in values] for name, values in plain.items()}
    return Report({"cpu": "x"}, bundle_bytes, ours, plain)


def test_numbers_that_do_not_hold_are_said_not_to() -> None:
    assert [verdict.is_held for verdict in report(1.04, 150_001).verdicts()] == [False] * 5
    assert report(1.04, 150_001).as_text().count("NOT HELD") == 5
    assert [verdict.is_held for verdict in report(1.02, 150_000).verdicts()] == [True] * 5


def test_all_rounds_are_told() -> None:
    told = json.loads(json.dumps(report(1.5).as_json()))
    assert told["ours"]["first"] == [1.5, 3.0, 6.0]
    assert [number["value"] for number in told["numbers"]] == [1.5, 1.5, 1.5, 1.5, 30.0]
    assert "3.00 (1.50 to 6.00)   in 3 rounds" in report(1.5).as_text()


def test_the_bundle_is_its_scripts_each_compressed(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.js").write_bytes(b"a" * 5000)
    (tmp_path / "b.js").write_bytes(os.urandom(5000))
    (tmp_path / "package.json").write_bytes(b"{}")
    found = lab.compressed(tmp_path)
    assert found > 5000
    assert found == sum(len(gzip.compress(path.read_bytes())) for path in tmp_path.rglob("*.js"))


def test_the_servers_differ_by_ours_alone_and_ours_is_in_a_session(tmp_path: Path) -> None:
    home = tmp_path / "home"
    caller = {"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "x", "JPY_PARENT_PID": "1", SESSION_VARIABLE: "/theirs"}
    ours = lab.environment(caller, home, "t", ours=True)
    plain = lab.environment(caller, home, "t", ours=False)
    assert set(ours) - set(plain) == {SESSION_VARIABLE, ACCESS_VARIABLE}
    assert not {"JUPYTERHUB_API_TOKEN", "JPY_PARENT_PID"} & set(ours)
    assert plain.items() <= ours.items()
    assert "t" not in lab.command(1, tmp_path, ours=True), "a token is no argument"
    lab.write_session(home, now=1000.0)
    facts = read_facts(ours)
    assert facts is not None and facts.ends_at == 87_400
    gate = delivered(ours)
    assert gate is not None
    gate.require(str(home / "notebook.ipynb"), Right.WRITE)


async def test_a_browser_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no Chromium"):
        async with lab.browser(str(tmp_path)):
            pass


async def test_an_extension_that_is_not_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "EXTENSIONS", tmp_path)
    with pytest.raises(Unavailable, match="not built"):
        await lab.run(rounds=1, caller=os.environ, say=lambda words: None)
