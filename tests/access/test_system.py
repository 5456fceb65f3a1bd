"""What is found on a node: what software needs is there, and no variable of the environment grants a place."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access import system
from jupyter_hpcsec.access.mountinfo import Mount
from jupyter_hpcsec.access.places import State
from jupyter_hpcsec.access.system import own_temporary
from jupyter_hpcsec.access.values import Code, Enforcement, Entry, Make, Network, Resolved, Right, Subject
from jupyter_hpcsec.errors import Unavailable

LOCAL = (Mount("/", "1:1", "/", "ext4", read_only=False),)


def rules(*wishes: tuple[str, Right]) -> Resolved:
    return Resolved(
        subject=Subject(user="alice", uid=1001, gid=1001, home="/home/alice"), policy="0" * 64,
        enforcement=Enforcement.REQUIRED, minimum_abi=4, network=Network(),
        entries=tuple(Entry(path=path, right=right, rule=1, line=1, who="*") for path, right in wishes),
    )  # fmt: skip


def test_what_software_needs_is_found(tmp_path: Path) -> None:
    found = system.find(rules(), {}, runtime=tmp_path, namespaces=True)
    roots = {root.path: root for root in found.needed}
    for path in ("/usr", "/proc", "/dev/null", "/dev/urandom", "/etc/passwd", os.path.realpath(sys.prefix)):
        assert path in roots, path
    assert roots["/proc"].right is roots["/usr"].right is Right.READ
    assert roots["/dev/null"].devices and not roots["/usr"].devices
    assert (roots["/dev/pts"].make, roots["/dev/shm"].make) == (Make.TERMINALS, Make.MEMORY)
    assert roots["/tmp"].source == str(tmp_path / "t")
    assert roots[str(tmp_path.resolve())].right is Right.WRITE
    assert os.path.realpath(sys.executable) in found.vital


@pytest.mark.parametrize(
    "path", ["/etc", "/etc/shadow", "/etc/munge", "/etc/ssh", "/run", "/var", "/home", "/root", "/opt"]
)
def test_what_is_not_listed_is_not_given(path: str, tmp_path: Path) -> None:
    found = system.find(rules(), dict(os.environ), runtime=tmp_path, namespaces=True)
    assert path not in {root.path for root in found.needed}


def test_a_directory_in_what_is_made_anew_moves_out_of_it() -> None:
    found = system.find(rules(), {}, runtime=Path("/tmp/hpcsec-x"), namespaces=True)
    own = next(root for root in found.needed if root.path == system.INSIDE)
    assert (own.source, found.links["/tmp/hpcsec-x"]) == ("/tmp/hpcsec-x", system.INSIDE)
    found = system.find(rules(), {}, runtime=Path("/scratch/1/hpcsec-x"), namespaces=True)
    assert system.INSIDE not in {root.path for root in found.needed}


def test_the_policys_paths_are_resolved_and_what_lies_beside_denied_ones_is_listed(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    for name in ("a", "b"):
        (top / name).mkdir()
    (top / "link").symlink_to("a")
    found = system.find(
        rules((str(top / "link"), Right.READ), (str(top / "a/x"), Right.NONE)), {}, runtime=None, namespaces=True
    )
    assert found.places[str(top / "link")].real == str(top / "a")
    assert found.places[str(top / "a/x")].state is State.MISSING
    assert found.children[str(top)] == ("a", "b"), "no symbolic link"
    assert found.children[str(top / "a")] == ()


def test_a_directory_that_holds_too_much_is_not_listed(tmp_path: Path) -> None:
    for number in range(system.CHILDREN_LIMIT + 1):
        (tmp_path / str(number)).touch()
    found = system.find(rules((str(tmp_path / "x"), Right.NONE)), {}, runtime=None, namespaces=True)
    assert str(tmp_path) not in found.children


class TestTemporaryDirectory:
    def ask(
        self, path: Path, mounts: tuple[Mount, ...] = LOCAL, home: str = "/nowhere", **environment: str
    ) -> str | None:
        variables = {"TMPDIR": str(path), "SLURM_JOB_ID": "417", **environment}
        return own_temporary(variables, mounts, uid=os.geteuid(), home=home)

    def test_what_is_not_the_jobs_own_is_not_granted(self, tmp_path: Path) -> None:
        own = tmp_path / "job_417"
        own.mkdir(mode=0o700)
        (tmp_path / "other").mkdir(mode=0o700)
        assert self.ask(tmp_path / "other") is None, "not named after the job"
        assert self.ask(own, SLURM_JOB_ID="41") is None, "after another job"
        assert self.ask(tmp_path / "missing-417") is None
        assert self.ask(own, home=str(tmp_path)) is None, "in the home"
        assert own_temporary({"TMPDIR": str(own)}, LOCAL, uid=os.geteuid(), home="/x") is None, "no job"
        assert (
            own_temporary({"TMPDIR": str(own), "SLURM_JOB_ID": "417"}, LOCAL, uid=os.geteuid() + 1, home="/x") is None
        )
        shared = (*LOCAL, Mount(str(tmp_path.resolve()), "0:9", "/", "lustre", read_only=False))
        assert self.ask(own, shared) is None, "on a shared file system"
        elsewhere = tmp_path / "data"
        elsewhere.mkdir(mode=0o700)
        (tmp_path / "link-417").symlink_to(elsewhere)
        assert self.ask(tmp_path / "link-417") is None, "only a link is named after the job"
        for ruled in (own, own / "x", tmp_path):
            variables = {"TMPDIR": str(own), "SLURM_JOB_ID": "417"}
            uid = os.geteuid()
            assert own_temporary(variables, LOCAL, uid=uid, home="/x", ruled=[str(ruled)]) is None, (
                "a rule speaks of it"
            )
        own.chmod(0o770)
        assert self.ask(own) is None, "others may write to it"

    def test_the_jobs_own_is(self, tmp_path: Path) -> None:
        own = tmp_path / "job_417"
        own.mkdir(mode=0o700)
        assert self.ask(own) == str(own.resolve())
        assert self.ask(own, SLURM_JOB_ID="", PBS_JOBID="417.server") == str(own.resolve())


def test_snapshots_are_found_above_a_denied_place_by_name(tmp_path: Path) -> None:
    (tmp_path / ".snapshot").mkdir()
    (tmp_path / "home/.zfs").mkdir(parents=True)
    (tmp_path / "home/.snap").touch()
    (tmp_path / "home/other/.snapshots").mkdir(parents=True)
    found = system.snapshots(f"{tmp_path}/home/alice/.ssh")
    assert [path for path in found if path.startswith(str(tmp_path))] == [
        f"{tmp_path}/home/.zfs",
        f"{tmp_path}/.snapshot",
    ]
    denied = (f"{tmp_path}/home/alice", Right.NONE)
    assert system.find(rules(denied), {}, runtime=None, namespaces=True).snapshots[denied[0]] == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes links of others")
def test_pythons_links_are_roots_or_of_who_owns_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python, link = tmp_path / "python", tmp_path / "link"
    python.mkdir()
    link.symlink_to(python)
    monkeypatch.setattr(system, "python_directories", lambda: (str(link),))
    resolved = rules()
    os.lchown(link, 4711, 4711)
    with pytest.raises(Unavailable, match=f"symbolic link .{link}. of uid 4711, who is neither root nor the owner"):
        system.find(resolved, {}, runtime=None, namespaces=True)
    for owner, owners in ((4711, (4711,)), (0, ())):
        os.lchown(link, owner, owner)
        named = msgspec.structs.replace(resolved, code=Code(owners=owners))
        found = system.find(named, {}, runtime=None, namespaces=True)
        assert str(python) in {root.path for root in found.needed} and found.links[str(link)] == str(python)
    monkeypatch.setattr(system, "python_directories", lambda: ())
    monkeypatch.setattr(system, "CONFIGURATION", (str(link),))
    os.lchown(link, 4711, 4711)
    found = system.find(resolved, {}, runtime=None, namespaces=True)
    assert str(python) not in {root.path for root in found.needed}
