"""How a kernel or a terminal is started: what of the server's environment it gets, and its own narrower sandbox.

The server holds secrets of the session: its token for the Hub, its cookies' key, the keys to all kernels. Kernels and
terminals run what people download; none of that is theirs.
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from jupyter_hpcsec.access import nested
from jupyter_hpcsec.server.facts import SESSION_VARIABLE

SECRET_PREFIXES = ("JUPYTERHUB_", "JPY_", "HPCSEC_")
"""Tokens, and where the Hub and the gateway are."""
HARMLESS = frozenset(("JPY_SESSION_NAME", "JPY_PARENT_PID"))
"""The notebook's path, which ipykernel shows as ``__session__``, and the pid that getppid(2) tells anyway."""
TOKENS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTER_TOKEN", "HPCSEC_TOKEN", "SLURM_JWT")
"""What holds a secret; under whatever other name its value appears, it goes, too."""
SHORTEST_TOKEN = 8
"""Characters. A shorter one would take variables along that merely look like it."""


def scrubbed(environment: Mapping[str, str], own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``environment`` without the session's secrets; ``own`` is the server's environment, which names them."""
    named = [source.get(name, "") for source in (environment, own) for name in TOKENS]
    secrets = [value for value in named if len(value) >= SHORTEST_TOKEN]
    return {
        name: value
        for name, value in environment.items()
        if (name in HARMLESS or not name.startswith(SECRET_PREFIXES))
        and name not in TOKENS
        and not any(secret in value for secret in secrets)
    }


def private_directory(environment: Mapping[str, str]) -> Path:
    """The session's private directory, where its sockets, its rules and Jupyter's runtime files lie."""
    return Path(environment[SESSION_VARIABLE]).resolve().parent


def inside(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel or terminal: no secrets, and a runtime directory that is not the server's."""
    return {**scrubbed(environment), "JUPYTER_RUNTIME_DIR": str(Path(tempfile.gettempdir(), "jupyter"))}


def confined(program: Sequence[str], private: Path, *, opened: Sequence[Path] = ()) -> list[str]:
    """The command that becomes ``program`` in a sandbox of its own, in which ``private`` is closed.

    Open in it stay ``opened``, the temporary directory if it is in there, and what tells the user about the session.
    """
    # exists() and not is_dir(): what is no directory can be read
    stay = [private / "session.json", private / "access.json", private / "t", *opened]
    paths = [str(path) for path in stay if path.exists()]
    arguments = [str(os.getpid()), str(private), *paths, "--", *program]
    return [sys.executable, "-I", "-S", nested.__file__, *arguments]
