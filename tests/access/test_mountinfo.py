"""The mount table: what lies where, read as values."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.mountinfo import Mount, holder, parse, read
from jupyter_hpcsec.errors import Malformed

TABLE = parse(
    "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
    "30 22 0:40 / /export rw shared:1 - nfs4 server:/ rw\n"
    "31 22 0:40 /home /home rw - nfs4 server:/ rw\n"
    "32 22 0:41 / /scratch\\040local ro,nosuid - xfs /dev/sdb rw\n"
    "33 30 0:42 / /export/home/bob rw - tmpfs none rw\n"
    "34 22 254:1 /srv/data /data rw - ext4 /dev/vda1 rw\n"
    "35 22 0:43 / /mnt rw - ext4 /dev/sdc ro\n"
)


def test_what_is_read() -> None:
    assert TABLE[3] == Mount("/scratch local", "0:41", "/", "xfs", read_only=True)
    assert TABLE[6].read_only, "of the file system, not of the mount"
    assert not TABLE[0].read_only
    assert (TABLE[1].source, TABLE[1].options) == ("server:/", ("rw",))
    assert [mount.number for mount in TABLE[:3]] == [22, 30, 31]


def test_a_name_that_holds_another_kind_of_line_end_is_one_name() -> None:
    (mount,) = parse("40 22 0:44 / /home/a\x0bb\u2028c rw - fuse.x none rw\n")
    assert mount.point == "/home/a\x0bb\u2028c"


@pytest.mark.parametrize(
    ("path", "point"),
    [("/homeless", "/"), ("/home/alice", "/home"), ("/export/home/bob/x", "/export/home/bob"), ("/", "/")],
)
def test_what_holds_a_path(path: str, point: str) -> None:
    found = holder(path, TABLE)
    assert found is not None and found.point == point


def test_of_two_mounts_at_one_point_the_later_is_seen() -> None:
    again = (*TABLE, Mount("/home", "0:99", "/", "tmpfs", read_only=True))
    found = holder("/home/alice", again)
    assert found is not None and found.device == "0:99"


def test_this_computers_own_table_is_read() -> None:
    table = parse(read())
    found = holder("/proc/self", table)
    assert found is not None and found.kind == "proc"


@pytest.mark.parametrize(
    "line", ["23 1 0:22 / /sys rw sysfs sysfs rw", "x 1 0:22 / /sys rw - sysfs sysfs rw", "\u0663"]
)
def test_another_form_is_refused(line: str) -> None:
    with pytest.raises(Malformed, match=r"proc\(5\)"):
        parse(f"{line}\n")


@given(st.text())
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert all(isinstance(mount, Mount) for mount in parse(text))
