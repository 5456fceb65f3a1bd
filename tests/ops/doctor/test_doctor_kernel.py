"""Kernel features: what a session needs is red on a node where it is missing; what some policies need is yellow."""

import pytest

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.kernel import (
    examine,
    judge_landlock,
    judge_namespaces,
    judge_proc,
    judge_ptrace,
    judge_seccomp,
)


@pytest.mark.parametrize("abi", [0, 1, 3])
def test_a_kernel_that_can_not_refuse_listening(abi: int) -> None:
    assert judge_landlock(abi).status is Status.BAD
    assert judge_landlock(6).status is Status.OK


@pytest.mark.parametrize("abi", [4, 5])
def test_a_kernel_that_the_usual_policy_does_not_take(abi: int) -> None:
    assert judge_landlock(abi).status is Status.WARN and "minimum_abi" in judge_landlock(abi).fix


@pytest.mark.parametrize("actions", ["", "kill_process errno allow", "user_notif allow"])
def test_a_filter_without_notification(actions: str) -> None:
    assert judge_seccomp(actions).status is Status.BAD
    assert judge_seccomp("kill_process errno user_notif allow").status is Status.OK


def test_the_guard_must_see_its_children() -> None:
    assert [judge_ptrace(scope).status for scope in ("2", "3")] == [Status.BAD] * 2
    assert judge_ptrace("nonsense").status is Status.UNKNOWN
    assert [judge_ptrace(scope).status for scope in ("", "0", "1")] == [Status.OK] * 3


def test_without_namespaces_some_policies_start_no_session() -> None:
    assert judge_namespaces("Operation not permitted").status is Status.WARN
    assert "Operation not permitted" in judge_namespaces("Operation not permitted").what
    assert judge_namespaces("").status is Status.OK


def test_inside_a_session_nobody_has_namespaces_and_that_is_right(world: FakeWorld) -> None:
    world.texts = {"/proc/mounts": "proc /proc proc rw,hidepid=2 0 0\n"}
    world.texts["/proc/sys/kernel/seccomp/actions_avail"] = "errno user_notif allow\n"
    world.no_namespaces = "No space left on device"
    assert Status.WARN in {finding.status for finding in examine(world, node=True)}
    assert {finding.status for finding in examine(world, node=True, in_session=True)} == {Status.OK}


def test_proc_shows_other_users_processes() -> None:
    assert judge_proc("proc /proc proc rw,nosuid 0 0\n").status is Status.WARN
    assert judge_proc("proc /proc proc rw,hidepid=0 0 0\n").status is Status.WARN
    assert judge_proc("proc /mnt/proc proc rw,hidepid=2 0 0\n").status is Status.WARN
    assert judge_proc("x / ext4 rw 0 0\nproc /proc proc rw,hidepid=invisible 0 0\n").status is Status.OK
    assert judge_proc("proc /proc proc rw,hidepid=2 0 0\n").status is Status.OK


def test_the_hub_needs_less_than_a_node(world: FakeWorld) -> None:
    world.texts = {"/proc/mounts": "proc /proc proc rw,hidepid=2 0 0\n"}
    world.abi = 0
    assert {finding.status for finding in examine(world, node=False)} == {Status.OK}
    assert Status.BAD in {finding.status for finding in examine(world, node=True)}
    world.abi = 7
    world.texts["/proc/sys/kernel/seccomp/actions_avail"] = "errno user_notif allow\n"
    assert {finding.status for finding in examine(world, node=True)} == {Status.OK}
