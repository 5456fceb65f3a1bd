"""``hub_config/policy.yaml``: it loads, and allows no more than it says."""

from pathlib import Path

import pytest

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy import PolicyError, load, parse
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.access_commands import check
from tests.access.policies import subject

FILE = Path(__file__).parents[2] / "hub_config" / "policy.yaml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"{home}/.ssh"', '"{home}/.sshx"'),
        ("deny: [/data/genomics/raw]", "deny: [/data/genomics/rw]"),
        ("write: [/datasets/public]", "read: [/datasets/public]"),
        ('"/data/genomics/work/{user}"', '"/data/genomics/work"'),
        ("read: [/sw, /datasets/public]", "read: [/sw, /datasets/public, /data]"),
        ("read: [/sw, /datasets/public]", "read: [/sw, /datasets/public, /etc]"),
        ('"{home}", "/scratch', '"/home", "/scratch'),
    ],
)
def test_its_tests_see_a_mistake(old: str, new: str) -> None:
    text = FILE.read_text()
    assert old in text
    with pytest.raises(PolicyError, match=r"test .* fails|required"):
        parse(text.replace(old, new).encode(), "policy.yaml")


def test_it_loads_without_a_warning() -> None:
    report = check(FILE)
    assert report.holds and not [warning for warning in report.warnings if "others may write" not in warning]


def test_only_a_group_may_listen() -> None:
    made = load(FILE)
    assert made.resolve(subject()).network.bind is Bind.NONE
    assert made.resolve(subject("alice", "dask")).network.bind is Bind.PRIVATE
    assert made.resolve(subject("alice", "dask")).network.connect == ()
    assert made.resolve(subject("alice", "lab-database")).network.connect == (443, 5432)


def test_a_stranger_has_the_home_and_what_all_may_read() -> None:
    made = load(FILE)
    pieces = Decisions(made.resolve(subject("bob"))).pieces()
    allowed = {piece.path: str(piece.decision.right) for piece in pieces if not piece.decision.is_denied}
    assert allowed == {"/home/bob": "write", "/scratch/bob": "write", "/sw": "read", "/datasets/public": "read"}
