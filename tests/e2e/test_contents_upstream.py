"""jupyter_server's own tests of contents, ``/files/`` and nbconvert pass with our classes in the place of its own.

They come from the source distribution of the very version that is installed (the wheel has none), fetched by pip from
the index that it is set up with. None is deselected.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.nobody import NOBODY, prefix

pytestmark = pytest.mark.e2e

PLUGIN = Path(__file__).parent / "jupyter_server_plugin.py"
TESTS = ("tests/services/contents", "tests/test_files.py", "tests/nbconvert")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that an ordinary user can work in: root passes the checks that some of the tests are about."""
    directory = Path(tempfile.mkdtemp(prefix="upstream-", dir="/var/tmp"))
    yield directory
    shutil.rmtree(directory)


def source(place: Path) -> Path:
    name = f"jupyter_server=={version('jupyter_server')}"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "jupyter_server"]
    subprocess.run([*fetch, "--dest", str(place), name], check=True, timeout=300)
    subprocess.run(["tar", "-xzf", next(place.glob("*.tar.gz")), "-C", place, "--no-same-owner"], check=True)
    return next(path for path in place.iterdir() if path.is_dir())


@pytest.mark.timeout(900)
def test_the_servers_own_tests_pass_with_our_classes(place: Path) -> None:
    tree = source(place)
    shutil.rmtree(tree / "jupyter_server")  # the installed one is meant
    (place / "t").mkdir()
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(place / "t"), "TMPDIR": str(place / "t"),
        "HPCSEC_TEST_PLACE": str(place), "PYTHONPATH": os.pathsep.join([str(PLUGIN.parent), *sys.path[1:]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    plugins = ["-p", PLUGIN.stem, "-p", "no:cacheprovider", "-p", "no:asyncio"]
    options = ["-q", "-o", "addopts=", "--timeout=300", "--tb=short", "--show-capture=no"]
    done = subprocess.run(
        [*prefix(), sys.executable, "-m", "pytest", *plugins, *options, f"--basetemp={place / 'files'}", *TESTS],
        env=environment, cwd=tree, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"([0-9]+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 400, done.stdout[-300:]
