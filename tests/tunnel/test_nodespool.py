"""Root's findings wait on disk: numbered once by whichever process tells them, bounded, private, not lost unseen."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeJob
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.nodespool import NodeSpool

EVENT = GpuNodeJob(job="17", state="begun")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "node"


def numbers(spool: NodeSpool) -> list[int]:
    return [item.seq for item in spool.first(64, 1 << 20)]


def test_what_others_could_reach_is_refused(place: Path) -> None:
    place.mkdir(mode=0o755)
    with pytest.raises(Refused):
        NodeSpool(place)
    place.chmod(0o700)
    NodeSpool(place).close()
    (place / "events.sqlite").chmod(0o644)
    with pytest.raises(Refused):
        NodeSpool(place)


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    place.mkdir(mode=0o700)
    (tmp_path / "elsewhere").touch(mode=0o600)
    (place / "events.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=r"can't be opened"):
        NodeSpool(place)


def test_numbers_go_on_after_a_restart_and_are_never_given_twice(place: Path) -> None:
    spool = NodeSpool(place)
    assert all(spool.put(EVENT) for _ in range(3))
    boot = spool.boot
    spool.drop(3)
    spool.close()
    again = NodeSpool(place)
    assert again.put(EVENT)
    assert (again.boot, numbers(again), again.counts()) == (boot, [4], (4, 1))


def test_two_processes_number_as_one(place: Path) -> None:
    spool = NodeSpool(place)
    program = (
        "import sys; from pathlib import Path; from jupyter_hpcsec.tunnel.nodespool import NodeSpool;"
        "from jupyter_hpcsec.audit.kinds.gpunode import GpuNodeJob;"
        "s = NodeSpool(Path(sys.argv[1])); [s.put(GpuNodeJob(job='18')) for _ in range(20)]"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(place)])
    for _ in range(20):
        assert spool.put(EVENT)
    assert other.wait(timeout=120) == 0
    assert numbers(spool) == list(range(1, 41))
    jobs = [json.loads(bytes(item.event))["job"] for item in spool.first(64, 1 << 20)]
    assert sorted(jobs) == ["17"] * 20 + ["18"] * 20


def test_what_finds_no_room_is_counted_and_told_first_when_there_is_some(place: Path) -> None:
    spool = NodeSpool(place, most=2)
    assert [spool.put(EVENT) for _ in range(5)] == [True, True, False, False, False]
    spool.drop(2)
    assert spool.put(EVENT)
    told = [json.loads(bytes(item.event)) for item in spool.first(64, 1 << 20)]
    assert (told[0]["kind"], told[0]["lost"], told[0]["kinds"]) == ("gpu.node-lost", 3, "gpu.node-job 3")
    assert told[1]["kind"] == "gpu.node-job"


def test_a_batch_is_bounded_and_has_one_in_any_case(place: Path) -> None:
    spool = NodeSpool(place)
    for _ in range(3):
        spool.put(msgspec.structs.replace(EVENT, devices="x" * 4000))
    assert len(spool.first(64, 1)) == 1
    assert len(spool.first(64, 10_000)) == 2
    assert len(spool.first(2, 1 << 20)) == 2


def test_one_whose_beginning_is_damaged_is_refused(place: Path) -> None:
    spool = NodeSpool(place)
    spool.set_fact("boot", b"no number")
    spool.close()
    with pytest.raises(Refused, match="damaged"):
        NodeSpool(place)
