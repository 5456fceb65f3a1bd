"""Whose a process is: by tree, environment, memory and cgroup; forks, restarts, pid reuse, namespaces, MPS.

And which cell's its context is: by the cell's id, or by time.
"""

from collections.abc import Iterable

import msgspec
import pytest

from jupyter_hpcsec.gpu.samples import Context, Device, Holder, KernelFact, Kind, Process, Ran, Reading, Scan
from jupyter_hpcsec.gpu.sessions import Memory, join

SERVER, UID = 50, 1000
K1 = KernelFact(id="k1", pid=90, start=900, busy=False)
K2 = KernelFact(id="k2", pid=91, start=910, busy=False)
TOP = Process(pid=SERVER, start=500, parent=1)
JOB = "/slurm/uid_1000/job_17"


def process(pid: int, parent: int, start: int = 1000, **changes: object) -> Process:
    return Process(**{"pid": pid, "parent": parent, "start": start, "uid": UID, **changes})  # type: ignore[arg-type]


KERNEL = process(90, SERVER, 900)


def scan(processes: Iterable[Process], pids: Iterable[int], *, cgroup: str = "", kind: Kind = "compute") -> Scan:
    device = Device(uuid="GPU-0", index=0, contexts=tuple(Context(pid=pid, kind=kind) for pid in pids))
    return Scan(
        time=1.0, mono=1.0, readings=(Reading(source="nvidia", devices=(device,)),), processes=tuple(processes),
        uid=UID, cgroup=cgroup, server=SERVER,
    )  # fmt: skip


def one(
    processes: Iterable[Process],
    pid: int = 100,
    kernels: Iterable[KernelFact] = (K1, K2),
    memory: Memory | None = None,
    **more: object,
) -> Holder:
    sample, _ = join(scan(processes, [pid], **more), kernels, memory or Memory())  # type: ignore[arg-type]
    [holder] = sample.holders
    return holder


def test_the_kernel_itself_and_what_it_forks() -> None:
    assert one([TOP, KERNEL], 90).kernel == "k1"
    worker, loader = process(100, 90), process(101, 100)
    for pid in (100, 101):
        holder = one([TOP, KERNEL, worker, loader], pid)
        assert (holder.kernel, holder.by, holder.whose, holder.leftover) == ("k1", "tree", "mine", False)


def test_a_double_fork_keeps_the_environment() -> None:
    holder = one([TOP, process(100, SERVER, kernel="k1")])
    assert (holder.kernel, holder.by, holder.leftover) == ("k1", "environment", False)


def test_a_double_fork_with_an_empty_environment_is_remembered() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90)], [100]), [K1], Memory())
    holder = one([TOP, process(100, SERVER)], memory=memory)
    assert (holder.kernel, holder.by, holder.leftover) == ("k1", "before", False)


def test_a_driver_that_is_away_makes_nobody_forget_whose_a_process_was() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90)], [100]), [K1], Memory())
    away = Scan(time=2.0, mono=2.0, readings=(Reading(source="nvidia", state="lost"),))
    _, memory = join(away, [K1], memory)
    holder = one([TOP, process(100, SERVER)], memory=memory)
    assert (holder.kernel, holder.by) == ("k1", "before")


def test_one_that_was_never_seen_below_is_the_session_s_by_the_sub_reaper() -> None:
    holder = one([TOP, process(100, SERVER)])
    assert (holder.kernel, holder.by, holder.whose) == ("", "tree", "mine")


def test_exec_keeps_pid_and_start_and_so_its_kernel() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90, name="python")], [100]), [K1], Memory())
    holder = one([TOP, process(100, SERVER, name="kworker/0:1")], memory=memory)
    assert (holder.kernel, holder.name) == ("k1", "kworker/0:1")


def test_a_pid_that_is_used_again_is_another_process() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90)], [100]), [K1], Memory())
    assert one([TOP, process(100, SERVER, 2000)], memory=memory).kernel == ""
    # the kernel's own pid, too
    assert one([TOP, process(90, SERVER, 5000)], 90).kernel == ""


def test_a_restarted_kernel_leaves_its_children_behind() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90, kernel="k1")], [100]), [K1], Memory())
    restarted = KernelFact(id="k1", pid=190, start=1900, busy=False)
    left = one([TOP, process(190, SERVER, 1900), process(100, SERVER, kernel="k1")], kernels=[restarted], memory=memory)
    assert (left.kernel, left.leftover) == ("k1", True)
    # also where nobody saw it before: it is older than the kernel
    assert one([TOP, process(100, SERVER, 1000, kernel="k1")], kernels=[restarted]).leftover
    assert not one([TOP, process(100, SERVER, 2000, kernel="k1")], kernels=[restarted]).leftover


