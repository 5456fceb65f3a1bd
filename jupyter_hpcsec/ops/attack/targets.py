"""What the attempts are aimed at: paths, processes, ports, services, a server. Values and their look-up, no attempt.

Options name them outside of a session; in a session they come from its files and from /proc. A target that is not
known stays None, and what needs it is not tried.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICES: Mapping[str, tuple[str, ...]] = {
    "munge": ("/run/munge/munge.socket.2", "/var/run/munge/munge.socket.2"),
    "dbus-system": ("/run/dbus/system_bus_socket",),
    "dbus-user": ("/run/user/{uid}/bus",),
    "systemd-user": ("/run/user/{uid}/systemd/private",),
    "systemd-system": ("/run/systemd/private",),
    "journal": ("/run/systemd/journal/stdout", "/dev/log"),
    "docker": ("/run/docker.sock", "/var/run/docker.sock"),
    "podman": ("/run/podman/podman.sock", "/run/user/{uid}/podman/podman.sock"),
    "containerd": ("/run/containerd/containerd.sock",),
    "nscd": ("/run/nscd/socket", "/var/run/nscd/socket"),
    "x11": ("/tmp/.X11-unix/X0",),  # noqa: S108 - where X servers listen
    "ssh-agent": (),
    "slurm": ("/run/slurmctld/sack.socket", "/run/slurm/sack.socket"),
}
"""Unix sockets of services that act for whoever connects. More by ``--service NAME=PATH``."""


@dataclass(frozen=True)
class Victim:
    """A process outside: the agent, the server, or one that was named."""

    pid: int
    role: str


@dataclass(frozen=True)
class Server:
    """A Jupyter server: ``address`` is a socket's path or (host, port); ``root`` is what its file browser shows."""

    address: str | tuple[str, int]
    base_url: str = "/"
    token: str = ""
    root: Path | None = None


@dataclass(frozen=True)
class Targets:
    """Everything that attempts are aimed at. ``scratch`` is theirs; nothing else is changed and stays so."""

    scratch: Path
    denied_file: Path | None = None
    denied_dir: Path | None = None
    readonly_file: Path | None = None
    readonly_dir: Path | None = None
    home: Path | None = None
    victims: tuple[Victim, ...] = ()
    host: str = "127.0.0.1"
    host6: str = "::1"
    port: int = 1
    """A TCP port to which the policy allows no connection. Nothing needs to listen there."""
    abstract: str = ""
    abstract_seen: str = ""
    """Of the kernel's table: who listens on it is not known."""
    memory: int | None = None
    queue: int | None = None
    """System V objects of a process outside, by number."""
    services: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    server: Server | None = None
    runtime: Path | None = None
    """Where the server keeps its sockets and secrets."""
    inherited: tuple[int, ...] = ()
    """Descriptors that were open when the suite started."""
    protected: tuple[Path, ...] = ()
    """All paths that the policy denies or leaves only to read."""
    tries: int = 100_000
    """Rounds of a race."""

    @property
    def denied(self) -> Path | None:
        """A denied file, or a directory where none is known."""
        return self.denied_file or self.denied_dir


def sort_paths(paths: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """(file, directory) of the paths given for one purpose: inside a sandbox their kind can't be asked for."""
    directories = [path for path in paths if is_directory(path) or any(path in other.parents for other in paths)]
    files = [path for path in paths if path not in directories]
    directory = directories[0] if directories else None
    inside = files_in(directory) if directory else []
    return next(iter([*files, *inside]), None), directory


def is_directory(path: Path) -> bool:
    """Whether it is seen to be one; what can't be looked at is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def files_in(directory: Path) -> list[Path]:
    """Its regular files, if it can be listed."""
    try:
        return [path for path in sorted(directory.iterdir()) if path.is_file()]
    except OSError:
        return []


def service_paths(uid: int, ssh_agent: str, named: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Where each service may listen; what was named comes alone."""
    found = {
        name: tuple(Path(path.format(uid=uid)) for path in ((ssh_agent,) if name == "ssh-agent" else paths) if path)
        for name, paths in SERVICES.items()
    }
    return {**found, **{name: (path,) for name, path in named.items()}}


def exists(path: Path) -> bool:
    """Whether something is to be seen there, be it a mask."""
    return os.path.lexists(path)


def server_from_runtime(record: Mapping[str, Any]) -> Server:
    """What a ``jpserver-*.json`` says of its server."""
    address = record["sock"] or (str(record["hostname"]), int(record["port"]))
    return Server(
        address=address,
        base_url=str(record["base_url"]),
        token=str(record["token"]),
        root=Path(str(record["root_dir"])),
    )
