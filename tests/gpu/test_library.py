"""Which library answers: what is mapped, and whether it is the system's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.gpu import library

MAPS = """\
55d000-55e000 r--p 00000000 08:01 1 /usr/bin/python3.11
55e000-55f000 r-xp 00000000 08:01 1 /usr/bin/python3.11
7f0000-7f1000 r-xp 00000000 08:01 2 /home/eve/a dir/libnvidia-ml.so.1 (deleted)
7f1000-7f2000 rw-p 00000000 00:00 0
7ffc00-7ffd00 r-xp 00000000 00:00 0 [vdso]
"""


def test_only_files_that_can_run_are_listed_once() -> None:
    assert library.mapped(MAPS + MAPS) == ("/usr/bin/python3.11", "/home/eve/a dir/libnvidia-ml.so.1")


def test_a_library_elsewhere_is_not_the_systems(tmp_path: Path) -> None:
    fake = tmp_path / "libnvidia-ml.so.1"
    fake.touch()
    assert not library.is_system(str(fake))
    assert not library.is_system("/usr/lib/../../home/eve/libnvidia-ml.so.1")
    assert not library.is_system("/usr/lib/nothing-here.so")


def test_one_in_a_system_directory_is_unless_others_may_change_it(tmp_path: Path) -> None:
    fake = tmp_path / "libnvidia-ml.so.1"
    fake.touch()
    inside = [str(tmp_path.resolve())]
    tmp_path.chmod(0o755)
    fake.chmod(0o644)
    assert library.is_system(str(fake), inside) == (os.getuid() == 0)
    fake.chmod(0o666)
    assert not library.is_system(str(fake), inside)
    fake.chmod(0o644)
    tmp_path.chmod(0o777)
    assert not library.is_system(str(fake), inside)


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    system, users = tmp_path / "system", tmp_path / "user"
    system.mkdir()
    users.mkdir()
    (users / "l.so").touch()
    (system / "l.so").symlink_to(users / "l.so")
    assert not library.is_system(str(system / "l.so"), [str(system)])


def test_this_process_has_no_strangers_and_one_that_preloads_has(stand_in: Path) -> None:
    script = (
        "from jupyter_hpcsec.gpu import library; from pathlib import Path;"
        "print(library.strangers(library.mapped(Path('/proc/self/maps').read_text()), library.python_places()))"
    )
    clean = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert clean.stdout.strip() == "[]"
    lied = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "LD_PRELOAD": str(stand_in)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert lied.stdout.strip() == f"['{stand_in}']"


@pytest.mark.parametrize("name", [library.NVML, library.AMD_SMI])
def test_the_search_takes_the_first_that_is_there(tmp_path: Path, name: str) -> None:
    assert library.find(name, [str(tmp_path)]) == ""
    (tmp_path / name).touch()
    assert library.find(name, ["/nowhere", str(tmp_path)]) == f"{tmp_path}/{name}"
