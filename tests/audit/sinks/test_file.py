"""The file sink: whole lines, durable, and at peace with whoever else rotates the file."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit.sinks.file import FileTarget
from jupyter_hpcsec.audit.sinks.items import Item
from jupyter_hpcsec.config_forward import FileSink
from jupyter_hpcsec.errors import Unavailable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def item(number: int, text: str = "é") -> Item:
    event = {
        "id": f"id-{number}",
        "kind": "lane.opened",
        "producer": "gateway",
        "reason": text,
        "seq": number,
        "time": "2026-03-01T12:00:00.000000Z",
        "trust": "gateway",
        "v": 1,
    }
    return Item(number, json.dumps(event, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode())


def target(path: Path, now: float = NOW, **settings: Any) -> FileTarget:
    return FileTarget(FileSink(path=str(path), **settings), lambda: now)


async def test_lines_are_the_leaves_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writing = target(path)
    assert await writing.send([item(0), item(1)]) == []
    await writing.confirm()
    await writing.send([item(2)])
    assert path.read_bytes() == b"".join(item(n).data + b"\n" for n in range(3))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_ocsf_lines_are_json(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await target(path, format="ocsf").send([item(0, "two\u2028lines")])
    (line,) = path.read_text(encoding="ascii").splitlines()
    assert json.loads(line)["metadata"]["uid"] == "id-0"


async def test_logrotate_may_rename_or_truncate_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writing = target(path)
    await writing.send([item(0)])
    path.rename(tmp_path / "events.jsonl.1")
    await writing.send([item(1)])
    assert path.read_bytes() == item(1).data + b"\n"
    os.truncate(path, 0)
    await writing.send([item(2)])
    assert path.read_bytes() == item(2).data + b"\n"


async def test_a_line_that_a_crash_cut_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(item(0).data + b"\n" + item(1).data[:9])
    await target(path).send([item(1)])
    assert path.read_bytes().splitlines() == [item(0).data, item(1).data[:9], item(1).data]


async def test_a_full_file_is_moved_away_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(5):
        await target(path, NOW + number, rotate_bytes=10, keep=2).send([item(number)])
    assert path.read_bytes() == item(4).data + b"\n"
    rotated = sorted(each for each in tmp_path.iterdir() if each != path)
    assert [each.read_bytes() for each in rotated] == [item(n).data + b"\n" for n in (2, 3)]
    assert rotated[0].name == "events.jsonl.20260301T120003.000000"


async def test_a_file_of_yesterday_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await target(path).send([item(0)])
    os.utime(path, (NOW - 86400, NOW - 86400))
    await target(path, rotate_daily=True).send([item(1)])
    assert path.read_bytes() == item(1).data + b"\n"
    os.utime(path, (NOW, NOW))
    await target(path, rotate_daily=True).send([item(2)])
    assert path.read_bytes() == item(1).data + b"\n" + item(2).data + b"\n"


async def test_a_full_disk_is_said_and_leaves_no_half_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No space left"):
        await target(Path("/dev/full")).send([item(0)])
    with pytest.raises(Unavailable, match="No such file"):
        await target(tmp_path / "none" / "events.jsonl").send([item(0)])


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        await target(tmp_path / "link").send([item(0)])
