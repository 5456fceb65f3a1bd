"""The record's hop: what keeps it from being written, and who would notice a change of it."""

from typing import Any

import pytest

from jupyter_hpcsec.ops.doctor import record
from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.world import FileFact

GOOD: dict[str, Any] = {
    "durable": 1000,
    "published": 990,
    "failing": "",
    "lost": 0,
    "directory": "/var/lib/hpcsec/audit",
    "second_place": "/elsewhere/checkpoints",
    "free_bytes": 50 << 30,
    "is_apart": True,
    "retention_days": 365,
    "values_days": 30,
    "witness": {"size": 900, "time": 1_800_000_000 - 300},
}


@pytest.fixture
def whole(world: FakeWorld) -> FakeWorld:
    world.files["/var/lib/hpcsec/audit"] = FileFact(0o700, 900, "directory")
    world.files["/var/lib/hpcsec/audit/signer.key"] = FileFact(0o600, 900, "file")
    world.files["/elsewhere/checkpoints"] = FileFact(0o600, 900, "file")
    return world


def worst(world: FakeWorld, **changes: Any) -> tuple[Status, str]:
    findings = record.examine(world, GOOD | changes, 900)
    rank = [Status.BAD, Status.WARN, Status.UNKNOWN, Status.OK]
    found = min(findings, key=lambda each: rank.index(each.status))
    return found.status, found.what


def test_a_record_that_is_well(whole: FakeWorld) -> None:
    assert worst(whole)[0] is Status.OK
    shown = " ".join(each.what for each in record.examine(whole, GOOD, 900))
    for said in ("1000 events are durable", "50.0 GiB free", "5 minutes ago", "kept 365 days, sealed values 30 days"):
        assert said in shown
    assert worst(whole, witness=None, retention_days=0, values_days=0)[0] is Status.OK


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"failing": "No space left on device"}, Status.BAD, "nothing new begins"),
        ({"lost": 3}, Status.WARN, "3 events could not be recorded"),
        ({"free_bytes": 100 << 20}, Status.BAD, "0.1 GiB free"),
        ({"free_bytes": 1 << 30}, Status.WARN, "1.0 GiB free"),
        ({"free_bytes": None}, Status.UNKNOWN, "not known"),
        ({"is_apart": False}, Status.WARN, "same file system"),
        ({"is_apart": None}, Status.BAD, "can't be looked at"),
        ({"witness": {"error": "gone"}}, Status.WARN, "gone"),
        ({"witness": {"size": 900, "time": 1_700_000_000}}, Status.WARN, "minutes ago"),
        ({"witness": {"size": 1001, "time": 1_800_000_000}}, Status.BAD, "the witness cosigned 1001 events, there are"),
    ],
)
def test_what_is_not_well(whole: FakeWorld, changes: dict[str, Any], status: Status, said: str) -> None:
    found, text = worst(whole, **changes)
    assert found is status
    assert said in text


def test_a_key_that_others_may_read(whole: FakeWorld) -> None:
    whole.files["/var/lib/hpcsec/audit/signer.key"] = FileFact(0o644, 900, "file")
    assert worst(whole)[0] is Status.BAD
    whole.files["/var/lib/hpcsec/audit/signer.key"] = FileFact(0o600, 1000, "file")
    assert worst(whole)[0] is Status.BAD


@pytest.mark.parametrize("audit", [None, {}, []])
def test_a_gateway_that_does_not_say(world: FakeWorld, audit: object) -> None:
    assert [each.status for each in record.examine(world, audit, 900)] == [Status.UNKNOWN]
