"""Real processes, read from the real /proc, and made-up ones."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.gpu import processes
from jupyter_hpcsec.gpu.processes import Processes, Sweep, is_public, job_of, kernel_in, parse_stat
from jupyter_hpcsec.server.provisioner import KERNEL_VARIABLE

WAIT = "import sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT, "stratum+tcp://pool.example"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, KERNEL_VARIABLE: "k1"},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.communicate()


def test_the_kernel_s_variable_is_the_provisioner_s() -> None:
    assert processes.KERNEL_VARIABLE.decode() == f"{KERNEL_VARIABLE}="


def test_a_child_its_parents_and_what_it_says_of_itself(child: "subprocess.Popen[bytes]") -> None:
    found = {each.pid: each for each in Processes(os.getuid()).above([child.pid], stop=os.getpid())}
    assert set(found) == {child.pid, os.getpid()}
    seen = found[child.pid]
    assert (seen.uid, seen.parent, seen.kernel, seen.signs) == (os.getuid(), os.getpid(), "k1", ("pool",))
    assert seen.start > 0 and found[os.getpid()].start > 0


def test_of_another_account_s_process_nothing_is_read_but_uid_parent_and_start(
    child: "subprocess.Popen[bytes]",
) -> None:
    [seen] = Processes(os.getuid() + 1).above([child.pid], stop=os.getpid())[:1]
    assert (seen.uid, seen.name, seen.signs, seen.kernel) == (os.getuid(), "", (), "")


def test_walking_up_ends_at_the_top_and_what_is_gone_is_left_out(child: "subprocess.Popen[bytes]") -> None:
    found = Processes(os.getuid()).above([child.pid, 1 << 22])
    assert {child.pid, os.getpid()} <= {each.pid for each in found}
    assert 1 << 22 not in {each.pid for each in found}


def test_a_renamed_process_is_read_again(child: "subprocess.Popen[bytes]") -> None:
    looked = Processes(os.getuid())
    looked.above([child.pid])
    known = looked._known[child.pid]
    looked._known[child.pid] = processes._Known(processes.Stat("before", 1, known.stat.start, 0), 0, known.process)
    assert looked.above([child.pid])[0].name == known.stat.name


def test_the_sweep_finds_words_without_a_gpu_and_says_cpu_of_a_busy_one(child: "subprocess.Popen[bytes]") -> None:
    sweep = Sweep(Processes(os.getuid()))
    assert sweep.look(100.0)[child.pid] == ("pool",)
    start = next(start for pid, start in sweep._cpu if pid == child.pid)
    sweep._cpu[child.pid, start] = (100.0, -100 * sweep.ticks_per_s)  # as if it had used a core for 100 s
    assert sweep.look(200.0)[child.pid] == ("pool", "cpu")


def test_the_sweep_sees_a_connection_that_lasts(
    child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "outside", lambda proc, pid: {"77"} if pid == child.pid else set())
    sweep = Sweep(Processes(os.getuid()))
    assert sweep.look(0.0)[child.pid] == ("pool",)
    assert sweep.look(1799.0)[child.pid] == ("pool",)
    assert sweep.look(1800.0)[child.pid] == ("pool", "connection")


def test_another_job_s_processes_are_not_swept(child: "subprocess.Popen[bytes]") -> None:
    assert child.pid not in Sweep(Processes(os.getuid()), cgroup="/slurm/uid_1/job_1").look(0.0)


def test_this_process_has_no_connection_to_the_internet() -> None:
    assert processes.outside(Path("/proc"), os.getpid()) == set()
    assert processes.outside(Path("/proc"), 1 << 22) == set()


@pytest.mark.parametrize(
    ("address", "public"),
    [("08080808", True), ("0100007F", False), ("0100000A", False), ("B80D0120000000000000000001000000", False),
     ("0000000000000000FFFF000008080808", True), ("0000000000000000FFFF00000100007F", False), ("xyz", False),
     ("", False)],
)  # fmt: skip
@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel writes addresses in the machine's order")
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_17/step_0/user/task_0", "/system.slice/slurmstepd.scope/job_17"),
        ("9:devices:/slurm/uid_1000/job_17/step_batch\n8:cpu:/x", "/slurm/uid_1000/job_17"),
        ("4:memory:/pbspro.slice/pbspro-x.slice\n", ""),
        ("0::/user.slice/user-1000.slice", ""),
        ("0::/", ""),
        ("0::/user/job_x", ""),
        ("", ""),
    ],
)
def test_the_job_s_cgroup(text: str, job: str) -> None:
    assert job_of(text) == job


@pytest.mark.parametrize("line", [b"", b"1", b"1 (x", b"1 (x) S", b"1 (x) S a b c", b") ("])
def test_lines_that_are_none(line: bytes) -> None:
    assert parse_stat(line) is None


def test_a_name_may_hold_anything() -> None:
    rest = b" S 7 " + b" ".join(str(n).encode() for n in range(5, 30))
    stat = parse_stat(b"9 (a) b (c))" + rest)
    assert stat is not None and (stat.name, stat.parent) == ("a) b (c)", 7)


def test_a_kernel_id_is_bounded() -> None:
    assert kernel_in(b"A=1\0JUPYTER_HPCSEC_KERNEL=abc\0") == "abc"
    assert kernel_in(b"XJUPYTER_HPCSEC_KERNEL=abc\0") == ""
    assert len(kernel_in(b"JUPYTER_HPCSEC_KERNEL=" + b"a" * 1000)) == 64
