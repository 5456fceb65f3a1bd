import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench.cost import cpu_seconds, family_of, memory_bytes


def make_process(proc: Path, pid: int, parent: int, *, state: str = "S", nanoseconds: int | None = None) -> None:
    directory = proc / str(pid)
    (directory / "task" / str(pid)).mkdir(parents=True)
    fields = [state, str(parent), *["0"] * 9, "150", "50", *["0"] * 30]
    (directory / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}")
    if nanoseconds is not None:
        (directory / "task" / str(pid) / "schedstat").write_text(f"{nanoseconds} 5 6\n")


def test_a_process_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    assert cpu_seconds([4711], tmp_path) == 0


def test_strangers_and_the_dead_do_not_count(tmp_path: Path) -> None:
    make_process(tmp_path, 10, 1)
    make_process(tmp_path, 11, 10)
    make_process(tmp_path, 12, 11)
    make_process(tmp_path, 13, 10, state="Z")
    make_process(tmp_path, 20, 1)
    assert family_of([10], tmp_path) == {10, 11, 12}


def test_nanoseconds_are_preferred_to_ticks_and_descendants_are_added(tmp_path: Path) -> None:
    make_process(tmp_path, 10, 1, nanoseconds=1_500_000_000)
    make_process(tmp_path, 11, 10)
    assert cpu_seconds([10], tmp_path) == pytest.approx(1.5 + 200 / os.sysconf("SC_CLK_TCK"))


def test_real_work_is_seen() -> None:
    before = cpu_seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    sum(number * number for number in range(300_000))
    assert cpu_seconds([os.getpid()]) > before


def test_memory_of_a_process_that_is_gone_is_not_zero_but_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="4711"):
        memory_bytes(4711, tmp_path)


def test_a_kernel_without_pss_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text("x\nRss: 10 kB\n")
    with pytest.raises(Unavailable, match="Pss"):
        memory_bytes(7, tmp_path)


def test_memory_is_the_proportional_set_size(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text("x\nRss: 10 kB\nPss: 6 kB\nPss_Anon: 2 kB\n")
    assert memory_bytes(7, tmp_path) == 6144
