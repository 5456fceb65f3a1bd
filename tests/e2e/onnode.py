"""What tests run inside a node, or as another user on the hub host, as a program of its own: ``python -I -c SOURCE``.

It speaks JSON on its standard input and output. It is given as text, since a user on a node can't read the tests.
"""

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.site import Site

SCAN = """
import errno, json, resource, select, socket, sys, time
asked = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
def scan(ports):
    poll, waiting, found = select.epoll(), {}, []
    for port in ports:
        s = socket.socket()
        s.setblocking(False)
        answer = s.connect_ex((asked["address"], port))
        if answer == errno.EINPROGRESS:
            waiting[s.fileno()] = port, s
            poll.register(s, select.EPOLLOUT)
        else:
            found += [port] if answer == 0 else []
            s.close()
    end = time.monotonic() + asked["timeout_s"]
    while waiting and (left := end - time.monotonic()) > 0:
        for number, _ in poll.poll(left):
            port, s = waiting.pop(number)
            # a socket whose own port is the one that it dials connects to itself
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and s.getsockname() != s.getpeername():
                found.append(port)
            s.close()
    for _, s in waiting.values():
        s.close()
    return found
first, last = asked["ports"]
print(json.dumps(sorted(sum((scan(range(n, min(n + 4000, last + 1))) for n in range(first, last + 1, 4000)), []))))
"""
"""All TCP ports of an address that take a connection."""

DIAL_UNIX = """
import json, socket, sys
answers = {}
for name in json.load(sys.stdin):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        try:
            s.connect("\\0" + name[1:] if name.startswith("@") else name)
            s.sendall(b"GET /hub/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
            answers[name] = "reached" if s.recv(1) else "closed"
        except (ConnectionResetError, BrokenPipeError):
            answers[name] = "closed"
        except TimeoutError:
            answers[name] = "reached"
        except OSError as error:
            answers[name] = error.strerror
print(json.dumps(answers))
"""
"""What a connection to each unix socket gets: ``reached``, ``closed``, or the system's reason."""

SAMPLER = """
import json, pwd, select, sys, time
from pathlib import Path
from jupyter_hpcsec.ops.listeners import listeners, open_ports
from jupyter_hpcsec.ops.session_ports import agents
uid = pwd.getpwnam(sys.argv[1]).pw_uid
seen, samples, with_agent, longest, before = {}, 0, 0, 0.0, time.monotonic()
print("sampling", flush=True)
is_last = False
while not is_last:
    is_last = bool(select.select([sys.stdin], [], [], 0.05)[0])
    for row in open_ports(Path("/proc/self/net")):
        if row.uid == uid:
            seen[f"{row.protocol} {row.address} {row.port}"] = "by owner"
    roots = agents()
    for root in roots:
        for port in listeners(root):
            seen[f"{port.protocol} {port.address} {port.port}"] = f"held by {port.pid}"
    now = time.monotonic()
    samples, with_agent, longest, before = samples + 1, with_agent + bool(roots), max(longest, now - before), now
print(json.dumps({"seen": seen, "samples": samples, "with_agent": with_agent, "longest_s": longest}))
"""
"""Every open TCP and UDP port of a user's, and of every session's processes, seen at any look.

The looks are 50 ms apart, and one more comes when it is asked to stop.
"""

SOCKETS = """
import json, os
from jupyter_hpcsec.hub.processes import descendants, processes
from jupyter_hpcsec.ops.listeners import socket_inodes
from jupyter_hpcsec.ops.session_ports import agents
table = processes()
inodes = set()
for root in agents():
    for pid in (root, *descendants(root, table)):
        inodes |= socket_inodes(pid) or set()
found = []
for line in open("/proc/net/unix").read().splitlines()[1:]:
    fields = line.split(maxsplit=7)
    if int(fields[6]) in inodes and int(fields[3], 16) & 0x10000 and len(fields) == 8:
        found.append(fields[7])
print(json.dumps(sorted(set(found))))
"""
"""The unix sockets that the sessions' processes listen on (``__SO_ACCEPTCON``); abstract ones begin with ``@``."""


def python(site: Site) -> str:
    """The Python that all users can run."""
    return str(site.cluster.environment / "bin" / "python")


def at_node(site: Site, node: str, source: str, asked: Any = None, user: str | None = None) -> Any:
    """Run a source inside a node to its end; what it printed."""
    done = site.cluster.node_exec(
        node, [python(site), "-I", "-c", source], user, stdin=json.dumps(asked), timeout_s=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def at_head(site: Site, source: str, asked: Any = None, user: str | None = None) -> Any:
    """The same on the hub host."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    done = subprocess.run(
        [*become, python(site), "-I", "-c", source],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path("/"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Sampler:
    """Looks at a node's ports from when it is entered until ``stop``."""

    def __init__(self, site: Site, node: str, user: str) -> None:
        argv = site.cluster.node_command(node, [python(site), "-I", "-c", SAMPLER, user])
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Sampler":
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "sampling\n"
        return self

    def stop(self) -> dict[str, Any]:
        """What was seen."""
        out, _ = self._process.communicate("\n", timeout=30)
        return dict(json.loads(out))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def side_by_side(calls: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """The answers of several blocking calls, made at once."""
    answers: dict[str, Any] = {}

    def keep(name: str, call: Callable[[], Any]) -> None:
        answers[name] = call()

    threads = [threading.Thread(target=keep, args=item) for item in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == set(calls), f"some of {sorted(calls)} failed: {sorted(answers)}"
    return answers
