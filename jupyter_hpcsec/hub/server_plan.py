"""From what the gateway hands over to what is started: argument list and environment of the single-user server. Pure.

The server listens on a unix socket, calls the Hub through another one, and talks to its kernels through more. All of
it is set on the command line, which wins over every configuration file, the user's included.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

import jupyter_hpcsec
from jupyter_hpcsec.access.values import ACCESS_VARIABLE, Resolved
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.gpu.launch import VARIABLE as GPU_VARIABLE
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory

ARGUMENTS_LIMIT, ENVIRONMENT_LIMIT = 256, 512
VALUE_LIMIT = 128 * 1024
"""Bytes of one argument or variable: Linux's own limit (MAX_ARG_STRLEN)."""

SESSION_VARIABLE = "JUPYTER_HPCSEC_SESSION"
"""Where the server extension finds the facts of the session (``server.facts``)."""

EXTENSION = Path(jupyter_hpcsec.__file__).parent / "server"
"""Holds the ``jupyter_server_config.d`` that enables the extension."""

JUPYTER_DATA = EXTENSION / "jupyter"
"""Holds the ``labextensions`` that JupyterLab finds ours in, as built; absent where it was left out."""

DEFAULT_PORT = 8888
"""jupyter_server calls a socket and a port 'mutually exclusive' unless the port is this, its default."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_BASE_URL = re.compile(r"/(?:[A-Za-z0-9@._~!$'()*+,=:%-]+/)*")
_FIELDS = {"argv", "env", "base_url", "access", "recording"}
_RECORDING = {"level": 64, "output_limit": 16, "hashes_files": 3, "text": 4096}
"""What the user is told of the recording, in characters."""


@dataclass(frozen=True)
class Launch:
    """What the spawner wants started, as it came over the enrolled connection, checked."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    base_url: str
    access: Resolved
    """What the user may do, as the gateway resolved it."""
    recording: Mapping[str, str] = field(default_factory=dict)
    """What the user is told of what the gateway records: ``text`` and its values."""


def parse_launch(launch: Mapping[str, Any]) -> Launch:
    """Check the form of the spawner's launch; ``Malformed`` names the field. Unknown fields are refused."""
    # 1. Only what is known.
    if unknown := set(launch) - _FIELDS:
        raise Malformed(f"The launch has an unknown field {sorted(unknown)[0]!r}; hub and node differ in version.")
    # 2. An argument list.
    argv = launch.get("argv")
    if (
        not isinstance(argv, list)
        or not 1 <= len(argv) <= ARGUMENTS_LIMIT
        or not all(map(_is_word, argv))
        or not argv[0]
    ):
        raise Malformed("The launch's argv is not a list of arguments.")
    # 3. Variables; none of them may be one of ours, which the agent alone reads.
    env = launch.get("env")
    if not isinstance(env, dict) or len(env) > ENVIRONMENT_LIMIT:
        raise Malformed("The launch's env is not a table of variables.")
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name) or name.startswith("HPCSEC_") or not _is_word(value):
            raise Malformed(f"The launch's env has a variable {name!r} that can't be set.")
    # 4. A path below which the server lives.
    base_url = launch.get("base_url")
    if not isinstance(base_url, str) or not _BASE_URL.fullmatch(base_url):
        raise Malformed("The launch's base_url is not a path that begins and ends with '/'.")
    # 5. The user's rules: nothing starts without.
    try:
        access = msgspec.convert(launch.get("access"), Resolved)
    except msgspec.ValidationError as error:
        raise Malformed(
            f"The launch's access is not rules of this version ({error}); update gateway or node."
        ) from error
    # 6. Words for the user; they decide nothing.
    recording = launch.get("recording", {})
    if not isinstance(recording, dict) or not all(
        isinstance(value, str) and len(value) <= _RECORDING.get(name, 0) for name, value in recording.items()
    ):
        raise Malformed("The launch's recording is not what a user could be told.")
    return Launch(argv=tuple(argv), env=dict(env), base_url=base_url, access=access, recording=recording)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value.encode(errors="replace")) < VALUE_LIMIT


def socket_url(path: str) -> str:
    """JupyterHub's spelling of a unix socket: the whole path percent-encoded in place of a host."""
    return f"http+unix://{quote(path, safe='')}"


def server_arguments(launch: Launch, directory: RuntimeDirectory, *, is_root: bool) -> list[str]:
    """The spawner's arguments and, after them so that they win, ours."""
    own = [
        f"--ServerApp.sock={directory.server_socket}",
        "--ServerApp.sock_mode=0600",
        f"--ServerApp.port={DEFAULT_PORT}",
        "--ServerApp.ip=localhost",
        # The extension sees to these, too, but a configuration file of the user's can switch an extension off.
        "--ServerApp.contents_manager_class=jupyter_hpcsec.access.contents.HpcsecContentsManager",
        "--KernelProvisionerFactory.default_provisioner_name=hpcsec-provisioner",
        "--TerminalsExtensionApp.terminal_manager_class=jupyter_hpcsec.server.terminals.HpcsecTerminalManager",
        # The class that every kernel manager comes from, and the one that jupyter_server uses: the more specific wins.
        "--KernelManager.transport=ipc",
        "--ServerKernelManager.transport=ipc",
    ]
    return [*launch.argv, *own, *(["--allow-root"] if is_root else [])]


def server_environment(base: Mapping[str, str], launch: Launch, directory: RuntimeDirectory) -> dict[str, str]:
    """The job's environment, over it the spawner's, over it ours. Nothing of ``HPCSEC_*`` is in it."""
    hub = socket_url(str(directory.hub_socket))
    env = {name: value for name, value in base.items() if not name.startswith("HPCSEC_")}
    # A port from the user's environment would stand against the socket.
    env = {name: value for name, value in env.items() if name not in {"JUPYTER_PORT", "JUPYTER_PORT_RETRIES"}}
    env.pop(GPU_VARIABLE, None)  # the watch's settings are the site's
    return {
        **env,
        **launch.env,
        "JUPYTERHUB_SERVICE_URL": socket_url(str(directory.server_socket)) + launch.base_url,
        "JUPYTERHUB_SERVICE_PREFIX": launch.base_url,
        **{
            name: hub + _path(launch.env[name])
            for name in ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")
            if name in launch.env
        },
        "JUPYTER_RUNTIME_DIR": str(directory.jupyter),
        # First on the search path: the extension is on, also where the package's data files were not installed.
        "JUPYTER_CONFIG_PATH": _first(EXTENSION, {**env, **launch.env}.get("JUPYTER_CONFIG_PATH")),
        "JUPYTER_PATH": _first(JUPYTER_DATA, {**env, **launch.env}.get("JUPYTER_PATH")),
        SESSION_VARIABLE: str(directory.session_file),
        ACCESS_VARIABLE: str(directory.access_file),
    }


def _first(place: Path, others: str | None) -> str:
    return os.pathsep.join(filter(None, [str(place), others]))


def _path(url: str) -> str:
    """The path of the Hub's own URL, which may stand below a prefix (``/hub/api``, ``/jupyter/hub/api``)."""
    path = urlsplit(url).path
    if not _BASE_URL.fullmatch(path.rstrip("/") + "/"):
        raise Malformed("The launch's env holds a Hub URL whose path is not one.")
    return path


def program(name: str, path: str, beside: Path) -> str:
    """The program to run: as ``PATH`` has it, else the one beside this Python, which has what the server needs."""
    if "/" in name:
        return name
    return shutil.which(name, path=path) or shutil.which(name, path=str(beside)) or name
