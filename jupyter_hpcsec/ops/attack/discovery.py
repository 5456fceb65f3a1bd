"""Find the targets: from options, from the session's own files, from /proc. It looks, and tries nothing.

Of a policy's denied paths only those are taken that can be seen to be there (a mask can): of a path that is absent
nobody inside can say whether it is hidden or was never there. What an option names is taken at its word.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import msgspec

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.decision import Decisions
from jupyter_hpcsec.access.values import ACCESS_VARIABLE, Bind, Resolved, Right
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.attack.targets import (
    Server,
    Targets,
    Victim,
    exists,
    files_in,
    is_directory,
    server_from_runtime,
    service_paths,
    sort_paths,
)
from jupyter_hpcsec.ops.attack.values import Conditions
from jupyter_hpcsec.server.facts import SESSION_VARIABLE, read_facts

PORTS = (1, 7, 9, 19)
"""TCP ports that nothing useful has: the first that the policy does not allow is tried."""


@dataclass(frozen=True)
class Options:
    """What was named on the command line."""

    denied: Sequence[Path] = ()
    readonly: Sequence[Path] = ()
    allowed: Path | None = None
    pids: Sequence[int] = ()
    services: Mapping[str, Path] = field(default_factory=dict)
    abstract: str = ""
    memory: int | None = None
    queue: int | None = None
    server: str = ""
    token: str = ""
    root: Path | None = None
    tries: int = 100_000


@dataclass(frozen=True)
class Policy:
    """What is known of the session's policy."""

    denied: tuple[Path, ...] = ()
    readonly: tuple[Path, ...] = ()
    bind: Bind = Bind.NONE
    ports: tuple[int, ...] = ()
    mounts: bool = True
    right: Callable[[Path], Right] = lambda path: Right.NONE
    """Asked for files inside a read-only directory: another rule can let them be written."""


class _File(msgspec.Struct):
    """What the agent wrote for the session (``hub.session_files``)."""

    rules: Resolved
    receipt: dict[str, str | int] = {}  # msgspec copies it


def policy_of(content: bytes) -> Policy:
    """The policy's denied and read-only paths, and what the receipt says of namespaces; ``Malformed``."""
    try:
        found = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"This session's rules are not in this version's form: {error}") from error
    decisions = Decisions(found.rules)
    rights = [(Path(piece.path), piece.decision.right) for piece in decisions.pieces()]
    return Policy(
        denied=tuple(path for path, right in rights if right is Right.NONE),
        readonly=tuple(path for path, right in rights if right is Right.READ),
        right=lambda path: decisions.decide(str(path)).right,
        bind=found.rules.network.bind,
        ports=found.rules.network.connect,
        mounts="of its own" in str(found.receipt.get("files", "of its own")),
    )


def read_policy(environment: Mapping[str, str]) -> Policy:
    """The session's policy; an empty one outside of a session."""
    session = environment.get(SESSION_VARIABLE)
    name = environment.get(ACCESS_VARIABLE) or (str(Path(session).parent / "access.json") if session else "")
    if not name:
        return Policy()
    try:
        return policy_of(Path(name).read_bytes())
    except OSError as error:
        raise Unavailable(f"{name}, which holds this session's rules, can't be read: {error.strerror}.") from error


def discover(options: Options, environment: Mapping[str, str]) -> tuple[Targets, Conditions]:
    """Everything that can be aimed at, and what the expectations depend on."""
    policy = read_policy(environment)
    inherited = open_descriptors()
    denied_file, denied_dir = sort_paths(options.denied or [path for path in policy.denied if exists(path)])
    readonly_file, readonly_dir = sort_paths(options.readonly) if options.readonly else _readonly(policy)
    own_network = policy.bind is Bind.PRIVATE
    return Targets(
        scratch=(options.allowed or Path(environment.get("TMPDIR", "/tmp"))).absolute(),  # noqa: S108 - TMPDIR's default
        denied_file=denied_file,
        denied_dir=denied_dir,
        readonly_file=readonly_file,
        readonly_dir=readonly_dir,
        home=Path(environment["HOME"]) if "HOME" in environment else None,
        victims=tuple(Victim(pid, role_of(pid)) for pid in options.pids) or find_victims(Path("/proc"), os.geteuid()),
        host="192.0.2.1" if own_network else "127.0.0.1",  # the loopback device of a private network is its own
        host6="2001:db8::1" if own_network else "::1",
        port=next(port for port in PORTS if port not in policy.ports),
        abstract=options.abstract,
        abstract_seen=abstract_listener(_text(Path("/proc/net/unix"))),
        memory=options.memory,
        queue=options.queue,
        services=service_paths(os.geteuid(), environment.get("SSH_AUTH_SOCK", ""), options.services),
        server=find_server(options, environment),
        runtime=_runtime(environment),
        inherited=inherited,
        protected=(*options.denied, *options.readonly, *policy.denied, *policy.readonly),
        tries=options.tries,
    ), Conditions(landlock.abi(), policy.bind, policy.mounts)


