"""Kernel features: what is missing is said; none of it is red as long as nothing rests on it."""

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.kernel import examine, judge_landlock, judge_namespaces, judge_proc, judge_seccomp
from jupyter_hpcsec.ops.doctor.world import Ran


def test_missing_features_are_yellow() -> None:
    assert judge_landlock(None).status is Status.WARN
    assert judge_seccomp("").status is Status.WARN
    assert judge_namespaces(works=False, apparmor="1").what.startswith("AppArmor")
    assert judge_namespaces(works=False, apparmor="").status is Status.WARN


def test_proc_shows_other_users_processes() -> None:
    assert judge_proc("proc /proc proc rw,nosuid 0 0\n").status is Status.WARN
    assert judge_proc("proc /proc proc rw,hidepid=0 0 0\n").status is Status.WARN
    assert judge_proc("proc /mnt/proc proc rw,hidepid=2 0 0\n").status is Status.WARN
    assert judge_proc("x / ext4 rw 0 0\nproc /proc proc rw,hidepid=invisible 0 0\n").status is Status.OK
    assert judge_proc("proc /proc proc rw,hidepid=2 0 0\n").status is Status.OK


def test_all_there(world: FakeWorld) -> None:
    world.texts = {
        "/proc/sys/kernel/seccomp/actions_avail": "kill_process errno allow\n",
        "/proc/mounts": "proc /proc proc rw,hidepid=2 0 0\n",
    }
    world.commands = {"unshare --user true": Ran(0, "", "")}
    assert {finding.status for finding in examine(world)} == {Status.OK}
