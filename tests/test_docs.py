"""What the documentation names exists: files of the tree, and subcommands with the options that are shown."""

import importlib
import importlib.metadata
import itertools
import re
import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from jupyter_hpcsec.cli.main import COMMANDS
from jupyter_hpcsec.config import HpcsecGateway

TREE = Path(__file__).parent.parent
PAGES = sorted([*(TREE / "docs").rglob("*.md"), *TREE.glob("*.md")])
OURS = ("tests/", "hub_config/", "jupyter_hpcsec/", "docs/", "examples/", "tools/", ".ci/")
MADE = ("docs/_build",)
"""What is named and made by a command."""


def named_files(text: str) -> set[str]:
    """Paths of this tree that stand in backticks, and links to files."""
    spans = re.findall(r"`([^`\n]+)`", text)
    words = {word.rstrip(".,;:") for span in spans for word in span.split()}
    return {word for word in words if word.startswith(OURS) and not word.startswith(MADE) and "*" not in word}


def named_commands(text: str) -> Iterator[list[str]]:
    """``hpcsec …`` lines of code blocks, and code spans that are a whole command."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`(hpcsec [^`\n]+)`", text)
    for line in [*lines, *spans]:
        command = re.sub(r"^sudo -u \w+ ", "", line.strip())
        if command.startswith("hpcsec "):
            yield shlex.split(command, comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_files_that_are_named_exist(page: Path) -> None:
    missing = {name for name in named_files(page.read_text()) if not (TREE / name).exists()}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_commands_that_are_named_exist(page: Path) -> None:
    for words in named_commands(page.read_text()):
        command = words[0]
        assert command in COMMANDS, f"hpcsec {command}"
        assert not unknown(words), f"hpcsec {' '.join(words)}: {unknown(words)}"


def unknown(words: Sequence[str]) -> list[str]:
    """What a command has not: the action, or options of this action. Behind ``--`` or ``|`` others begin."""
    rest = own = list(itertools.takewhile(lambda word: word not in ("--", "|"), words[1:]))
    parser, known = ArgumentParser(), set[str]()
    importlib.import_module(f"jupyter_hpcsec.cli.{words[0]}").add_arguments(parser)
    while True:
        known |= set(parser._option_string_actions)
        actions = next((each.choices for each in parser._actions if isinstance(each, _SubParsersAction)), {})
        if not actions or not rest or rest[0].startswith("-"):
            break
        if rest[0] not in actions:
            return [rest[0]]
        parser, rest = actions[rest[0]], rest[1:]
    options = [word.strip("[]").split("=")[0] for word in own if word.startswith(("--", "[--"))]
    return [option for option in options if option not in known]


def test_what_is_missing_is_seen() -> None:
    assert named_files("see `tests/none.py`, `x tests/test_docs.py`") == {"tests/none.py", "tests/test_docs.py"}
    assert list(named_commands("```sh\nhpcsec doctor --node  # here\n```\n`hpcsec keys list`")) == [
        ["doctor", "--node"],
        ["keys", "list"],
    ]


def test_an_option_of_another_action_is_seen() -> None:
    assert unknown(["audit", "query", "--reason", "x"]) == ["--reason"]
    assert unknown(["audit", "ask"]) == ["ask"]
    assert unknown(["doctor", "--all"]) == ["--all"]
    assert unknown(["cluster", "exec", "--user", "alice", "node1", "--", "ls", "--all"]) == []
    assert list(named_commands("```\nsudo -u hpcsec hpcsec audit ask\n```")) == [["audit", "ask"]]


@pytest.mark.parametrize("name", sorted(HpcsecGateway.class_trait_names(config=True)))
def test_every_setting_of_the_gateway_is_explained(name: str) -> None:
    assert f"`{name}" in (TREE / "docs" / "admins" / "gateway.md").read_text()


def test_every_dependency_has_its_reason() -> None:
    page = (TREE / "docs" / "dependencies.md").read_text()
    told = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for name in row.split(",")}
    declared = {Requirement(text).name for text in importlib.metadata.requires("jupyter-hpcsec") or []}
    assert declared - {"jupyter_hpcsec"} <= told, declared - told


def test_pages_are_found() -> None:
    assert len(PAGES) > 15
