"""The versions of the parts, for reports. Asks metadata and the programs themselves; never the network."""

import platform
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "jupyter-hpcsec",
    "jupyterhub",
    "batchspawner",
    "jupyter_server",
    "jupyterlab",
    "ipykernel",
    "cryptography",
    "pyjwt",
    "tornado",
)
ABSENT = "not installed"


def package(name: str) -> str:
    """A Python distribution's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ABSENT


def program(argv: tuple[str, ...], path: str, variables: Mapping[str, str] | None = None) -> str:
    """The first line that a program, found on ``path`` and given ``variables``, says of its version."""
    found = shutil.which(argv[0], path=path)
    if found is None:
        return ABSENT
    try:
        done = subprocess.run(
            [found, *argv[1:]],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={"PATH": path, **(variables or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"no answer ({type(exc).__name__})"
    words = (done.stdout or done.stderr).strip().splitlines()
    return words[0] if words else f"no answer (status {done.returncode})"


def versions(
    programs: Mapping[str, tuple[str, ...]], path: str, variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Name -> version: this computer, the Python packages, and ``programs`` (name -> command line)."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        **{name: package(name) for name in PACKAGES},
        **{name: program(argv, path, variables) for name, argv in programs.items()},
    }
