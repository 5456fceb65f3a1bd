"""``hpcsec access run``: the command's own status, and 126 with one sentence where its sandbox can't be had."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give
from tests.nobody import prefix

pytestmark = pytest.mark.skipif(
    landlock.abi() < 4 or bool(mounts.probe()), reason="needs Landlock ABI 4 and user namespaces"
)

POLICY = """\
version: 1
defaults: {enforcement: required, minimum_abi: 4, network: {bind: none, connect: [hub]}}
rules:
  - {who: "user:tester", allow: {write: ["{home}"]}, deny: ["{home}/secret"]}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        (made / "secret").mkdir()
        (made / "secret/key").write_text("text")
        (made.parent / "policy.yaml").write_text(POLICY)
        give(made.parent)
        yield made


def run(
    home: Path, *command: str, user: str = "tester", policy: str = "policy.yaml"
) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "access", "run", "--policy", str(home.parent / policy)]
    argv += ["--user", user, "--home", str(home), "--", *command]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    return subprocess.run(
        [*prefix(), *argv], capture_output=True, text=True, check=False, cwd=home, timeout=60, env=environment
    )


def test_what_is_denied_is_denied_and_the_rest_works(home: Path) -> None:
    assert subprocess.run(["cat", "secret/key"], cwd=home, check=True, capture_output=True).stdout == b"text"
    done = run(home, "cat", "secret/key")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Permission denied" in done.stderr
    done = run(home, "sh", "-c", "echo x > new; cat new; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "x\n", "")


def test_a_signal_is_told_as_shells_do(home: Path) -> None:
    assert run(home, "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"user": "stranger"}, "stranger"),
        ({"policy": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_what_can_not_be_enforced_does_not_run(home: Path, settings: dict[str, str], words: str) -> None:
    done = run(home, "touch", "ran", **settings)
    assert done.returncode == 126
    assert done.stderr.startswith("hpcsec access run: ") and words in done.stderr
    assert not (home / "ran").exists()


def test_a_program_that_is_not_there_is_named(home: Path) -> None:
    done = run(home, "/nowhere/x")
    assert done.returncode == 126
    assert "/nowhere/x is not on this node, or no rule of the policy lets the session see it." in done.stderr


def test_a_command_is_needed(home: Path) -> None:
    assert run(home).returncode == 2