def _readonly(policy: Policy) -> tuple[Path | None, Path | None]:
    """A file and a directory that may only be read; the user's own first: only an owner could change a mode."""
    there = sorted(filter(exists, policy.readonly), key=lambda path: path.lstat().st_uid != os.geteuid())
    directories = [path for path in there if is_directory(path)]
    inside = [path for directory in directories for path in files_in(directory) if policy.right(path) is Right.READ]
    files = [*inside, *(path for path in there if path not in directories)]
    return next(iter(files), None), next(iter(directories), None)


def open_descriptors() -> tuple[int, ...]:
    """Descriptors above 2 that are open now; not those of this look itself."""
    found = []
    for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):
            if stat.S_IFMT(os.fstat(fd).st_mode) and fd > 2:
                found.append(fd)
    return tuple(found)


def role_of(pid: int) -> str:
    """What a named process is."""
    with contextlib.suppress(OSError):
        return _role(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")) or "named"
    return "named"


def find_victims(proc: Path, uid: int) -> tuple[Victim, ...]:
    """The session's agent and server, by their command lines: they are the user's own processes, and outside."""
    found = []
    for directory in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if directory.stat().st_uid == uid and (role := _role(words)):
                found.append(Victim(int(directory.name), role))
    return tuple(sorted(found, key=lambda victim: victim.pid))


def _role(words: Sequence[bytes]) -> str:
    if any(word in {b"jupyter_hpcsec.hub.launch", b"jupyter_hpcsec.hub.job"} for word in words):
        return "agent"
    programs = {os.path.basename(word) for word in words[:3]}  # noqa: PTH119 - bytes
    if programs & {b"jupyterhub-singleuser", b"jupyter-lab", b"jupyter-server"} or b"jupyterhub.singleuser" in words:
        return "server"
    return ""


def abstract_listener(table: str) -> str:
    """An abstract name that some process listens on, of the kernel's table (``Num RefCount Protocol Flags …``)."""
    for line in table.splitlines()[1:]:
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[7].startswith("@") and int(words[3], 16) & 0x10000 and words[4] == "0001":
            return words[7][1:]
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def find_server(options: Options, environment: Mapping[str, str]) -> Server | None:
    """The server that was named, or the one whose record lies in the runtime directory."""
    record = _runtime_record(environment)
    if not options.server:
        return replace(record, token=options.token) if record and options.token else record
    known = record or Server(address="")
    return Server(
        address=parse_address(options.server),
        base_url=_base_url(options.server, known.base_url),
        token=options.token,
        root=options.root or known.root,
    )


def parse_address(text: str) -> str | tuple[str, int]:
    """``/PATH`` of a socket, or ``HOST:PORT``; a URL's path after it is the base URL."""
    if text.startswith("/"):
        return text
    place = text.removeprefix("http://").split("/", 1)[0]
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise Malformed(f"{text} is no server: give the path of its socket, or http://HOST:PORT/BASE/.")
    return host, int(port)


def _base_url(text: str, known: str) -> str:
    if text.startswith("/"):
        return known
    _, slash, rest = text.removeprefix("http://").partition("/")
    return f"/{rest.rstrip('/')}/".replace("//", "/") if slash else "/"


def _runtime(environment: Mapping[str, str]) -> Path | None:
    """The session's private directory; outside of a session Jupyter's."""
    session, jupyter = environment.get(SESSION_VARIABLE), environment.get("JUPYTER_RUNTIME_DIR")
    if session:
        return Path(session).parent
    return Path(jupyter) if jupyter else None


def _runtime_record(environment: Mapping[str, str]) -> Server | None:
    """By Jupyter's own record, which tells a token too; else by the agent's, which does not."""
    directory = environment.get("JUPYTER_RUNTIME_DIR")
    for path in sorted(Path(directory).glob("jpserver-*.json")) if directory else []:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return server_from_runtime(json.loads(path.read_text(encoding="utf-8")))
    facts, place = read_facts(environment), Path(environment.get(SESSION_VARIABLE, ""))
    if facts is None:
        return None
    name = f"{quote(facts.server, safe='')}/" if facts.server else ""
    home = environment.get("HOME")
    return Server(
        address=str(place.parent / "server.sock"),
        base_url=f"/user/{quote(facts.user, safe='')}/{name}",
        root=Path(home) if home else None,
    )
