"""``hpcsec access``: what it prints, and its exit status."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main
from tests.access.policies import EXAMPLE


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(EXAMPLE)
    monkeypatch.setenv("HPCSEC_POLICY", str(file))
    return str(file)


USER = "no-such-user-here"


@pytest.mark.parametrize("words", [[], ["explain"], ["explain", "alice"], ["check"], ["diff", "a", "b"], ["nothing"]])
def test_wrong_arguments_are_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["access", *words])
    assert caught.value.code == 2
    assert "usage: hpcsec access" in capsys.readouterr().err


def test_a_check_that_fails_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(EXAMPLE.replace("may: none", "may: read"))
    assert main(["access", "check", str(file)]) == 1
    assert f"{file}:8:5: test 1 fails" in capsys.readouterr().out
    assert main(["access", "check", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == 8


def test_a_denied_path_is_1_and_an_allowed_one_0(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["access", "explain", USER, "/data/genomics/x"]) == 1
    assert "do NOTHING" in capsys.readouterr().out
    assert main(["access", "explain", USER, "/data/genomics/x", "--group", "genomics"]) == 0
    assert f"rule 2 (group:genomics), {example} line 5" in capsys.readouterr().out
    assert main(["access", "explain", USER, "/data/genomics/x", "--group", "a", "--group", "genomics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == ["a", "genomics"]


def test_a_failure_is_1_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = str(tmp_path / "none")
    for words in (["check", none], ["explain", USER, "/d", "--policy", none], ["diff", none, none, USER]):
        assert main(["access", *words]) == 1
        said = capsys.readouterr()
        assert "can't be read" in said.out + said.err


def test_who_is_refused_has_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nrules: [{who: '*', allow: {read: ['{home}']}}]\n")
    assert main(["access", "plan", USER, "--policy", str(file)]) == 1
    assert "{home} is not known" in capsys.readouterr().err
    assert main(["access", "plan", USER, "--rules", "--policy", str(file), "--home", "/h/x"]) == 0
    assert "read   /h/x" in capsys.readouterr().out


def test_a_plan_that_can_not_be_held_here_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    none = tmp_path / "none"
    file.write_text(f"version: 1\nrules: [{{who: '*', allow: {{read: [{none}]}}, required: [{none}]}}]\n")
    assert main(["access", "plan", USER, "--policy", str(file)]) == 1
    assert f"requires {none}" in capsys.readouterr().err
    assert main(["access", "plan", USER, "--rules", "--policy", str(file)]) == 0


def test_a_plan_shows_the_rules_places_and_what_software_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = tmp_path / "policy.yaml", tmp_path / "data"
    (data / "secret").mkdir(parents=True)
    file.write_text(f"version: 1\nrules: [{{who: '*', allow: {{read: [{data}]}}, deny: [{data}/secret]}}]\n")
    assert main(["access", "plan", USER, "--policy", str(file)]) == 0
    text = capsys.readouterr().out
    assert str(data) in text and "/usr" in text and "secret" in text
    assert main(["access", "plan", USER, "--policy", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert str(data) in [root["path"] for root in told["roots"]]
    assert told["network"] == {"bind": "none", "connect": []}


def test_rules_for_programs(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["access", "plan", USER, "--rules", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in told["entries"]] == [f"/home/{USER}", f"/home/{USER}/.ssh"]


def test_a_comparison(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["access", "diff", example, example, USER, "bob"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{USER}: nothing changes", "bob: nothing changes"]
    assert main(["access", "diff", example, example, "bob", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["users"][0]["changes"] == []


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["access", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "jupyter_hpcsec access policy"
