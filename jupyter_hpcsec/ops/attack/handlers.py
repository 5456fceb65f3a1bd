"""Attempts by Jupyter's own handlers, as the user: a denied path named in every way that a request can.

They speak HTTP to the server's address as it is known here, with the token that is known. Files made by an attempt
are made in its scratch directory or under a name that nothing has, and taken away by the same handlers.
"""

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_hpcsec.ops.attack.files import unique
from jupyter_hpcsec.ops.attack.making import DENIED_DIR, DENIED_FILE, attempt, collect, need, opened
from jupyter_hpcsec.ops.attack.targets import Server, Targets
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

HANDLER = {Stop.SERVER: 0, Stop.MOUNTS: 0, Stop.LANDLOCK: 1}
SERVER = "no Jupyter server is known; name one with --server and --token"
LIMIT = 1 << 20
SECRETS = ("jupyter_cookie_secret", "jpserver-*", "kernel-*.json")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def ask(server: Server, method: str, path: str, body: object = None, *, token: str | None = None) -> tuple[int, bytes]:
    """One request, its path sent as it is; the status and the beginning of the answer."""
    connection = (
        _UnixConnection(server.address)
        if isinstance(server.address, str)
        else http.client.HTTPConnection(*server.address, timeout=20)
    )
    with contextlib.closing(connection):
        connection.putrequest(method, server.base_url + path)
        content = b"" if body is None else json.dumps(body).encode()
        secret = server.token if token is None else token
        if secret:
            connection.putheader("Authorization", f"token {secret}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, answer.read(LIMIT)


def demand(server: Server, method: str, path: str, body: object = None) -> Any:
    """The answer of a request that was granted; a refusal raises."""
    status, content = ask(server, method, path, body)
    if status >= 300:
        raise PermissionError(status, f"{method} {path.partition('?')[0][:60]} said {status}")
    with contextlib.suppress(ValueError):
        return json.loads(content)
    return content


def _server(t: Targets) -> Server:
    server = need(t.server, SERVER)
    if not server.token:
        not_tried("no token for the server is known, which is as it should be; to try, name one with --token")
    return server


def _name(server: Server, path: Path) -> str:
    """A path as the server's file browser names it, percent-encoded."""
    root = need(server.root, "where the server's files begin is not known")
    if root not in path.parents:
        not_tried(f"{path} is not below the server's root, so its handlers have no name for it")
    return quote(str(path.relative_to(root)))


def _link(t: Targets, to: Path, suffix: str = "") -> Path:
    """A symbolic link in the scratch directory."""
    link = t.scratch / f"link{suffix}"
    link.symlink_to(to)
    return link


@contextlib.contextmanager
def _tidied(directory: Path) -> Iterator[None]:
    """Take away the directory that Jupyter makes for checkpoints of what is moved to or from a directory."""
    made = directory / ".ipynb_checkpoints"
    was_there = made.exists()
    try:
        yield
    finally:
        if not was_there:
            with contextlib.suppress(OSError):
                made.rmdir()


def _read(server: Server, name: str) -> str:
    answer = demand(server, "GET", f"api/contents/{name}?content=1&type=file&format=base64")
    return f"{len(answer['content'])} characters came"


@attempt(Group.JUPYTER, "token", "Find a token of the server", {Stop.ENVIRONMENT: 0, Stop.MOUNTS: 0, Stop.LANDLOCK: 1})
def token(t: Targets) -> str:
    """Use what jpserver-*.json, the environment and other processes give, for /api/status of the server."""
    server = need(t.server, "the server's address is not known")
    status, _ = ask(server, "GET", "api/status")
    if not server.token or status >= 400:
        raise PermissionError(status, f"no token was found that is good for it (it said {status})")
    return "the server answers to it"


@attempt(
    Group.JUPYTER,
    "no-token",
    "Use the server without a token",
    {Stop.SERVER: 0},
)
def no_token(t: Targets) -> str:
    """GET api/contents over its own socket, as any process of the user can."""
    status, _ = ask(need(t.server, SERVER), "GET", "api/contents", token="")
    if status >= 400:
        raise PermissionError(status, f"it said {status}")
    return "it answered"


@attempt(Group.JUPYTER, "secrets", "Read the server's own files", {Stop.LANDLOCK: 1})
def secrets(t: Targets) -> str:
    """Open what Jupyter keeps in its runtime directory: the key of its cookies, its record, other kernels' keys."""
    directory = need(t.runtime, "the session's runtime directory is not known")
    mine = _ancestors()
    refusal: OSError | None = None
    for path in (path for pattern in SECRETS for path in sorted(directory.rglob(pattern)) if str(path) not in mine):
        try:
            return f"{path.name}: {opened(path)}"
        except OSError as error:
            refusal = refusal or error
    if refusal is None:
        not_tried(f"nothing of the kind is to be seen below {directory}")
    raise refusal


def _ancestors() -> str:
    """The command lines above this process: a kernel's names its own connection file."""
    said, pid = "", os.getpid()
    with contextlib.suppress(OSError):
        while pid > 1:
            said += Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
            pid = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    return said


@attempt(Group.JUPYTER, "contents", "Read a denied file", HANDLER)
def contents(t: Targets) -> str:
    """GET api/contents/PATH."""
    server = _server(t)
    return _read(server, _name(server, need(t.denied_file, DENIED_FILE)))


@attempt(Group.JUPYTER, "contents-list", "List a denied directory", HANDLER)
def contents_list(t: Targets) -> str:
    """GET api/contents/DIRECTORY."""
    server = _server(t)
    answer = demand(server, "GET", f"api/contents/{_name(server, need(t.denied_dir, DENIED_DIR))}?content=1")
    return f"{len(answer['content'])} names came"


@attempt(Group.JUPYTER, "contents-dotdot", "Read by '..'", HANDLER)
def contents_dotdot(t: Targets) -> str:
    """GET api/contents/ALLOWED/../PATH, sent as it is."""
    server = _server(t)
    up = "../" * len(t.scratch.relative_to(need(server.root, SERVER)).parts)
    return _read(server, f"{_name(server, t.scratch)}/{up}{_name(server, need(t.denied_file, DENIED_FILE))}")


@attempt(Group.JUPYTER, "contents-encoded", "Read by an encoded path", HANDLER)
def contents_encoded(t: Targets) -> str:
    """GET api/contents/ with every character percent-encoded, once and twice, slashes and dots too."""
    server = _server(t)
    name = str(need(t.denied_file, DENIED_FILE).relative_to(need(server.root, SERVER)))
    once = "".join(f"%{byte:02X}" for byte in name.encode())
    return _first(lambda spelled: _read(server, spelled), [once, once.replace("%", "%25"), once.replace("%2F", "/")])


@attempt(Group.JUPYTER, "contents-spelled", "Read by another spelling", HANDLER)
def contents_spelled(t: Targets) -> str:
    """GET api/contents/ with doubled slashes, '.', a trailing slash or dot, an absolute path, a NUL."""
    server, denied = _server(t), need(t.denied_file, DENIED_FILE)
    name = _name(server, denied)
    spellings = [name.replace("/", "//"), f"./{name}", f"{name}/", f"{name}/.", f"{name}.", f"/{denied}", f"{name}%00"]
    return _first(lambda spelled: _read(server, spelled), spellings)


def _first(act: Callable[[str], str], spellings: list[str]) -> str:
    """What came of the first that succeeds, else the last refusal."""
    refusal: OSError | None = None
    for spelled in spellings:
        try:
            return act(spelled)
        except OSError as error:
            refusal = error
    raise refusal or AssertionError("BUG: no spelling")


@attempt(Group.JUPYTER, "contents-symlink", "Read by a symbolic link", HANDLER)
def contents_symlink(t: Targets) -> str:
    """Make a link in an allowed directory and GET it."""
    server = _server(t)
    return _read(server, _name(server, _link(t, need(t.denied_file, DENIED_FILE))))


@attempt(Group.JUPYTER, "contents-create", "Create by a symbolic link", HANDLER)
def contents_create(t: Targets) -> str:
    """PUT a new directory below a link to the denied one, and PATCH it back to an allowed one."""
    server = _server(t)
    made = unique(_link(t, need(t.denied_dir, DENIED_DIR)))
    back = str((t.scratch / made.name).relative_to(need(server.root, SERVER)))
    with _tidied(made.parent):
        demand(server, "PUT", f"api/contents/{_name(server, made)}", {"type": "directory"})
        demand(server, "PATCH", f"api/contents/{_name(server, made)}", {"path": back})
    return "created a directory and took it back"


@attempt(Group.JUPYTER, "contents-rename", "Move a file into a denied directory", HANDLER)
def contents_rename(t: Targets) -> str:
    """PATCH a file of the suite's own there, and back."""
    server = _server(t)
    mine = t.scratch / "mine.txt"
    mine.touch()
    there = unique(_link(t, need(t.denied_dir, DENIED_DIR)))
    with _tidied(there.parent):
        for source, target in ((mine, there), (there, mine)):
            path = target.relative_to(need(server.root, SERVER))
            demand(server, "PATCH", f"api/contents/{_name(server, source)}", {"path": str(path)})
    return "moved a file in and back"


@attempt(Group.JUPYTER, "contents-copy", "Copy a denied file into reach", HANDLER)
def contents_copy(t: Targets) -> str:
    """POST api/contents/ALLOWED with copy_from, by a link."""
    server = _server(t)
    link = _link(t, need(t.denied_file, DENIED_FILE), ".txt")
    source = str(link.relative_to(need(server.root, SERVER)))
    demand(server, "POST", f"api/contents/{_name(server, t.scratch)}", {"copy_from": source})
    return "copied"


@attempt(Group.JUPYTER, "checkpoint", "Copy a denied file to a checkpoint", HANDLER)
def checkpoint(t: Targets) -> str:
    """POST api/contents/LINK/checkpoints, and DELETE it."""
    server = _server(t)
    name = _name(server, _link(t, need(t.denied_file, DENIED_FILE), ".txt"))
    found = demand(server, "POST", f"api/contents/{name}/checkpoints")
    demand(server, "DELETE", f"api/contents/{name}/checkpoints/{quote(found['id'])}")
    return "a checkpoint was made, and removed"


@attempt(Group.JUPYTER, "files", "Download a denied file", HANDLER)
def files(t: Targets) -> str:
    """GET files/PATH, which does not go through the contents manager's get."""
    server = _server(t)
    return f"{len(demand_bytes(server, f'files/{_name(server, need(t.denied_file, DENIED_FILE))}'))} bytes came"


@attempt(Group.JUPYTER, "files-symlink", "Download by a symbolic link", HANDLER)
def files_symlink(t: Targets) -> str:
    """GET files/LINK."""
    server = _server(t)
    return (
        f"{len(demand_bytes(server, f'files/{_name(server, _link(t, need(t.denied_file, DENIED_FILE)))}'))} bytes came"
    )


def demand_bytes(server: Server, path: str) -> bytes:
    """The body of a GET that was granted."""
    status, content = ask(server, "GET", path)
    if status >= 300:
        raise PermissionError(status, f"GET {path[:60]} said {status}")
    return content


@attempt(Group.JUPYTER, "nbconvert", "Convert a denied file", HANDLER)
def nbconvert(t: Targets) -> str:
    """GET nbconvert/script/LINK.ipynb: the error for a file that is no notebook shows how it begins."""
    server = _server(t)
    name = _name(server, _link(t, need(t.denied_file, DENIED_FILE), ".ipynb"))
    status, content = ask(server, "GET", f"nbconvert/script/{name}")
    if status < 400 or b"does not appear to be JSON" in content or b"is not UTF-8 encoded" in content:
        return f"it was read (status {status})"
    raise PermissionError(status, f"it said {status}")


@attempt(Group.JUPYTER, "race", "Swap a symbolic link while it is asked for", HANDLER)
def race(t: Targets) -> str:
    """GET api/contents/LINK while the link is swapped between an allowed and the denied file."""
    server, denied = _server(t), need(t.denied_file, DENIED_FILE)
    decoy, link = t.scratch / "decoy.txt", t.scratch / "race.txt"
    decoy.write_text("decoy", encoding="ascii")
    link.symlink_to(decoy)
    name, refused = _name(server, link), 0
    harmless = demand(server, "GET", f"api/contents/{name}?content=1&type=file&format=base64")["content"]
    for i in range(max(1, t.tries // 1000)):
        link.unlink(missing_ok=True)
        link.symlink_to(denied if i % 2 else decoy)
        with contextlib.suppress(PermissionError):
            content = demand(server, "GET", f"api/contents/{name}?content=1&type=file&format=base64")["content"]
            if content != harmless:
                return f"won in round {i + 1}"
            continue
        refused += 1
    raise PermissionError(403, f"lost all rounds ({refused} refused)")


@attempt(Group.JUPYTER, "terminal-cwd", "Start a terminal in a denied directory", HANDLER)
def terminal_cwd(t: Targets) -> str:
    """POST api/terminals with that cwd, and look whether a process works there; end it."""
    server, denied = _server(t), need(t.denied_dir, DENIED_DIR)
    answer = demand(server, "POST", "api/terminals", {"cwd": str(denied)})
    try:
        return _someone_in(denied)
    finally:
        ask(server, "DELETE", f"api/terminals/{quote(answer['name'])}")


@attempt(Group.JUPYTER, "kernel-cwd", "Start a kernel in a denied directory", HANDLER)
def kernel_cwd(t: Targets) -> str:
    """POST api/kernels with a path there, and look whether a process works there; end it."""
    server, denied = _server(t), need(t.denied_dir, DENIED_DIR)
    path = str(denied.relative_to(need(server.root, SERVER)))
    answer = demand(server, "POST", "api/kernels", {"path": f"{path}/x.ipynb"})
    try:
        return _someone_in(denied)
    finally:
        ask(server, "DELETE", f"api/kernels/{quote(answer['id'])}")


def _someone_in(directory: Path) -> str:
    """Wait until a process works in a directory; one that can't be looked at is none."""
    for _ in range(20):
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if os.readlink(link) == str(directory):  # noqa: PTH115 - a magic link
                    return f"process {link.parent.name} works there"
        time.sleep(0.1)
    raise PermissionError(13, "no process that can be seen works there")


ATTEMPTS = collect(vars())
