"""The quickstart's policy loads with its own tests, lets people work in their home, and needs no mask anywhere."""

import pytest

from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.values import Bind, Enforcement, Right, Subject
from jupyter_hpcsec.ops.demo_policy import LEAST_ABI, WANTED_ABI, demo_policy
from jupyter_hpcsec.ops.protections import protections

ALICE = Subject(user="alice", uid=1001, gid=1001, home="/tmp/hpcsec-x/home")


@pytest.mark.parametrize(("abi", "asked"), [(0, LEAST_ABI), (4, 4), (5, 5), (6, WANTED_ABI), (10, WANTED_ABI)])
def test_it_asks_for_what_the_kernel_has_and_never_for_less_than_a_session_needs(abi: int, asked: int) -> None:
    resolved = parse(demo_policy(abi).encode(), "policy.yaml").resolve(ALICE)
    assert resolved.minimum_abi == asked and resolved.enforcement is Enforcement.REQUIRED
    assert resolved.network.bind is Bind.NONE


def test_the_home_and_nothing_else() -> None:
    resolved = parse(demo_policy(7).encode(), "policy.yaml").resolve(ALICE)
    decisions = Decisions(resolved)
    for path in ("/tmp/hpcsec-x", "/tmp/hpcsec-x/gateway/keys", "/tmp/hpcsec-x/homes", "/etc/shadow", "/"):
        assert decisions.decide(path).right is Right.NONE
    assert decisions.decide("/tmp/hpcsec-x/home/a.ipynb").right is Right.WRITE
    assert all(entry.right is not Right.NONE for entry in resolved.entries), "a denial could need a mask"


@pytest.mark.parametrize(
    ("namespaces", "abi", "off"),
    [(True, 7, set()), (False, 7, {"own-root"}), (True, 5, {"signals"}), (False, 4, {"own-root", "signals"})],
)
def test_what_this_computer_lacks_is_said(namespaces: bool, abi: int, off: set[str]) -> None:
    found = protections(slurm=False, root=False, namespaces=namespaces, abi=abi)
    assert {one.name for one in found if not one.is_on} & {"own-root", "signals"} == off
    assert {"file-policy", "connections"} <= {one.name for one in found if one.is_on}
