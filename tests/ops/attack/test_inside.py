"""Each attempt that succeeds outside is refused in the sandbox, or lawful by what its policy says."""

import os

import pytest

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.ops.attack.suite import ATTEMPTS
from jupyter_hpcsec.ops.attack.values import Attempt, Group
from tests.ops.attack.world import Report, World

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as a user of its own here, which takes root"),
    pytest.mark.timeout(300),
]

IN_SANDBOX = [attempt for attempt in ATTEMPTS if attempt.group is not Group.JUPYTER]
"""Jupyter's handlers are tried by ``test_handlers`` and ``test_in_session``."""
GROUPS = [f"--only={group}" for group in Group if group is not Group.JUPYTER]
ROUNDS = 100_000


@pytest.fixture(scope="module")
def as_user(world: World) -> Report:
    with world.descriptors() as fds:
        return world.attack(*GROUPS, f"--tries={ROUNDS}", bind="none", inherited=fds, prefix=world.mounted_twice)


@pytest.fixture(scope="module")
def as_root(world: World) -> Report:
    """Even root gets nothing: the sandbox takes its power away."""
    names = [f"--only={attempt.id}" for attempt in IN_SANDBOX if attempt.privileged]
    return world.attack(*names, "--allowed=/tmp", bind="none", user=False)


@pytest.mark.parametrize("attempt", IN_SANDBOX, ids=[attempt.id for attempt in IN_SANDBOX])
def test_it_is_refused(attempt: Attempt, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue("as_root" if attempt.privileged else "as_user")
    found = report.attempts[attempt.id]
    assert found["outcome"] == "refused", found
    assert found["expected"] == "stopped" or attempt.granted


def test_the_run_is_a_success(as_user: Report) -> None:
    assert as_user.status == 0, [one for one in as_user.attempts.values() if one["outcome"] != "refused"]


def test_the_race_was_run(as_user: Report) -> None:
    assert f"all of {ROUNDS} rounds" in as_user.attempts["files.race"]["detail"]


@pytest.mark.parametrize("bind", [bind for bind in Bind if bind is not Bind.NONE])
def test_only_what_the_policy_allows_succeeds(world: World, bind: Bind) -> None:
    report = world.attack("--only=sockets", "--only=services", "--only=syscalls", bind=bind)
    assert report.status == 0, [one for one in report.attempts.values() if one["outcome"] == "succeeded"]
    lawful = {name for name, one in report.attempts.items() if one["verdict"] == "lawful"}
    assert "sockets.udp-bind" in lawful
    assert ("sockets.tcp-listen" in lawful) is (bind is not Bind.UNSAFE_UDP)
    assert "sockets.tcp-connect" not in lawful


def test_without_namespaces_all_that_got_through_was_expected(world: World) -> None:
    report = world.attack(*GROUPS, "--tries=1000", bind="none", TEST_WITHOUT_NAMESPACES="1")
    through = {name: one for name, one in report.attempts.items() if one["outcome"] in {"succeeded", "failed"}}
    assert report.status == 1, "what is open as expected is open"
    assert {name for name, one in through.items() if one["expected"] == "stopped"} == set()
    for name in ("read-only.chmod", "read-only.xattr", "files.stat", "services.munge", "processes.shared-memory"):
        assert through[name]["verdict"].startswith("open (needs "), name
