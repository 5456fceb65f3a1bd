"""What is taken from outside: settings by the launch, and a map that root alone could have written."""

import os
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.gpu.launch import GpuLaunch, map_path, parse, read_map
from jupyter_hpcsec.gpu.samples import Allocation

ME = frozenset([os.getuid()])


def test_empty_is_the_defaults() -> None:
    assert parse("") == GpuLaunch()
    assert parse("{}").limits().end == 120


def test_a_group_s_limits() -> None:
    given = parse('{"groups": ["a"], "settings": {"groups": {"a": {"end": 240}}}}')
    assert given.limits().end == 240


@pytest.mark.parametrize(
    "text",
    ["x", "[]", '{"unknown": 1}', '{"settings": {"idle": {"end": 10}}}', '{"project": "' + "x" * 20000 + '"}',
     '{"settings": {"actions": {"R5": "end session"}}}', '{"settings": {"actions": {"R9": "notify"}}}',
     '{"settings": {"idle": {"extend_by": -1}}}'],
)  # fmt: skip
def test_what_can_not_be_used_is_named(text: str) -> None:
    with pytest.raises(Malformed, match="GPU"):
        parse(text)


@pytest.mark.parametrize("job", ["", ".", "..", "../x", "a/b", "17\n", "x" * 65])
def test_no_job_id(job: str) -> None:
    with pytest.raises(Malformed):
        map_path(job)
    assert read_map(job) is None


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    (tmp_path / "17.json").write_text('{"job": "17", "devices": ["GPU-0"]}')
    (tmp_path / "17.json").chmod(0o644)
    return tmp_path


def test_root_s_map(maps: Path) -> None:
    assert read_map("17", maps, ME) == Allocation(job="17", devices=("GPU-0",))
    assert read_map("18", maps, ME) is None


def test_a_map_of_somebody_else_or_that_others_may_write_does_not_count(maps: Path) -> None:
    assert read_map("17", maps, frozenset([os.getuid() + 1])) is None
    (maps / "17.json").chmod(0o666)
    assert read_map("17", maps, ME) is None
    (maps / "17.json").chmod(0o644)
    maps.chmod(0o777)
    assert read_map("17", maps, ME) is None


def test_a_link_another_job_s_or_a_broken_map_does_not_count(maps: Path) -> None:
    (maps / "19.json").symlink_to(maps / "17.json")
    (maps / "18.json").write_text((maps / "17.json").read_text())
    (maps / "20.json").write_text('{"job": 20')
    assert [read_map(job, maps, ME) for job in ("18", "19", "20")] == [None] * 3
