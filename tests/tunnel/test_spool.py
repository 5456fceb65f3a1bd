"""The spool: bounded in bytes and count, in order, without a name, and nothing is overwritten that still waits."""

import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.tunnel.spool import Spool, open_spool


def memory(size: int, most: int = 100) -> Spool:
    return Spool(os.memfd_create("test"), size, most)


def test_what_has_no_room_is_not_kept_and_costs_nothing_else() -> None:
    spool = memory(10)
    assert spool.append(1, b"x" * 6)
    assert not spool.append(2, b"y" * 5)
    assert spool.first(10, 100) == [b"x" * 6]
    spool.drop(1)
    assert spool.append(2, b"y" * 10)
    spool.close()


def test_the_count_is_bounded_too() -> None:
    spool = memory(1000, most=2)
    assert [spool.append(number, b"x") for number in (1, 2, 3)] == [True, True, False]
    assert len(spool) == 2
    spool.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=80))
def test_it_is_a_queue_whatever_is_added_and_dropped(steps: list[tuple[bool, int]]) -> None:
    spool, model, number = memory(100, most=8), deque[tuple[int, bytes]](), 0
    for adds, amount in steps:
        if adds:
            record = bytes([number % 256]) * amount
            if spool.append(number + 1, record):
                number += 1
                model.append((number, record))
            else:
                assert len(model) == 8 or sum(len(kept) for _, kept in model) + amount > 100
        else:
            spool.drop(number - amount)
            while model and model[0][0] <= number - amount:
                model.popleft()
        assert spool.first(100, 10**6) == [record for _, record in model]
        assert len(spool) == len(model)
    spool.close()


def test_a_batch_is_bounded_and_never_empty() -> None:
    spool = memory(100)
    for number in range(1, 6):
        spool.append(number, bytes([number]) * 10)
    assert spool.first(2, 1000) == [b"\1" * 10, b"\2" * 10]
    assert spool.first(10, 25) == [b"\1" * 10, b"\2" * 10]
    assert spool.first(10, 5) == [b"\1" * 10]
    spool.close()


def test_it_has_no_name_and_its_room_is_taken_at_once(tmp_path: Path) -> None:
    spool = open_spool([tmp_path / "missing", tmp_path], 1 << 16)
    assert list(tmp_path.iterdir()) == []
    facts = os.fstat(spool._file)
    assert facts.st_size == 1 << 16
    assert facts.st_nlink == 0
    assert facts.st_mode & 0o777 == 0o600
    spool.close()


def test_a_file_system_without_nameless_files_gets_one_whose_name_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: object, flags: int, *mode: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    spool = open_spool([tmp_path], 1 << 12)
    assert list(tmp_path.iterdir()) == []
    assert spool.append(1, b"x")
    spool.close()


def test_without_a_place_on_disk_it_is_in_memory_and_as_bounded(tmp_path: Path) -> None:
    spool = open_spool([tmp_path / "missing"], 8)
    assert spool.append(1, b"x" * 8)
    assert not spool.append(2, b"x")
    spool.close()
