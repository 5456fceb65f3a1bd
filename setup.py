"""Build hook: builds the JupyterLab extension; puts it, the configuration that enables ours, and the example into
wheels.

All metadata is in ``pyproject.toml``; ``data_files`` and commands of our own are what setuptools reads only here.

The extension is built by Node from ``labextension/`` into the package, and built again when its sources have changed.
Source archives hold it built, too, so that nothing but a checkout needs Node.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
SOURCE = HERE / "labextension"
BUILT = HERE / "jupyter_hpcsec" / "server" / "jupyter" / "labextensions" / "jupyter-hpcsec"
DIGEST = BUILT / "source.sha256"
SKIP = "HPCSEC_SKIP_LABEXTENSION"
NEEDS = f"""
The JupyterLab extension is built from source here, which needs Node.js 20.19, 22.12 or later, with npm: https://nodejs.org/
Wheels and source archives of releases hold it built. To go without it set {SKIP}=1: people then see nothing of their
session in JupyterLab; what protects them is the same.
"""


def source_digest() -> str:
    """SHA-256 over names and contents of all that the extension is built from."""
    digest = hashlib.sha256()
    files = [SOURCE / name for name in ("package.json", "package-lock.json", "tsconfig.json", "install.json")]
    for part in ("schema", "src", "style"):
        files += sorted(path for path in (SOURCE / part).rglob("*") if path.is_file())
    for path in files:
        digest.update(f"{path.relative_to(SOURCE).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def has_node() -> bool:
    """Whether there is a Node that runs the builder (rspack: ``^20.19.0 || >=22.12.0``), and npm."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", version)
    at = (int(found[1]), int(found[2])) if found else (0, 0)
    return (20, 19) <= at < (21, 0) or at >= (22, 12)


def node(*argv: str) -> None:
    """Run a command of Node's world in the extension's directory; its words are shown when it fails."""
    done = subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}{NEEDS}")


def build_extension() -> None:
    """Build the extension into the package, unless that is done. Without Node: ends with a sentence on what to do."""
    if os.environ.get(SKIP) == "1":
        print(f"{SKIP}=1: the JupyterLab extension is LEFT OUT", file=sys.stderr)
        shutil.rmtree(BUILT, ignore_errors=True)
        return
    wanted = source_digest()
    if DIGEST.exists() and DIGEST.read_text() == wanted:
        return
    if not has_node():
        sys.exit(NEEDS)
    lock, installed = SOURCE / "package-lock.json", SOURCE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        node("npm", "ci", "--prefer-offline")
    for old in (BUILT, HERE / "build" / "lib" / BUILT.relative_to(HERE)):  # names bear hashes: old ones would stay
        shutil.rmtree(old, ignore_errors=True)
    node("npm", "run", "build")
    shutil.copy(SOURCE / "install.json", BUILT)  # by it JupyterLab says how the extension is removed
    DIGEST.write_text(wanted)
    for path in (BUILT.parent.parent, BUILT.parent, BUILT, *BUILT.rglob("*")):  # other users' servers read it
        path.chmod(0o755 if path.is_dir() else 0o644)


def built_files() -> list[tuple[str, list[str]]]:
    """Where JupyterLab looks for extensions in an environment, and our files for there."""
    by_place: dict[str, list[str]] = {}
    for path in sorted(path for path in BUILT.rglob("*") if path.is_file()):
        place = Path("share/jupyter/labextensions/jupyter-hpcsec", path.relative_to(BUILT)).parent
        by_place.setdefault(place.as_posix(), []).append(path.relative_to(HERE).as_posix())
    return list(by_place.items())


class BuildsWheel(bdist_wheel):
    """A wheel with the extension, in the package and as data of the environment."""

    def run(self) -> None:
        """Run the command, after the extension was built."""
        build_extension()
        self.distribution.data_files += built_files()
        super().run()


class BuildsEditable(editable_wheel):
    """The same for an editable install, whose data files are copies."""

    def run(self) -> None:
        """Run the command, after the extension was built."""
        build_extension()
        self.distribution.data_files += built_files()
        # setuptools asks a distribution for `has_data`, which has another name, and so would leave data files out
        self.distribution.has_data = self.distribution.has_data_files
        super().run()


class BuildsSource(sdist):
    """A source archive with the extension built."""

    def run(self) -> None:
        """Run the command, after the extension was built."""
        build_extension()
        super().run()


setup(
    cmdclass={"bdist_wheel": BuildsWheel, "editable_wheel": BuildsEditable, "sdist": BuildsSource},
    data_files=[
        (
            "etc/jupyter/jupyter_server_config.d",
            ["jupyter_hpcsec/server/jupyter_server_config.d/jupyter_hpcsec.json"],
        ),
        ("share/jupyter-hpcsec/examples", ["examples/eda.ipynb"]),
    ],
)
