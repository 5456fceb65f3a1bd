"""What is shipped: the source archive builds the wheel, the wheel holds its data files, and the entry points load."""

import gzip
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from traitlets import HasTraits

TREE = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".*", "*.egg-info", "__pycache__", "build", "dist", "node_modules", "_build", "*.sqlite", "venv"
)
MAKE_SDIST = "import sys, setuptools.build_meta as backend; print(backend.build_sdist(sys.argv[1]))"
LABEXTENSION = "share/jupyter/labextensions/jupyter-hpcsec"
BUILT = "jupyter_hpcsec/server/jupyter/labextensions/jupyter-hpcsec"
BUNDLE_LIMIT = 150_000
"""Bytes, compressed: what a browser loads at most for the JupyterLab extension."""
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d/jupyter_hpcsec.json"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, made from a copy, so that the tree stays clean and another file of it is not found."""
    work = tmp_path_factory.mktemp("sdist")
    shutil.copytree(TREE, work / "tree", ignore=LEFT_OUT)
    run([sys.executable, "-c", MAKE_SDIST, str(work)], work / "tree")
    (archive,) = work.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel, built from the source archive alone and without a network."""
    shutil.unpack_archive(sdist, sdist.parent)
    (source,) = (path for path in sdist.parent.glob("jupyter_hpcsec-*") if path.is_dir())
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "--wheel-dir", str(sdist.parent), str(source)], source)
    (built,) = sdist.parent.glob("*.whl")
    return built


def run(argv: list[str], cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_source_archive_is_complete(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("pyproject.toml", "setup.py", "LICENSE", "CHANGELOG.md", "docs/conf.py", "tests/test_package.py"):
        assert needed in names
    assert not [name for name in names if "_build" in name or name.endswith(".pyc")]


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(TREE)) for path in (TREE / "jupyter_hpcsec").rglob("*.py")}
    assert modules
    assert modules <= names, modules - names
    assert "jupyter_hpcsec/py.typed" in names


def test_every_data_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = TREE / "jupyter_hpcsec"
    data = {
        str(path.relative_to(TREE))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "__pycache__" not in path.parts
    }
    assert data <= names, data - names


def test_the_server_extension_is_enabled_by_a_file_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f".data/data/{SERVER_CONFIG}"))
        config = json.loads(archive.read(name))
    assert config == {"ServerApp": {"jpserver_extensions": {"jupyter_hpcsec.server": True}}}


def test_the_lab_extension_is_in_the_wheel_built_for_the_package_and_for_the_environment(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (manifest,) = (name for name in contents if name.endswith(f".data/data/{LABEXTENSION}/package.json"))
    top = manifest.removesuffix("/package.json")
    for_environment = {name.removeprefix(top): found for name, found in contents.items() if name.startswith(top)}
    assert for_environment == {name.removeprefix(BUILT): contents[name] for name in contents if name.startswith(BUILT)}
    build = json.loads(contents[manifest])["jupyterlab"]["_build"]
    assert f"/{build['load']}" in for_environment
    assert "/schemas/jupyter-hpcsec/plugin.json" in for_environment
    assert not [name for name in for_environment if name.endswith((".map", ".ts", ".tsx"))]


def test_the_lab_extension_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        scripts = [name for name in archive.namelist() if name.startswith(BUILT) and name.endswith(".js")]
        size = sum(len(gzip.compress(archive.read(name))) for name in scripts)
    print(f"the JupyterLab extension: {size} bytes compressed, in {len(scripts)} files")
    assert 0 < size <= BUNDLE_LIMIT


def test_the_lab_extension_is_of_the_package_s_version_and_its_lock_names_no_host() -> None:
    manifest = json.loads((TREE / "labextension/package.json").read_text())
    assert manifest["version"] == importlib.metadata.version("jupyter-hpcsec")
    lock = json.loads((TREE / "labextension/package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout in which the extension was never built."""
    shutil.copytree(TREE, tmp_path / "tree", ignore=LEFT_OUT)
    shutil.rmtree(tmp_path / "tree" / "jupyter_hpcsec" / "server" / "jupyter", ignore_errors=True)
    return tmp_path / "tree"


def make_sdist_without_node(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (tree / "bin").mkdir()
    env = {"PATH": str(tree / "bin"), "HOME": os.environ.get("HOME", "/"), **environment}
    argv = [sys.executable, "-c", MAKE_SDIST, str(tree.parent)]
    return subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=False, env=env)


def test_a_checkout_without_node_is_told_what_to_do(bare: Path) -> None:
    done = make_sdist_without_node(bare)
    assert done.returncode != 0
    assert "needs Node.js 20.19" in done.stderr
    assert "HPCSEC_SKIP_LABEXTENSION=1" in done.stderr


def test_who_wants_no_lab_extension_is_told_that_it_is_left_out(bare: Path) -> None:
    done = make_sdist_without_node(bare, HPCSEC_SKIP_LABEXTENSION="1")
    assert done.returncode == 0, done.stderr
    assert "the JupyterLab extension is LEFT OUT" in done.stderr
    (archive,) = bare.parent.glob("*.tar.gz")
    with tarfile.open(archive) as made:
        assert not [name for name in made.getnames() if BUILT in name]


def test_nothing_but_the_package_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if ".dist-info" not in top and ".data" not in top} == {"jupyter_hpcsec"}


def test_the_command_loads() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="hpcsec")
    assert callable(command.load())


@pytest.mark.parametrize("name", ["hpcsec-slurm", "hpcsec-pbs", "hpcsec-lsf", "hpcsec-local"])
def test_the_spawners_load_by_the_names_that_a_hub_configuration_uses(name: str) -> None:
    (spawner,) = importlib.metadata.entry_points(group="jupyterhub.spawners", name=name)
    assert issubclass(spawner.load(), HasTraits)


def test_the_server_extension_loads() -> None:
    from jupyter_hpcsec import server

    (point,) = server._jupyter_server_extension_points()
    assert point["module"] == "jupyter_hpcsec.server"
