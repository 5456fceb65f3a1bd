"""A sandbox that its user installed: nothing keeps that user from changing it, so no session starts in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import jupyter_hpcsec
from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give, inside
from tests.nobody import NOBODY, prefix

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can own code that a user can't change"),
    pytest.mark.skipif(landlock.abi() < 6 or bool(mounts.probe()), reason="needs Landlock ABI 6 and user namespaces"),
]


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as home:
        (home / "secret").mkdir()
        (home / "secret/key").write_text("a secret\n")
        give(home.parent)
        yield home


@pytest.fixture
def theirs(home: Path) -> Path:
    """An environment of the user's own, with this package in it; its Python."""
    environment = home.parent / "theirs"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    shutil.copytree(Path(jupyter_hpcsec.__file__).parent, packages / "jupyter_hpcsec")
    (packages / "rest.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    give(environment)
    return environment / "bin/python"


def test_no_session_starts_on_code_that_its_user_could_change(home: Path, theirs: Path) -> None:
    rules = [(home, "write"), (home / "secret", "none"), (theirs.parents[1], "read")]
    read = ["cat", str(home / "secret/key")]
    # The attack: leave out what hides, and what looks whether it is hidden, and say so to nobody
    for name, line, instead in (
        ("mounts", "                    self._hide(part.path)\n", "                    pass\n"),
        ("sandbox", "        tried |= files.check()\n", "        pass\n"),
    ):
        (place,) = theirs.parents[1].glob(f"lib/python*/site-packages/jupyter_hpcsec/access/{name}.py")
        text = place.read_text()
        assert line in text
        change = [*prefix(), sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(place)]
        subprocess.run([*change, text.replace(line, instead)], check=True)
    unasked = inside(read, rules=rules, cwd=home, python=str(theirs))
    assert unasked.out == "a secret\n", unasked.refused
    assert unasked.receipt["code"].startswith("NOT root's alone to write: ")

    refused = inside(read, rules=rules, cwd=home, python=str(theirs), closed_code=True)
    assert refused.out == ""
    assert f" belongs to uid {NOBODY}. Administrators: install jupyter-hpcsec" in refused.refused
