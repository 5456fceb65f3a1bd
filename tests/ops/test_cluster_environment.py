"""Which environment jobs may use: what is closed to users or open to writers is refused, by this test's own files."""

import os
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.ops import cluster_environment as environments
from jupyter_hpcsec.ops.cluster_environment import reading_trouble, source_digest, ways_to, writable_part

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files that belong to root; run as root by .ci/run")


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    """A directory below pytest's own (which is closed to others), with a file, as an installer leaves them."""
    top = tmp_path / "environment"
    top.mkdir(mode=0o755)
    (top / "file").write_text("")
    (top / "file").chmod(0o644)
    return top


def test_what_others_can_write_is_found(open_directory: Path) -> None:
    if os.geteuid() == 0:
        assert writable_part(open_directory) is None
    (open_directory / "file").chmod(0o666)
    assert "file" in str(writable_part(open_directory))


def test_a_link_is_judged_by_its_target_and_not_by_its_own_mode(open_directory: Path) -> None:
    (open_directory / "link").symlink_to("file")
    assert "link" not in str(writable_part(open_directory))


def test_every_directory_on_the_way_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    ways = list(ways_to(tmp_path / "alias"))
    assert Path("/") in ways
    assert tmp_path in ways
    assert tmp_path / "real" in ways


def test_a_closed_directory_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "below").mkdir(mode=0o755)
    assert "closed to other users" in str(reading_trouble(closed / "below"))
    assert "No such file" in str(reading_trouble(Path("/no/such/environment")))


@needs_root
def test_what_an_installer_leaves_is_good_until_another_user_may_write_it() -> None:
    assert reading_trouble(Path("/usr/bin/env")) is None
    assert reading_trouble(Path("/tmp")) is None  # sticky: nobody can swap what is in it


def test_an_environment_that_users_can_not_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(HpcsecError, match=r"can't use .*: .*(closed to other users|does not belong to root)"):
        environments.choose(tmp_path / "nothing", tmp_path, say=print)


def test_the_digest_of_the_source_changes_with_names_and_contents(tmp_path: Path) -> None:
    package = tmp_path / "jupyter_hpcsec"
    package.mkdir()
    for name in ("pyproject.toml", "setup.py", "jupyter_hpcsec/a.py"):
        (tmp_path / name).write_text(name)
    first = source_digest(tmp_path)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.pyc").write_text("x")
    assert source_digest(tmp_path) == first
    (package / "a.py").rename(package / "b.py")
    renamed = source_digest(tmp_path)
    (package / "b.py").write_text("other")
    assert len({first, renamed, source_digest(tmp_path)}) == 3


def test_the_running_environments_versions_are_pinned_and_this_package_is_not_among_them() -> None:
    lines = environments.requirements().splitlines()
    assert any(line.startswith("tornado==") for line in lines)
    assert not any("hpcsec" in line for line in lines)
