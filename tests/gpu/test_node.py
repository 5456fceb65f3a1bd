"""Which GPUs slurmd's words name, and what is left of a job: no guess, no silence."""

import msgspec
import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.gpu.node import Expected, after, allocated, given, job_of, unseen
from jupyter_hpcsec.gpu.samples import Allocation, Context, Device, Posture, Process, Reading, Scan
from jupyter_hpcsec.gpu.settings import Settings

GIB = 1 << 30


def gpu(index: int, minor: int | None = None, **more: object) -> Device:
    facts = {"uuid": f"GPU-{index}", "index": index, "minor": index if minor is None else minor, "memory_used": 0}
    return Device(**(facts | more))  # type: ignore[arg-type]


def read(*devices: Device, **more: object) -> list[Reading]:
    return [Reading(source="nvidia", devices=devices, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize("job", ["", "17 ", "../17", "1" * 21, "17_4"])
def test_without_slurmd_there_is_no_job(job: str) -> None:
    with pytest.raises(Malformed, match="slurmd"):
        job_of({"SLURM_JOB_ID": job})


@pytest.mark.parametrize("text", ["0,", "a", "0;1", "-1", "0,0", "GPU-", "0-3", ",".join(map(str, range(2000)))])
def test_what_is_no_list_of_gpus(text: str) -> None:
    with pytest.raises(Malformed, match="list"):
        given({"SLURM_JOB_GPUS": text})


def test_what_slurmd_gave() -> None:
    assert given({}) == given({"SLURM_JOB_GPUS": ""}) == ()
    assert given({"SLURM_JOB_GPUS": "0,3", "GPU_DEVICE_ORDINAL": "1"}) == ("0", "3")
    assert given({"GPU_DEVICE_ORDINAL": "1"}) == ("1",)
    assert given({"SLURM_JOB_GPUS": "GPU-1-a,MIG-2"}) == ("GPU-1-a", "MIG-2")


def test_numbers_are_uuids_where_both_orders_agree() -> None:
    assert allocated(("0", "2"), read(gpu(0), gpu(1), gpu(2))) == ("GPU-0", "GPU-2")
    assert allocated(("GPU-1",), read(gpu(0), gpu(1))) == ("GPU-1",)
    assert allocated((), []) == ()


def test_where_the_orders_differ_nothing_is_guessed() -> None:
    crossed = read(gpu(0, 1), gpu(1, 0), gpu(2))
    with pytest.raises(Refused, match="--numbers"):
        allocated(("0",), crossed)
    assert allocated(("0",), crossed, "pci") == ("GPU-0",)
    assert allocated(("0",), crossed, "minor") == ("GPU-1",)
    assert allocated(("2",), crossed) == ("GPU-2",)


@pytest.mark.parametrize(
    ("words", "readings"),
    [
        (("3",), read(gpu(0))),
        (("GPU-9",), read(gpu(0))),
        (("0",), []),
        (("0",), [Reading(source="amd", devices=(gpu(0),))]),
        (("0",), read(gpu(0, uuid="", state="lost"))),
        (("0",), read(gpu(0, split=True), gpu(0, uuid="MIG-1", parent="GPU-0"))),
    ],
)
def test_what_can_not_be_known_is_not_written(words: tuple[str, ...], readings: list[Reading]) -> None:
    with pytest.raises(HpcsecError):
        allocated(words, readings)


def test_an_instance_is_known_by_its_uuid() -> None:
    split = read(gpu(0, split=True), gpu(0, uuid="MIG-1", parent="GPU-0"))
    assert allocated(("MIG-1",), split) == ("MIG-1",)


def test_a_driver_that_shows_nothing() -> None:
    assert not unseen(read(gpu(0)))
    assert "no GPU" in unseen([])
    assert "lost: gone" in unseen([Reading(source="nvidia", state="lost", detail="gone")])


MINE = Allocation(job="17", devices=("GPU-0",))
AS_SET, UNTOLD = Expected(), Posture()
CGROUP = "/system.slice/slurmstepd.scope/job_17"


def look(
    *devices: Device, processes: tuple[Process, ...] = (), shared: tuple[str, ...] = (),
    expected: Expected = AS_SET, posture: Posture = UNTOLD, allocation: Allocation = MINE,
) -> list[str]:  # fmt: skip
    scan = Scan(time=1.0, mono=1.0, readings=tuple(read(*devices, posture=posture)), processes=processes)
    return [left.what for left in after(scan, allocation, frozenset(shared), Settings(), expected)]


def held(by: int, memory: int = GIB) -> Device:
    return gpu(0, memory_used=memory, contexts=(Context(pid=by, memory=memory),))


def test_nothing_is_left() -> None:
    assert look(gpu(0), gpu(1, memory_used=40 * GIB, contexts=(Context(pid=9, memory=40 * GIB),))) == []


def test_a_process_that_is_left_whoever_s_it_is() -> None:
    assert look(held(9), processes=(Process(pid=9, start=1, uid=2000),)) == ["processes"]
    assert look(held(9)) == ["processes"]


def test_a_monitor_of_root_s_is_nobody_s_and_one_of_the_job_is() -> None:
    assert look(held(9), processes=(Process(pid=9, start=1, uid=0),)) == []
    assert look(held(9), processes=(Process(pid=9, start=1, uid=0, cgroup=CGROUP),)) == ["processes"]


def test_a_device_that_is_shared_is_judged_by_the_cgroup_alone() -> None:
    other = Process(pid=9, start=1, uid=2000, cgroup="/system.slice/slurmstepd.scope/job_117")
    assert look(held(9), processes=(other,), shared=("GPU-0",)) == []
    assert look(gpu(0, memory_used=9 * GIB), shared=("GPU-0",), allocation=MINE) == ["blind"]
    mine = msgspec.structs.replace(other, cgroup=CGROUP)
    assert look(held(9), processes=(mine,), shared=("GPU-0",)) == ["processes"]


def test_a_process_on_a_device_that_was_never_the_job_s() -> None:
    mine = Process(pid=9, start=1, uid=2000, cgroup=CGROUP)
    assert look(held(9), processes=(mine,), allocation=Allocation(job="17")) == ["processes"]


def test_memory_that_nobody_holds() -> None:
    assert look(gpu(0, memory_used=GIB)) == ["memory"]
    assert look(gpu(0, memory_used=GIB // 2)) == []


def test_what_can_not_be_seen_is_said() -> None:
    assert look(gpu(1)) == ["device"]
    assert look(gpu(0, contexts_state="refused")) == ["blind"]
    assert look(gpu(0, state="lost", memory_used=None)) == ["blind", "device"]


def test_posture() -> None:
    assert look(gpu(0, ecc_uncorrected=1)) == ["device"]
    assert look(gpu(0), posture=Posture(profiling_open=True)) == ["posture"]
    off = Posture(persistence=False)
    assert look(gpu(0, compute_mode=3), posture=off) == []
    wanted = Expected(persistence=True, compute_mode=0)
    assert look(gpu(0, compute_mode=3), posture=off, expected=wanted) == ["posture", "posture"]
    assert look(gpu(0), expected=wanted) == ["posture", "posture"], "what is not told is not as expected"
    assert look(gpu(0, compute_mode=0), posture=Posture(persistence=True), expected=wanted) == []
