"""Recorded samples give the same alerts again; what is no sample is named by its line."""

import json
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.gpu.samples import Sample
from jupyter_hpcsec.gpu.settings import IdleLimits, Settings
from jupyter_hpcsec.ops.gpu import replay, workloads


def samples(count: int) -> list[Sample]:
    return [workloads.sample(workloads.Moment(busy=False, use=0, marks=0), tick) for tick in range(count)]


def write(path: Path, lines: list[Sample]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_the_same_samples_give_the_same_alerts(tmp_path: Path) -> None:
    file = write(tmp_path / "s", samples(800))
    first, second = (list(replay.alerts(replay.read(file), Settings())) for _ in range(2))
    assert first == second
    assert [alert.finding.key for alert in first if alert.raised] == ["R3:k:1", "R3:k:2", "R3:k:3"]
    assert list(replay.alerts(samples(800), Settings())) == first


def test_other_settings_give_others() -> None:
    assert not list(replay.alerts(samples(800), Settings(idle=IdleLimits(end=0))))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "s", samples(400))
    assert main(["gpu", "replay", str(file)]) == 0
    [alert] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (alert["rule"], alert["state"], alert["kernel"]) == ("R3", "raised", "k")
    assert main(["gpu", "replay", str(file), "--settings", '{"idle": {"end": 0}}']) == 0
    assert capsys.readouterr().out == ""
    assert main(["gpu", "replay", str(file), "--settings", '{"idle": {"end": 1}}']) == 1


def test_what_is_no_sample(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(msgspec.json.encode(samples(1)[0]).decode() + "\n{}\n")
    with pytest.raises(Malformed, match="Line 2"):
        list(replay.read(tmp_path / "s"))
    with pytest.raises(Unavailable):
        list(replay.read(tmp_path / "none"))
