"""The versions of the parts, for reports. Asks metadata and the programs themselves; never the network."""

import os
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


def program(argv: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """The first line that a program says of its version."""
    found = shutil.which(argv[0], path=environment.get("PATH", os.defpath))
    if found is None:
        return ABSENT
    try:
        done = subprocess.run(
            [found, *argv[1:]], capture_output=True, text=True, timeout=10, check=False, env=dict(environment)
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"no answer ({type(exc).__name__})"
    words = (done.stdout or done.stderr).strip().splitlines()
    return words[0] if words else f"no answer (status {done.returncode})"


def versions(programs: Mapping[str, tuple[str, ...]], environment: Mapping[str, str]) -> dict[str, str]:
    """Name -> version: this computer, the Python packages, and ``programs`` (name -> command line)."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        **{name: package(name) for name in PACKAGES},
        **{name: program(argv, environment) for name, argv in programs.items()},
    }
