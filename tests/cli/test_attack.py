"""``hpcsec attack``: arguments and exit status."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main


def test_something_open_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("x")
    words = [f"--denied={tmp_path / 'secret'}", f"--allowed={tmp_path}", "--only=files.read", "--json"]
    assert main(["attack", *words]) == 1
    (found,) = json.loads(capsys.readouterr().out)["attempts"]
    assert (found["outcome"], found["verdict"]) == ("succeeded", "GOT THROUGH")


def test_nothing_tried_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", f"--allowed={tmp_path}", "--only=files.read"]) == 1
    assert "not tried" in capsys.readouterr().out


def test_a_refusal_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--denied={tmp_path / 'absent'}", f"--allowed={tmp_path}", "--only=files.read"]
    assert main(["attack", *words]) == 0
    assert "1 refused" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--only=nothing"], ["--service=nothing"], ["--server=nothing"]])
def test_wrong_words_are_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", *words]) == 1
    assert words[0].split("=")[1] in capsys.readouterr().err
