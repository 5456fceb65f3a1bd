"""A process outside of any sandbox, for attempts to be aimed at; ends when its input does. Run as a program.

Arguments: a directory for the sockets of services, a word that makes it look like the agent, the services' names.
"""

import ctypes
import json
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    directory, names = Path(sys.argv[1]), sys.argv[3:]
    libc = ctypes.CDLL(None)
    memory, queue = libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600)
    listeners = [socket.socket(socket.AF_UNIX) for _ in names]
    for listener, name in zip(listeners, names, strict=True):
        listener.bind(str(directory / name))
        listener.listen(100)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0hpcsec-victim-{os.getpid()}")
    abstract.listen(100)
    held = open(directory / "held", "w")  # noqa: PTH123, SIM115 - for as long as this runs
    port = socket.create_server(("127.0.0.1", 0), backlog=100)
    facts = {
        "abstract": abstract.getsockname()[1:].decode(),
        "port": port.getsockname()[1],
        "memory": memory,
        "queue": queue,
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
    held.close()
    libc.shmctl(memory, 0, None)
    libc.msgctl(queue, 0, None)


main()
