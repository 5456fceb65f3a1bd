"""Each attempt succeeds where no sandbox is: a refusal inside then says something."""

import http.server
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.attack.suite import ATTEMPTS
from jupyter_hpcsec.ops.attack.values import Attempt
from tests.ops.attack.world import SECRETS, World, jupyter_server
from tests.ops.attack.world import as_user as as_prefix

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as a user of its own here, which takes root"),
    pytest.mark.timeout(300),
]

KERNEL_LACKS = ("this kernel has no", "this kernel can't")
IN_NETWORK = [
    "unshare", "--net", "sh", "-c",
    'ip link set lo up; echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range; exec "$@"', "sh",
]  # fmt: skip


def masked(world: World) -> list[str]:
    """A mask over the denied directory, made by root as a sandbox would."""
    return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o ro none {world.denied}; exec "$@"', "sh"]


Results = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def as_user(world: World) -> Results:
    """The whole suite, by the user, with the secrets and descriptors that a sandbox takes away."""
    with jupyter_server(world), world.descriptors() as fds:
        return world.attack(inherited=fds, **SECRETS).attempts


@pytest.fixture(scope="module")
def as_root(world: World) -> Results:
    """What takes root even without a sandbox."""
    names = [f"--only={attempt.id}" for attempt in ATTEMPTS if attempt.privileged]
    return world.attack(*names, user=False).attempts


class _Open(http.server.BaseHTTPRequestHandler):
    """A server that asks for no token."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def open_server(path: Path) -> Iterator[None]:
    with socketserver.UnixStreamServer(str(path), _Open) as server:
        path.chmod(0o777)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


def without_token(world: World) -> Results:
    path = world.base / "open.sock"
    with open_server(path):
        return world.attack("--only=jupyter.no-token", f"--server={path}").attempts


def with_careless_agent(world: World) -> Results:
    """One that was started without isolation."""
    command = [*as_prefix(), sys.executable, "-c", "input()", "jupyter_hpcsec.hub.launch"]
    with subprocess.Popen(command, env=world.environment, stdin=subprocess.PIPE) as careless:
        return world.attack("--only=environment.python-start", f"--pid={careless.pid}").attempts


SPECIAL: dict[str, Callable[[World], Results]] = {
    "mounts.umount": lambda world: world.attack("--only=mounts.umount", user=False, prefix=masked(world)).attempts,
    "mounts.open-tree": lambda world: (
        world.attack("--only=mounts.open-tree", user=False, prefix=masked(world)).attempts
    ),
    "mounts.second-mount": lambda world: (
        world.attack("--only=mounts.second-mount", prefix=world.mounted_twice).attempts
    ),
    "mounts.second-mount-write": lambda world: (
        world.attack("--only=mounts.second-mount-write", prefix=world.mounted_twice).attempts
    ),
    "sockets.ping": lambda world: world.attack("--only=sockets.ping", prefix=IN_NETWORK).attempts,
    "jupyter.no-token": without_token,
    "environment.python-start": with_careless_agent,
}
"""Attempts that need more than the world of the others."""


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.id for attempt in ATTEMPTS])
def test_it_succeeds(attempt: Attempt, world: World, request: pytest.FixtureRequest) -> None:
    if attempt.id in SPECIAL:
        results = SPECIAL[attempt.id](world)
    else:
        results = request.getfixturevalue("as_root" if attempt.privileged else "as_user")
    found = results[attempt.id]
    if found["outcome"] == "not tried" and found["detail"].startswith(KERNEL_LACKS):
        pytest.skip(found["detail"])
    assert found["outcome"] == "succeeded", found


def contents(base: Path) -> dict[str, tuple[object, ...]]:
    """Names, kinds, modes, sizes, times and content of what must stay as it is."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(base.rglob("*")):
        facts = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        times = facts.st_mtime_ns if path.is_file() else 0  # a directory's change as names come and go
        found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_nlink, facts.st_size, times, data)
    return found


def test_it_leaves_everything_as_it_was(world: World) -> None:
    places = [world.denied, world.readonly, world.home]
    before = {path: facts for place in places for path, facts in contents(place).items()}
    report = world.attack("--tries=100", "--only=files", "--only=read-only", "--only=environment", "--only=batch")
    after = {path: facts for place in places for path, facts in contents(place).items()}
    assert {path for path in before | after if before.get(path) != after.get(path)} == set()
    assert report.values["totals"]["open"] > 50
    assert report.status == 1