def test_a_kernel_that_is_gone_leaves_its_children_behind() -> None:
    _, memory = join(scan([TOP, KERNEL, process(100, 90)], [100]), [K1], Memory())
    assert one([TOP, process(100, SERVER)], kernels=[], memory=memory).leftover
    assert one([TOP, process(100, SERVER, kernel="k1")], kernels=[], memory=Memory(kernels=frozenset(["k1"]))).leftover


def test_a_made_up_kernel_id_is_no_kernel() -> None:
    assert one([TOP, process(100, SERVER, kernel="x")]).kernel == ""


def test_the_tree_outweighs_the_environment() -> None:
    assert one([TOP, KERNEL, process(100, 90, kernel="k2")]).kernel == "k1"


def test_the_cgroup_is_the_authority() -> None:
    other = process(100, 90, kernel="k1", cgroup="/slurm/uid_1000/job_18")
    holder = one([TOP, KERNEL, other], cgroup=JOB)
    assert (holder.whose, holder.by, holder.kernel) == ("foreign", "cgroup", "")
    mine = one([process(100, 1, cgroup=JOB)], cgroup=JOB)
    assert (mine.whose, mine.by) == ("mine", "cgroup")


def test_other_accounts() -> None:
    assert one([process(100, 1, uid=1001, kernel="k1")]).whose == "foreign"
    assert one([process(100, 1, uid=0)]).whose == "system"
    assert one([process(100, 1, uid=-1)]).whose == "unseen"
    assert one([process(100, 1, uid=0, cgroup="/slurm/uid_0/job_1")], cgroup=JOB).whose == "foreign"


def test_a_pid_outside_of_this_namespace_is_not_visible() -> None:
    assert one([]) == Holder(pid=100)
    assert Holder(pid=100).whose == "unseen"


def test_mps_clients_are_processes_like_others() -> None:
    assert one([TOP, KERNEL, process(100, 90)], kind="mps").kernel == "k1"


def test_a_loop_of_parents_ends() -> None:
    assert one([process(100, 101), process(101, 100)]).kernel == ""


def test_suspects_are_holders_without_a_context() -> None:
    sample, _ = join(scan([TOP, process(100, SERVER, signs=("pool",))], []), [K1], Memory())
    assert [(holder.pid, holder.signs) for holder in sample.holders] == [(100, ("pool",))]


class Told:
    """Scans at 10 s, 20 s, … of a kernel that says what it executes."""

    def __init__(self) -> None:
        self.memory, self.at = Memory(), 0.0

    def cell(self, *ran: tuple[str, float, float | None], holds: bool = True, state: str = "ok") -> tuple[str, str]:
        self.at += 10
        runs = tuple(Ran(id=name, begun=begun, ended=ended) for name, begun, ended in ran)
        kernel = msgspec.structs.replace(K1, ran=runs, cell=runs[-1].id if runs else "")
        found = msgspec.structs.replace(scan([TOP, KERNEL], [90] if holds and state == "ok" else []), mono=self.at)
        readings = tuple(msgspec.structs.replace(each, state=state) for each in found.readings)
        sample, self.memory = join(msgspec.structs.replace(found, readings=readings), [kernel], self.memory)
        return (sample.holders[0].cell, sample.holders[0].cell_by) if sample.holders else ("", "")


A, B = ("a", 12.0, 14.0), ("b", 15.0, None)


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ([A], ("a", "id")),
        ([B], ("b", "id")),
        ([A, B], ("b", "time")),  # either
        ([("a", 2.0, 4.0)], ("a", "time")),  # over before the last look
        ([("a", 2.0, 10.5)], ("a", "id")),
        ([], ("", "")),
    ],
    ids=["one that ended", "one that runs", "two", "an earlier one", "the borderline", "none"],
)
def test_a_context_is_the_one_cell_s_that_ran_meanwhile(
    ran: list[tuple[str, float, float | None]], expected: tuple[str, str]
) -> None:
    told = Told()
    told.cell(holds=False)
    assert told.cell(*ran) == expected
    assert told.cell(*ran, ("later", 25.0, 26.0)) == expected, "it stays that cell's"


def test_what_the_first_look_shows_and_what_appeared_unseen_is_known_by_time() -> None:
    assert Told().cell(A) == ("a", "time")
    told = Told()
    told.cell(holds=False)
    told.cell(("a", 12.0, 14.0), state="hung")
    assert told.cell(("a", 12.0, 14.0), ("b", 25.0, None)) == ("b", "time"), "either: the driver was away for the first"


def test_a_driver_that_is_away_makes_nobody_forget_whose_cell_it_was() -> None:
    told = Told()
    told.cell(holds=False)
    assert told.cell(A) == ("a", "id")
    told.cell(A, state="lost")
    assert told.cell(("c", 35.0, None)) == ("a", "id")


def test_a_kernel_that_is_not_heard_has_no_cell() -> None:
    assert (one([TOP, KERNEL], 90).cell, one([TOP, KERNEL], 90).cell_by) == ("", "")
