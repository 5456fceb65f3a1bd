"""MUNGE: the old version, the open key and the credential that does not go round are red; then what is right."""

import pytest

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.munge import KEY, examine, judge_key, judge_round_trip, judge_version
from jupyter_hpcsec.ops.doctor.world import FileFact, Ran

GOOD = Ran(0, "STATUS:           Success (0)\n", "")


@pytest.mark.parametrize("text", ["munge-0.5.17 (2025-01-01)", "munge-0.5.15 (2022-06-22)", "munge-0.4.99 (x)"])
def test_a_version_with_the_hole_is_red(text: str) -> None:
    finding = judge_version(text, "")
    assert finding.status is Status.BAD
    assert "CVE-2026-25506" in finding.what


def test_an_unreadable_version_is_unknown() -> None:
    assert judge_version("no idea", "CVE-2026-25506").status is Status.UNKNOWN


def test_a_mended_version_is_green() -> None:
    assert judge_version("munge-0.5.15 (2022-06-22)", "* Fix overflow (CVE-2026-25506)").status is Status.OK
    assert judge_version("munge-0.5.18 (2026-02-10)", "").status is Status.OK
    assert judge_version("munge-0.6.0 (2027-01-01)", "").status is Status.OK


def test_the_key(world: FakeWorld) -> None:
    assert judge_key(None, world).status is Status.BAD
    assert "0440" in judge_key(FileFact(0o440, 104, "file"), world).what
    assert judge_key(FileFact(0o440, 104, "file"), world).status is Status.BAD
    assert judge_key(FileFact(0o400, 1000, "file"), world).status is Status.BAD
    assert judge_key(FileFact(0o400, 104, "file"), world).status is Status.OK


def test_round_trip() -> None:
    failed = Ran(6, "", 'munge: Error: Failed to access "/run/munge/munge.socket.2"\n')
    assert judge_round_trip(None, None).status is Status.BAD
    assert "munge.socket.2" in judge_round_trip(failed, None).what
    assert judge_round_trip(Ran(0, "MUNGE:x:", ""), Ran(15, "STATUS: Expired credential (15)", "")).status is Status.BAD
    assert judge_round_trip(Ran(0, "MUNGE:x:", ""), None).status is Status.WARN
    assert judge_round_trip(Ran(0, "MUNGE:x:", ""), GOOD).status is Status.OK


def test_absent_is_red_only_where_it_is_needed(world: FakeWorld) -> None:
    assert [finding.status for finding in examine(world, needed=True)] == [Status.BAD]
    assert [finding.status for finding in examine(world, needed=False)] == [Status.OK]


def test_the_credential_that_was_made_is_the_one_that_is_read(world: FakeWorld) -> None:
    world.commands = {
        "munge --version": Ran(0, "munge-0.5.18 (2026-02-10)", ""),
        "munge -n": Ran(0, "MUNGE:abc:", ""),
        "unmunge": GOOD,
    }
    world.files[str(KEY)] = PermissionError(13, "Permission denied")
    statuses = [finding.status for finding in examine(world, needed=True)]
    assert statuses == [Status.OK, Status.UNKNOWN, Status.OK]
    assert world.stdin[-1] == "MUNGE:abc:"
