"""The batch system: commands missing, a controller that is down and unsafe settings are seen before the good case."""

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.scheduler import SLURM, examine, judge_answer, judge_slurm, judge_version
from jupyter_hpcsec.ops.doctor.world import Ran

UP = Ran(0, "Slurmctld(primary) at head is UP\n", "")
CONFIG = "AuthType                = auth/munge\nProctrackType           = proctrack/cgroup\nPrivateData = none\n"
COMMANDS = {"sbatch --version": Ran(0, "slurm 22.05.8\n", ""), "squeue": UP, "scancel": UP, "scontrol ping": UP}


def test_no_commands_is_red(world: FakeWorld) -> None:
    assert [finding.status for finding in examine(world, "auto")] == [Status.BAD]


def test_one_missing_command_is_named(world: FakeWorld) -> None:
    world.commands = {name: ran for name, ran in COMMANDS.items() if name != "scancel"}
    (finding,) = examine(world, "auto")
    assert finding.status is Status.BAD
    assert "scancel" in finding.what


def test_a_controller_that_is_down_is_red_whatever_the_exit_status() -> None:
    assert judge_answer(SLURM, Ran(0, "Slurmctld(primary) at head is DOWN\n", "")).status is Status.BAD
    assert judge_answer(SLURM, Ran(1, "", "Unable to contact slurm controller\n")).status is Status.BAD
    assert judge_answer(SLURM, None).status is Status.BAD
    assert judge_answer(SLURM, UP).status is Status.OK


def test_version_that_can_not_be_read_is_unknown() -> None:
    assert judge_version(SLURM, Ran(0, "", "")).status is Status.UNKNOWN


def test_settings_on_which_promises_rest() -> None:
    assert judge_slurm({})[0].status is Status.UNKNOWN
    loose = judge_slurm(
        {"ProctrackType": "proctrack/linuxproc", "PrivateData": "accounts,jobs", "AuthType": "auth/none"}
    )
    assert [finding.status for finding in loose] == [Status.WARN] * 3


def test_all_well(world: FakeWorld) -> None:
    world.commands = {**COMMANDS, "scontrol show config": Ran(0, CONFIG, "")}
    findings = examine(world, "slurm")
    assert {finding.status for finding in findings} == {Status.OK}
    assert any("22.05.8" in finding.what for finding in findings)


def test_none_is_a_choice(world: FakeWorld) -> None:
    assert [finding.status for finding in examine(world, "none")] == [Status.OK]
