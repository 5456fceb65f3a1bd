"""The Python environment that jobs use on the nodes: all users can read it, only root can write it.

The environment of the running command serves where it keeps both; otherwise one with the same versions is built below
the state directory. It is kept by a digest of what is in it, so that building it again costs nothing.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jupyter_hpcsec
from jupyter_hpcsec import __version__
from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.ops.cluster_system import run

SYSTEM_PYTHON = "/usr/bin/python3"
DISTRIBUTION = "jupyter-hpcsec"
PROBE = (
    "import importlib.util as u, ssl, jupyter_hpcsec\n"
    "missing = [n for n in ('jupyterlab', 'jupyterhub', 'ipykernel') if u.find_spec(n) is None]\n"
    "assert not missing, missing\n"
    "print(jupyter_hpcsec.__file__)"
)
PIP_LIMIT_S = 1800.0


def ways_to(path: Path) -> Iterator[Path]:
    """A path and every directory on the way to it, from the root down, of its spelled and of its real name."""
    for form in (path, path.resolve()):
        yield from reversed(form.parents)
        yield form


def reading_trouble(path: Path) -> str | None:
    """Why another user can't read ``path``, or could write it or swap it; None when all is well."""
    for step in ways_to(path):
        try:
            status = step.stat()
        except OSError as exc:
            return f"{step}: {exc.strerror}"
        mode = status.st_mode
        is_end = step in (path, path.resolve())
        need = (stat.S_IXOTH if stat.S_ISDIR(mode) else 0) | (stat.S_IROTH if is_end else 0)
        if mode & need != need:
            return f"{step} is closed to other users"
        if status.st_uid != 0:
            return f"{step} does not belong to root"
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
            return f"{step} can be written by others than root"
    return None


def way_trouble(environment: Path) -> str | None:
    """Why users can't get as far as the environment's Python; quick, for one that was found good before."""
    return reading_trouble(environment) or reading_trouble(environment / "bin" / "python")


def environment_trouble(environment: Path) -> str | None:
    """Why jobs can't use this environment; None when they can. A user without rights tries it, so it is no guess."""
    python = environment / "bin" / "python"
    trouble = way_trouble(environment)
    if trouble:
        return trouble
    done = run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", str(python), "-I", "-c", PROBE],
        check=False,
    )
    if done.returncode != 0:
        return f"a user without rights can't import from it: {done.stderr.strip()[-160:]}"
    return reading_trouble(Path(done.stdout.strip())) or writable_part(environment)


def writable_part(environment: Path) -> str | None:
    """The first file or directory below that others than root could change; None when there is none."""
    for directory, names, file_names in os.walk(environment):
        for name in [*names, *file_names]:
            status = os.lstat(os.path.join(directory, name))  # noqa: PTH118  - called for some 40,000 files
            if stat.S_ISLNK(status.st_mode):
                continue
            if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"{directory}/{name} can be written by others than root"
    return None


def package_source() -> Path | None:
    """The source tree that this package runs from or was installed from, or the wheel's file; None for an index's."""
    beside = Path(jupyter_hpcsec.__file__).parents[1]
    if (beside / "pyproject.toml").exists():
        return beside
    try:
        text = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError as exc:
        raise Unavailable(f"{DISTRIBUTION} is not installed in this environment: run `pip install .`") from exc
    url = urlsplit(json.loads(text).get("url", "")) if text else urlsplit("")
    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.exists() else None


def source_digest(tree: Path) -> str:
    """SHA-256 over names and contents of what goes into the package; of a wheel, over its bytes."""
    if tree.is_file():
        return hashlib.sha256(tree.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    parts = [tree / "pyproject.toml", tree / "setup.py", *sorted((tree / "jupyter_hpcsec").rglob("*"))]
    for part in parts:
        if part.is_file() and "__pycache__" not in part.parts:
            digest.update(f"{part.relative_to(tree)}\0{part.stat().st_size}\0".encode())
            digest.update(part.read_bytes())
    return digest.hexdigest()


def requirements() -> str:
    """The running environment's distributions with their exact versions, this package left out."""
    words = [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--exclude", DISTRIBUTION]
    return run(words, env=_pip_environment()).stdout


def build(directory: Path, *, say: Callable[[str], None]) -> Path:
    """Make (or find) an environment with the running one's versions below ``directory``; its path.

    The wheels come from pip's own configuration and cache. Raises ``Unavailable`` with pip's last words.
    """
    wanted = requirements()
    tree = package_source()
    version = run([SYSTEM_PYTHON, "--version"]).stdout
    environment = directory / hashlib.sha256((version + wanted).encode()).hexdigest()[:16]
    marker = environment / ".hpcsec-complete"
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    if not marker.exists():
        say(f"building the nodes' Python environment {environment} (once; minutes)")
        shutil.rmtree(environment, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        run([SYSTEM_PYTHON, "-m", "venv", str(environment)])
        listing = environment / "requirements.txt"
        listing.write_text(wanted, encoding="utf-8")
        run([*pip, "-r", str(listing)], env=_pip_environment(), timeout_s=PIP_LIMIT_S)
        marker.write_text("", encoding="utf-8")
    what = str(tree) if tree else f"{DISTRIBUTION}=={__version__}"
    state = source_digest(tree) if tree else what
    if marker.read_text(encoding="utf-8") != state:
        say(f"installing this package into {environment}")
        run([*pip, "--force-reinstall", what], env=_pip_environment(), timeout_s=PIP_LIMIT_S)
        _close_to_writers(environment)
        marker.write_text(state, encoding="utf-8")
    return environment


def choose(wanted: Path | None, directory: Path, *, say: Callable[[str], None]) -> Path:
    """The environment for jobs: the one asked for, the running one, or one that is built. Raises ``HpcsecError``."""
    if wanted is not None:
        trouble = environment_trouble(wanted)
        if trouble:
            raise HpcsecError(f"jobs can't use the environment {wanted}: {trouble}")
        return wanted
    if environment_trouble(Path(sys.prefix)) is None:
        return Path(sys.prefix)
    return build(directory, say=say)


def _close_to_writers(environment: Path) -> None:
    """Readable for all, writable for root, whatever the umask was."""
    try:
        subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w", str(environment)], check=True, capture_output=True)
    except subprocess.CalledProcessError as exc:
        raise Unavailable(f"the modes of {environment} can't be set") from exc


def _pip_environment() -> dict[str, str]:
    """pip's own settings and the way to the network pass; nothing else of the caller's environment does."""
    wanted = ("PIP_", "SSL_CERT", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "HOME")
    return {name: value for name, value in os.environ.items() if name.upper().startswith(wanted)}
