"""``hpcsec keys`` as it is typed."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.identity.keys import KeyRing

NOW = 1_800_000_000


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HPCSEC_ADMIN_SOCKET", str(tmp_path / "admin.sock"))
    KeyRing.open(tmp_path / "keys", now=NOW, trust_domain="hpc.example.org")
    return tmp_path / "keys"


@pytest.mark.parametrize("words", [["keys"], ["keys", "rotate", "root"], ["keys", "show"], ["keys", "list", "token"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


@pytest.mark.usefixtures("directory")
def test_no_gateway_is_said_with_the_fix(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["keys", "list"]) == 1
    said = capsys.readouterr()
    assert f"No gateway runs at {tmp_path}/admin.sock" in said.err
    assert said.out == ""


def test_an_open_directory_is_refused_with_the_fix(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory.chmod(0o755)
    assert main(["keys", "rotate", "--directory", str(directory)]) == 1
    assert f"chmod 0700 {directory}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["rotate"], ["rotate", "all"], ["rotate", "authority"]])
def test_only_token_keys_can_be_dropped(directory: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    before = (directory / "ring.json").read_bytes()
    assert main(["keys", *words, "--drop-old", "--directory", str(directory)]) == 1
    assert "hpcsec keys rotate token --drop-old" in capsys.readouterr().err
    assert (directory / "ring.json").read_bytes() == before


def test_a_leaked_token_key_is_dropped(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--directory", str(directory), "--json"]
    assert main(["keys", "rotate", "token", *where]) == 0
    old = {key["id"] for key in json.loads(capsys.readouterr().out)["keys"] if key["kind"] == "token"}
    assert main(["keys", "rotate", "token", "--drop-old", *where]) == 0
    report = json.loads(capsys.readouterr().out)
    new = {key["id"] for key in report["keys"] if key["kind"] == "token"}
    assert len(new) == 1
    assert not new & old
    assert (report["has_dropped"], report["lost"]) == (True, None)


def test_list_and_rotate_on_the_files(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--directory", str(directory), "--json"]
    assert main(["keys", "list", *where]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["by"], len(first["keys"])) == ("files", 2)
    assert main(["keys", "rotate", "token", *where]) == 0
    assert len(json.loads(capsys.readouterr().out)["keys"]) == 3
    assert main(["keys", "rotate", *where]) == 0
    last = json.loads(capsys.readouterr().out)
    assert len(last["keys"]) == 5
    assert sum(key["current"] for key in last["keys"]) == 2
    assert main(["keys", "list", "--directory", str(directory)]) == 0
    text = capsys.readouterr().out
    assert all(key["id"] in text for key in last["keys"])
    assert "PRIVATE" not in text
