"""At which other paths a place, or a part of it, is seen; what is not told apart counts as the same."""

import pytest

from jupyter_hpcsec.access.aliases import Aliases
from jupyter_hpcsec.access.mountinfo import Mount, parse

TABLE = parse(
    "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
    "30 22 0:40 / /export rw shared:1 - nfs4 server:/ rw\n"
    "31 22 0:40 / /home rw - nfs4 server:/home rw\n"
    "32 22 0:41 / /scratch\\040local ro,nosuid - xfs /dev/sdb rw\n"
    "33 30 0:42 / /export/home/bob rw - tmpfs none rw\n"
    "34 22 254:1 /srv/data /data rw - ext4 /dev/vda1 rw\n"
    "35 22 0:43 / /mnt rw - ext4 /dev/sdc ro\n"
    "36 22 254:1 /srv/data/a/b /home/alice/b rw - ext4 /dev/vda1 rw\n"
)


def of(path: str, table: tuple[Mount, ...] = TABLE) -> set[str]:
    return set(Aliases(table).of(path))


def table(*lines: str) -> tuple[Mount, ...]:
    """Mounts from ``device root point kind source [options]``, on a root file system."""
    made = ["1 0 1:1 / / rw - ext4 /dev/sda rw"]
    for number, line in enumerate(lines, 2):
        device, root, point, kind, source, options = (*line.split(" "), "rw")[:6]
        made.append(f"{number} 1 {device} {root} {point} rw - {kind} {source} {options}")
    return parse("\n".join(made) + "\n")


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/etc/x", set()),
        ("/home/alice/.ssh", {"/export/home/alice/.ssh"}),
        ("/export/home/alice/.ssh", {"/home/alice/.ssh"}),
        ("/srv/data/x", {"/data/x"}),
        ("/home/bob/x", set()),  # /export/home/bob is covered by another file system
        ("/scratch local/x", set()),
    ],
)
def test_the_other_paths_of_a_place(path: str, others: set[str]) -> None:
    assert of(path) == others


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/srv/data/a", {"/data/a", "/home/alice/b"}),
        ("/srv/data", {"/data", "/home/alice/b"}),
        ("/srv", {"/data", "/home/alice/b"}),
        ("/data", {"/srv/data", "/home/alice/b"}),
        ("/srv/data/a/c", {"/data/a/c"}),
    ],
)
def test_a_part_of_a_place_that_is_mounted_elsewhere_is_found(path: str, others: set[str]) -> None:
    assert of(path) == others


def test_what_is_mounted_below_a_place_is_found_elsewhere_but_not_the_kernels_own() -> None:
    mounts = table(
        "0:7 / /denied/scratch lustre mgs@tcp:/fs", "0:7 /alice /home/alice/s lustre mgs@tcp:/fs",
        "0:3 / /proc proc proc", "0:3 / /denied/proc proc proc",
    )  # fmt: skip
    assert of("/denied", mounts) == {"/home/alice/s"}
    assert Aliases(mounts).of("/denied", lambda point: point != "/denied/scratch") == ()


def test_what_a_later_mount_covers_is_not_seen() -> None:
    assert of("/export/home/alice", (*TABLE, Mount("/home", "0:99", "/", "tmpfs", read_only=True))) == set()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nfs4 server:/home", "nfs4 server:/home"),
        ("nfs server:/home", "nfs4 SERVER:/home"),
        ("nfs4 a:/home rw,vers=4.2,addr=10.0.0.5", "nfs4 b.cluster:/home ro,vers=4.1,addr=10.0.0.5"),
        ("nfs4 [fd00::1]:/home", "nfs4 [fd00::1]:/home"),
        ("lustre 10.0.0.1@tcp:10.0.0.2@tcp:/home", "lustre 10.0.0.2@tcp,10.0.1.2@o2ib:10.0.0.1@tcp:/home"),
        ("ceph 10.0.0.1:6789,10.0.0.2:6789:/home", "ceph 10.0.0.2:6789:/home"),
        ("ceph u@5f0-a.fs=/home", "ceph v@5f0-a.fs=/home"),
        ("gpfs /dev/gpfs0", "gpfs gpfs0"),
        ("beegfs beegfs_nodev rw,cfgFile=/etc/b1", "beegfs beegfs_nodev rw,cfgFile=/etc/b1"),
        ("fuse.glusterfs host:/vol rw,user_id=0", "fuse.glusterfs host:/vol ro,user_id=0"),
        ("virtiofs homes", "virtiofs homes"),
        ("cifs //server/homes", "cifs //server/homes"),
    ],
)
def test_a_shared_file_system_that_is_mounted_twice_is_one(one: str, other: str) -> None:
    mounts = table(f"0:40 / /home {one}", f"0:41 / /again {other}")
    assert of("/home/alice/.ssh", mounts) == {"/again/alice/.ssh"}
    assert of("/again/alice/.ssh", mounts) == {"/home/alice/.ssh"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nfs4 server:/home", "nfs4 other:/home"),
        ("lustre a@tcp:/home", "lustre b@tcp:/home"),
        ("beegfs beegfs_nodev rw,cfgFile=/etc/b1", "beegfs beegfs_nodev rw,cfgFile=/etc/b2"),
        ("fuse.cvmfs cvmfs2", "fuse.cvmfs cvmfs2"),
        ("fuse.sshfs host:/home rw,user_id=1001", "fuse.sshfs host:/home rw,user_id=1002"),
        ("tmpfs none", "tmpfs none"),
        ("ext4 /dev/sda", "ext4 /dev/sdb"),
    ],
)
def test_others_are_not(one: str, other: str) -> None:
    assert of("/home/alice/.ssh", table(f"0:40 / /home {one}", f"0:41 / /again {other}")) == set()


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/home/alice", {"/mnt/all/home/alice", "/data/key"}),
        ("/home/alice/.ssh", {"/mnt/all/home/alice/.ssh", "/data/key"}),
        ("/home/bob", {"/mnt/all/home/bob"}),
        ("/mnt/all/home", {"/home", "/data/key"}),
    ],
)
def test_nfs_tells_parts_by_their_source_and_names_every_root_a_slash(path: str, others: set[str]) -> None:
    mounts = table(
        "0:40 / /home nfs4 server:/home", "0:41 / /mnt/all nfs4 server:/",
        "0:40 / /data/key nfs4 server:/home/alice/.ssh",
    )  # fmt: skip
    assert of(path, mounts) == others


def test_a_place_on_no_mount_has_no_others() -> None:
    assert Aliases(()).of("/x") == ()
